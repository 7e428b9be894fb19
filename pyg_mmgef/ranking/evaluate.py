from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.metrics import (
    LinkPredMetric,
    LinkPredMetricCollection,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)

from pyg_mmgef.ranking.scoring import candidate_items, check_embeddings, top_k_blocks
from pyg_mmgef.validate import check_edge_index, check_positive

__all__ = ['evaluate_ranking']

METRICS: dict[str, type[LinkPredMetric]] = {
    'recall': LinkPredRecall,
    'precision': LinkPredPrecision,
    'ndcg': LinkPredNDCG,
}


@torch.no_grad()
def evaluate_ranking(
    z_user: Tensor,
    z_item: Tensor,
    target: Tensor,
    *,
    exclude: Tensor | None = None,
    k: int | Sequence[int] = (10, 20),
    candidates: Tensor | None = None,
    batch_size: int = 1024,
) -> dict[str, float]:
    r"""Rank all items for every user with a held-out item, and say how well.

    The score of an item is :math:`\mathbf{z}_u^{\top} \mathbf{z}_i`. The metrics are PyG's
    :class:`~torch_geometric.metrics.LinkPredRecall`, ``LinkPredPrecision`` and ``LinkPredNDCG``
    with binary relevance, averaged over the users of :obj:`target`: the full-ranking protocol of
    LightGCN and MMRec. Users are ranked in blocks, so memory stays bounded by
    ``batch_size × num_items`` scores.

    Args:
        z_user: User embeddings. Shape: ``[num_users, channels]``.
        z_item: Item embeddings. Shape: ``[num_items, channels]``.
        target: Held-out interactions (user, item). Shape: ``[2, E]``.
        exclude: Interactions whose items are left out of the user's ranking, usually those of
            train. Shape: ``[2, E']``. (default: :obj:`None`)
        k: Cut-offs. (default: ``(10, 20)``)
        candidates: The items to rank; :obj:`None` ranks all. (default: :obj:`None`)
        batch_size: Users per block. (default: ``1024``)

    Returns:
        The metrics by name, such as ``'recall@20'``.

    Raises:
        ValueError: If embeddings aren't finite, ids are out of range, :obj:`target` is empty,
            overlaps :obj:`exclude` or isn't part of :obj:`candidates`, or a cut-off exceeds the
            number of candidates.

    Example:
        >>> z_user, z_item = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
        >>> target = torch.tensor([[0, 1], [0, 2]])
        >>> evaluate_ranking(z_user, z_item, target, k=1)
        {'recall@1': 0.5, 'precision@1': 0.5, 'ndcg@1': 0.5}
    """
    check_embeddings(z_user, z_item)
    cutoffs = tuple(k) if isinstance(k, Sequence) else (k,)
    candidates = candidate_items(candidates, z_item)
    for cutoff in cutoffs:
        check_positive('k', cutoff)
    if not cutoffs or max(cutoffs) > candidates.numel():
        raise ValueError(f"'k' must lie in [1, {candidates.numel()}], the items to rank (got {k})")
    target = _checked_target(target, exclude, candidates, (z_user.size(0), z_item.size(0)))
    target = target.to(z_user.device)

    metrics = LinkPredMetricCollection(
        {f'{name}@{cutoff}': METRICS[name](cutoff) for name in METRICS for cutoff in cutoffs}
    ).to(z_user.device)
    users, row = target[0].unique(return_inverse=True)
    order = row.argsort(stable=True)
    row, item = row[order], target[1][order]
    for block, _, best in top_k_blocks(
        z_user, z_item, users, max(cutoffs), exclude, candidates, batch_size
    ):
        first, last = torch.searchsorted(row, torch.stack([block[0], block[-1] + 1])).tolist()
        metrics.update(best, torch.stack([row[first:last] - block[0], item[first:last]]))
    return {name: float(value) for name, value in metrics.compute().items()}


def _checked_target(
    target: Tensor, exclude: Tensor | None, candidates: Tensor, size: tuple[int, int]
) -> Tensor:
    """Return the distinct targets, after checking that they can be found at all."""
    check_edge_index('target', target, size, ('user', 'item'))
    if target.size(1) == 0:
        raise ValueError("'target' is empty; there is no held-out interaction to evaluate")
    pair = (target[0].long() * size[1] + target[1]).unique()
    if exclude is not None:
        check_edge_index('exclude', exclude, size, ('user', 'item'))
        user, item = exclude.to(pair.device).long()
        overlap = torch.isin(pair, user * size[1] + item)
        if bool(overlap.any()):
            raise ValueError(
                f"'target' and 'exclude' share {int(overlap.sum())} interactions, which could "
                'never be ranked; held-out interactions must not be part of train'
            )
    missing = ~torch.isin(pair % size[1], candidates.to(pair.device))
    if bool(missing.any()):
        raise ValueError(
            f"'target' holds {int(missing.sum())} interactions with items that are not among "
            "'candidates', which could never be ranked"
        )
    return torch.stack([pair // size[1], pair % size[1]])
