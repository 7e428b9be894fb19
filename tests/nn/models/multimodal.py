"""What the tests of several models share: a shop, batches, parts of formulas, comparisons."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import Linear, Parameter
from torch_geometric.data import HeteroData

from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import BPRLoss, LightGCN, Recommender
from pyg_mmgef.schema import ITEM
from tests.nn.models.shops import interaction_matrix, small_shop
from tests.references import dense_adjacency, light_gcn

close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)  # Weights are made in float32.

LACKS = {'image': (5, 6), 'text': (6,)}
"""The items of the shop that lack a modality."""
USERS, ITEMS = torch.tensor([0, 4, 3, 4]), torch.tensor([6, 5, 4, 5])
NEGATIVES = {
    'one': torch.tensor([1, 2, 5, 7]),
    'several': torch.tensor([[1, 2], [5, 0], [6, 8], [7, 7]]),
    'shared': torch.tensor([[8, 5, 2]]),
}
Embeddings = tuple[Tensor, Tensor]
Model = TypeVar('Model', bound=Recommender)


def shop() -> HeteroData:
    """The small shop with an item graph of each modality."""
    return small_shop(('similar', 'similar_image', 'similar_text'))


def built(model: type[Model], data: HeteroData, **options: Any) -> Model:
    """A small model in double precision, whose cold items have the embeddings of its paper."""
    torch.manual_seed(0)
    out = model.from_data(data, **{'embedding_dim': 4, **options}).double()
    out.content_map = None
    return out


def affine(lin: Any, x: Tensor) -> Tensor:
    assert isinstance(lin, Linear)
    return x @ lin.weight.t() + (0 if lin.bias is None else lin.bias)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def has_modality(name: str) -> Tensor:
    """One for the items of the shop that have a modality, zero for others. Shape: ``[9, 1]``."""
    return torch.tensor([[float(item not in LACKS[name])] for item in range(9)]).double()


def warm(data: HeteroData) -> Tensor:
    """One for warm items, zero for cold ones. Shape: ``[num_items, 1]``."""
    return (interaction_matrix(data).sum(dim=0) > 0).double()[:, None]


def of_light_gcn(part: LightGCN, data: HeteroData) -> Embeddings:
    """LightGCN by its dense reference."""
    x_user, x_item = part.user_embedding.weight, part.item_embedding.weight
    return light_gcn(interaction_matrix(data), x_user, x_item, part.num_layers)


def item_matrix(data: HeteroData, relation: str) -> Tensor:
    """The dense matrix of an item graph of the shop."""
    graph = data[ITEM, relation, ITEM]
    return dense_adjacency(graph.edge_index, graph.edge_weight, 9, 9)


def expected_contrast(
    a: Tensor, b: Tensor, temperature: float, ids: Iterable[int] | None = None
) -> Tensor:
    """The mean over the ids of -log of the share that the own row has; zeros have cosine 0."""
    terms = []
    for row in range(a.size(0)) if ids is None else ids:
        cosines = [a[row] @ other / (a[row].norm() * other.norm()).clamp(min=1e-12) for other in b]
        shares = torch.stack([(cosine / temperature).exp() for cosine in cosines])
        terms.append(-torch.log(shares[row] / shares.sum()))
    return torch.stack(terms).mean()


def check_embeddings(
    model: Recommender,
    data: HeteroData,
    expected: Embeddings,
    parameters: Iterable[Parameter] | None = None,
) -> None:
    """Compare the embeddings of all nodes and of some, and the gradients of some parameters."""
    out = model(data)
    close(out, expected)
    parameters = list(model.parameters() if parameters is None else parameters)
    grads, exact = (
        torch.autograd.grad(z_user.pow(3).sum() + z_item.square().sum(), parameters)
        for z_user, z_item in (out, expected)
    )
    close(grads, exact)
    users, items = torch.tensor([2, 2, 0]), torch.tensor([[8, 1, 1, 3, 6]])
    close(model(data, users, items), (expected[0][users], expected[1][items]))


def check_loss(model: Recommender, loss: Tensor, expected: Tensor) -> None:
    """Compare a loss and its gradients in all parameters."""
    close(loss, expected)
    parameters = list(model.parameters())
    close(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters))


def check_contrast_of_views(
    model: Recommender,
    data: HeteroData,
    views: Callable[[Any, HeteroData], tuple[Tensor, ...]],
    negatives: Tensor,
) -> None:
    """Compare the loss of a model that contrasts its two views of users and of positives.

    Args:
        model: A model of contrast weight 0.3 and temperature 0.5.
        data: The shop.
        views: Content and side embeddings of users, then of items, by a dense reference.
        negatives: The negatives of the batch.
    """
    loss = model.loss(data, USERS, ITEMS, negatives, BPRLoss(0.01))
    content_user, side_user, content_item, side_item = views(model, data)
    z_user, z_item = content_user + side_user, content_item + side_item
    expected = BPRLoss(0.01)(z_user[USERS], z_item[ITEMS], z_item[negatives])
    of_users = expected_contrast(side_user[USERS], content_user[USERS], 0.5)
    of_items = expected_contrast(side_item[ITEMS], content_item[ITEMS], 0.5)
    check_loss(model, loss, expected + 0.3 * (of_users + of_items))


def train(
    model: Recommender, data: HeteroData, epochs: int, lr: float, batch_size: int
) -> list[float]:
    """Train as the documentation shows, and return the mean loss of each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loader, bpr = TripletLoader(data, batch_size=batch_size, shuffle=True), BPRLoss()
    losses = []
    for epoch in range(epochs):
        model.start_epoch(data, epoch)
        total = 0.0
        for users, items, negatives in loader:
            z_user, z_item = model(data)
            loss = bpr(z_user[users], z_item[items], z_item[negatives])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
        losses.append(total / len(loader))
    return losses


def send(data: HeteroData, name: str, item: int) -> None:
    """Make an item a neighbour of item 0 in the graph of a modality."""
    graph = data[ITEM, f'similar_{name}', ITEM]
    edge = torch.tensor([[item], [0]])
    is_kept = ~(graph.edge_index == edge).all(dim=0)
    graph.edge_index = torch.cat([graph.edge_index[:, is_kept], edge], dim=1)
    graph.edge_weight = torch.cat([graph.edge_weight[is_kept], torch.ones(1).double()])


def without_interactions() -> HeteroData:
    """The shop before its first interaction."""
    data = shop()
    data['user', 'interacts', 'item'].edge_index = torch.empty(2, 0, dtype=torch.long)
    return data
