"""Slow, dense and obvious: every formula of the method, written out to be compared with.

Nothing here is shared with the package. Matrices have a row per destination and a column per
source, so `adjacency @ x` propagates.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def dense_adjacency(
    edge_index: Tensor, edge_weight: Tensor | None, num_sources: int, num_destinations: int
) -> Tensor:
    """Return the matrix of a graph; repeated edges add up."""
    dtype = torch.double if edge_weight is None else edge_weight.dtype
    matrix = torch.zeros(num_destinations, num_sources, dtype=dtype)
    for edge, (source, destination) in enumerate(edge_index.t().tolist()):
        matrix[destination, source] += 1 if edge_weight is None else edge_weight[edge]
    return matrix


def symmetric_normalized(adjacency: Tensor) -> Tensor:
    """D^-1/2 S D^-1/2 with the row sums as degrees at both ends; isolated nodes stay zero."""
    rows = [1 / math.sqrt(d) if d > 0 else 0.0 for d in adjacency.sum(1).tolist()]
    scale = torch.tensor(rows, dtype=adjacency.dtype)
    return scale[:, None] * adjacency * scale[None, :]


def bipartite_normalized(adjacency: Tensor) -> Tensor:
    """D_rows^-1/2 R D_columns^-1/2; isolated nodes stay zero."""
    rows = [1 / math.sqrt(d) if d > 0 else 0.0 for d in adjacency.sum(1).tolist()]
    columns = [1 / math.sqrt(d) if d > 0 else 0.0 for d in adjacency.sum(0).tolist()]
    rows_scale = torch.tensor(rows, dtype=adjacency.dtype)
    columns_scale = torch.tensor(columns, dtype=adjacency.dtype)
    return rows_scale[:, None] * adjacency * columns_scale[None, :]


def similarity(x: Tensor, metric: str) -> Tensor:
    """All pairs of similarities in float64; larger is closer."""
    x = x.double()
    if metric == 'cosine':
        norm = x.norm(dim=1)
        return (x @ x.t()) / (norm[:, None] * norm[None, :])
    if metric == 'ip':
        return x @ x.t()
    return -(x[:, None, :] - x[None, :, :]).square().sum(-1)


def co_interactions(interactions: Tensor, weighting: str) -> Tensor:
    """Item-user-item weights from a binary [num_users, num_items] matrix; zero on the diagonal."""
    interactions = interactions.double()
    num_users, num_items = interactions.shape
    count = interactions.sum(0)
    activity = interactions.sum(1)
    out = torch.zeros(num_items, num_items, dtype=torch.double)
    for i in range(num_items):
        for j in range(num_items):
            both = interactions[:, i] * interactions[:, j]
            shared = float(both.sum())
            if i == j or shared == 0:
                continue
            product = float(count[i] * count[j])
            if weighting == 'cosine':
                out[i, j] = shared / math.sqrt(product)
            elif weighting == 'jaccard':
                out[i, j] = shared / float(count[i] + count[j] - shared)
            elif weighting == 'lift':
                out[i, j] = shared * num_users / product
            elif weighting == 'raw':
                out[i, j] = shared
            elif weighting == 'lightgcn':
                out[i, j] = float((both / activity.clamp(min=1)).sum()) / math.sqrt(product)
    return out


def top_k_rows(matrix: Tensor, k: int) -> Tensor:
    """Keep the k largest positive entries of each row, the lower column first among equals."""
    out = torch.zeros_like(matrix)
    for i, row in enumerate(matrix.tolist()):
        order = sorted(range(len(row)), key=lambda j: (-row[j], j))
        for j in order[:k]:
            if row[j] > 0:
                out[i, j] = row[j]
    return out


def early_fusion_mean(x: Sequence[Tensor], has: Sequence[Tensor]) -> Tensor:
    """The mean of the unit vectors that each item has."""
    out = torch.zeros_like(x[0])
    for i in range(out.size(0)):
        rows = [
            row[i] / row[i].norm()
            for row, mask in zip(x, has, strict=True)
            if bool(mask[i]) and float(row[i].norm()) > 0
        ]
        if rows:
            out[i] = torch.stack(rows).mean(0)
    return out


def early_fusion_softmax(x: Sequence[Tensor], has: Sequence[Tensor], logit: Tensor) -> Tensor:
    """Unit vectors, weighed by a softmax over the modalities an item has; logit is [N, M]."""
    rows = []
    for i in range(x[0].size(0)):
        row = torch.zeros_like(x[0][i])
        names = [m for m in range(len(x)) if bool(has[m][i]) and float(x[m][i].norm()) > 0]
        total = sum((logit[i, m].exp() for m in names), torch.zeros(()))
        for m in names:
            row = row + logit[i, m].exp() / total * x[m][i] / x[m][i].norm()
        rows.append(row)
    return torch.stack(rows)


def light_gcn(
    interactions: Tensor, x_user: Tensor, x_item: Tensor, num_layers: int
) -> tuple[Tensor, Tensor]:
    """LightGCN on the dense block matrix of users and items, mean over layers 0..L."""
    num_users, num_items = interactions.shape
    matrix = torch.zeros(num_users + num_items, num_users + num_items, dtype=x_user.dtype)
    matrix[:num_users, num_users:] = interactions
    matrix[num_users:, :num_users] = interactions.t()
    matrix = symmetric_normalized(matrix)
    x = torch.cat([x_user, x_item])
    layers = [x]
    for _ in range(num_layers):
        layers.append(matrix @ layers[-1])
    z = torch.stack(layers).mean(0)
    return z[:num_users], z[num_users:]


def soft_attention(
    logit: Tensor, x: Tensor, weight_dst: Tensor | None, weight_src: Tensor | None
) -> Tensor:
    """Softmax over the graphs: [G], [N, G] with a destination part, [N, N, G] with both parts."""
    if weight_dst is not None:
        logit = x @ weight_dst.t() + logit
    if weight_src is not None:
        logit = logit[:, None, :] + (x @ weight_src.t())[None, :, :]
    return logit.exp() / logit.exp().sum(dim=-1, keepdim=True)


def soft_fusion(adjacencies: Sequence[Tensor], alpha: Tensor) -> Tensor:
    """sum_g alpha^g A^g; alpha is [G] for the graph, [N, G] per destination or [N, N, G]."""
    out = torch.zeros_like(adjacencies[0])
    for g, adjacency in enumerate(adjacencies):
        weight = alpha[..., g]
        out = out + (weight[:, None] if weight.dim() == 1 else weight) * adjacency
    return out


def mmgef(
    interactions: Tensor,
    x_user: Tensor,
    x_item: Tensor,
    num_layers: int,
    item_input: Tensor,
    fused: Tensor,
    num_item_layers: int,
    normalize: bool = True,
) -> tuple[Tensor, Tensor]:
    """z_u and z_i = [warm] z_i^LightGCN + h_i / ||h_i||, with h = A^L' h^(0)."""
    z_user, z_item = light_gcn(interactions, x_user, x_item, num_layers)
    h = item_input
    for _ in range(num_item_layers):
        h = fused @ h
    out = torch.zeros_like(z_item)
    for i in range(h.size(0)):
        norm = float(h[i].detach().norm())
        content = h[i] / h[i].norm() if normalize and norm > 0 else h[i]
        out[i] = content + (z_item[i] if float(interactions[:, i].sum()) > 0 else 0.0)
    return z_user, out


def bpr(user: Tensor, item: Tensor, negative: Tensor, l2: float) -> Tensor:
    """BPR with L2 over a batch of single triplets."""
    total = torch.zeros((), dtype=user.dtype)
    for u, i, n in zip(user, item, negative, strict=True):
        total = total - torch.log(torch.sigmoid(u @ i - u @ n))
        total = total + l2 / 2 * (u @ u + i @ i + n @ n)
    return total / user.size(0)


def ranking_metrics(
    scores: Tensor,
    target: dict[int, set[int]],
    exclude: dict[int, set[int]],
    k: int,
    candidates: set[int] | None = None,
) -> dict[str, float]:
    """Recall, Precision and NDCG at k, averaged over the users that have targets."""
    recall, precision, ndcg = [], [], []
    for user, relevant in sorted(target.items()):
        items = [
            i
            for i in range(scores.size(1))
            if i not in exclude.get(user, set()) and (candidates is None or i in candidates)
        ]
        ranked = sorted(items, key=lambda i: -float(scores[user, i]))[:k]
        hits = [1.0 if i in relevant else 0.0 for i in ranked]
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(relevant))))
        recall.append(sum(hits) / len(relevant))
        precision.append(sum(hits) / k)
        ndcg.append(sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits)) / ideal)
    return {
        f'recall@{k}': sum(recall) / len(recall),
        f'precision@{k}': sum(precision) / len(precision),
        f'ndcg@{k}': sum(ndcg) / len(ndcg),
    }


def sampled_softmax(
    user: Tensor,
    item: Tensor,
    negative: Tensor,
    temperature: float,
    normalize: bool,
    in_batch: bool,
) -> Tensor:
    """Softmax of each item against its row of negatives and the other items of the batch."""

    def score(x: Tensor, y: Tensor) -> Tensor:
        length = x.norm() * y.norm() if normalize else 1.0
        return x @ y / length / temperature

    total = torch.zeros((), dtype=user.dtype)
    for row in range(user.size(0)):
        others = list(negative[row])
        if in_batch:
            others += [item[other] for other in range(item.size(0)) if other != row]
        positive = score(user[row], item[row]).exp()
        total = total - torch.log(
            positive / (positive + torch.stack([score(user[row], x).exp() for x in others]).sum())
        )
    return total / user.size(0)


def alignment_uniformity(user: Tensor, item: Tensor, gamma: float) -> Tensor:
    """DirectAU: squared distances of unit vectors, and the Gaussian kernel over all pairs."""
    user, item = (torch.stack([row / row.norm() for row in z]) for z in (user, item))
    loss = torch.stack([(u - i).square().sum() for u, i in zip(user, item, strict=True)]).mean()
    for z in (user, item):
        pairs = [
            torch.exp(-2 * (z[a] - z[b]).square().sum())
            for a in range(z.size(0))
            for b in range(a + 1, z.size(0))
        ]
        loss = loss + gamma * torch.stack(pairs).mean().log() / 2
    return loss


def drawn_negative(number: float, weight: Sequence[float], owned: set[int]) -> int:
    """The item in which the running weight of what a user doesn't own passes a share of it."""
    free = [i for i in range(len(weight)) if i not in owned and weight[i] > 0]
    rest = number * sum(weight[i] for i in free)
    for i in free:
        if rest < weight[i]:
            return i
        rest -= weight[i]
    return free[-1]
