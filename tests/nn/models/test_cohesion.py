from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import COHESION, BPRLoss, SampledSoftmaxLoss
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.shops import COLD, interacting, interaction_matrix, small_shop
from tests.references import bipartite_normalized, dense_adjacency

close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)  # Weights are made in float32.

VIEWS = ('ids', 'image', 'text')
LACKS = {'image': (5, 6), 'text': (6,)}
USERS, ITEMS = torch.tensor([0, 4, 3, 4]), torch.tensor([6, 5, 4, 5])
NEGATIVES = {
    'one': torch.tensor([1, 2, 5, 7]),
    'several': torch.tensor([[1, 2], [5, 0], [6, 8], [7, 7]]),
    'shared': torch.tensor([[8, 5, 2]]),
}


def shop() -> HeteroData:
    return small_shop(('similar', 'similar_image', 'similar_text'))


def model_of(data: HeteroData, **kwargs: Any) -> COHESION:
    torch.manual_seed(0)
    options = {'embedding_dim': 4, 'hidden_dim': 5, **kwargs}
    model = COHESION.from_data(data, **options).double()
    model.content_map = None  # Cold items have the embeddings of the paper.
    return model


def encoded(encoder: Any, x: Tensor) -> Tensor:
    first, _, last = encoder
    assert isinstance(first, Linear)
    assert isinstance(last, Linear)
    hidden = x @ first.weight.t() + first.bias
    return torch.maximum(hidden, 0.01 * hidden) @ last.weight.t() + last.bias


def starts(model: COHESION, data: HeteroData) -> list[tuple[Tensor, Tensor]]:
    """The unit vectors of each view from which users and items start, one row at a time."""
    out = []
    views: list[Any] = list(model.views)
    for view, name in zip(views, VIEWS, strict=True):
        x = model.item_embedding.weight if name == 'ids' else data[ITEM][f'x_{name}']
        p, rows = encoded(view.encoder, x), []
        for item in range(9):
            is_there = item not in (COLD if name == 'ids' else LACKS[name])
            ids = model.item_embedding.weight[item] * float(item not in COLD)
            row = ((ids**2 + (p[item] * float(is_there)) ** 2) / 2 + 1e-8) ** 0.5
            is_known = is_there or item not in COLD
            rows.append(row / row.square().sum().sqrt() * float(is_known))
        users = view.preference.weight
        out.append((users / users.square().sum(dim=1, keepdim=True).sqrt(), torch.stack(rows)))
    return out


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of each row with the other's, zero where a row is."""
    length = (a.square().sum(dim=1) * b.square().sum(dim=1) + 1e-30).sqrt()
    return ((a * b).sum(dim=1) / length)[:, None]


def propagated(model: COHESION, data: HeteroData) -> tuple[Tensor, Tensor]:
    """The views of users and of items over the interactions, side by side."""
    walk = torch.zeros(15, 15).double()
    walk[:6, 6:] = bipartite_normalized(interaction_matrix(data))
    walk[6:, :6] = walk[:6, 6:].t().clone()
    views = []
    for pair in starts(model, data):
        start = torch.cat(pair)
        layers = [start]
        for _ in range(model.num_layers):
            received = walk @ layers[-1]
            layers.append(cosine(received, start) * received)
        views.append(torch.stack(layers).sum(dim=0))
    both = torch.cat(views, dim=1)
    return both[:6], both[6:]


def shares(data: HeteroData, k: int) -> Tensor:
    """Row u: the softmax, over the k users that share most items with u, of how many they share."""
    met = (interaction_matrix(data) > 0).double()
    count, out = (met @ met.t()).long(), torch.zeros(6, 6).double()
    for user in range(6):
        others = [other for other in range(6) if other != user and count[user, other] > 0]
        others.sort(key=lambda other: (-int(count[user, other]), other))
        total = sum(float(count[user, other].double().exp()) for other in others[:k])
        for other in others[:k]:
            out[user, other] = float(count[user, other].double().exp()) / total
    return out


def expected_of(model: COHESION, data: HeteroData) -> tuple[Tensor, Tensor]:
    h_user, h_item = propagated(model, data)
    mixed = torch.zeros(9, 9).double()
    for relation, weight in zip(model.graphs.relations, model.graphs.weights or (), strict=True):
        graph = data[ITEM, relation, ITEM]
        mixed += weight * dense_adjacency(graph.edge_index, graph.edge_weight, 9, 9)
    more = h_item
    for _ in range(model.num_item_layers):
        more = mixed @ more
    return h_user + shares(data, model.k) @ h_user, h_item + more


@pytest.mark.parametrize('num_layers', [0, 1, 3])
@pytest.mark.parametrize('num_item_layers', [1, 2])
@pytest.mark.parametrize('k', [1, 40])
def test_equals_the_dense_reference(num_layers: int, num_item_layers: int, k: int) -> None:
    data = shop()
    model = model_of(
        data,
        num_layers=num_layers,
        num_item_layers=num_item_layers,
        k=k,
        item_graphs={'similar_image': 0.1, 'similar_text': 0.9},
    ).eval()
    out, expected = model(data), expected_of(model, data)
    close(out, expected)
    parameters = list(model.parameters())
    grads, exact = (
        torch.autograd.grad(z_user.pow(3).sum() + z_item.square().sum(), parameters)
        for z_user, z_item in (out, expected)
    )
    close(grads, exact)
    users, items = torch.tensor([2, 2, 0]), torch.tensor([[8, 1, 1, 3, 6]])
    close(model(data, users, items), (expected[0][users], expected[1][items]))


def test_by_default_modalities_have_equal_parts_of_the_item_graph() -> None:
    model = model_of(shop())
    assert model.graphs.relations == ('similar_image', 'similar_text')
    assert model.graphs.weights == [0.5, 0.5]


def expected_loss(model: COHESION, data: HeteroData, negatives: Tensor) -> Tensor:
    """BPR, one triplet at a time, on the sum over the views of weight times score."""
    z_user, z_item = expected_of(model, data)
    rows = negatives if negatives.dim() == 2 else negatives[:, None]
    rows = rows.expand(4, -1)
    total = torch.zeros(()).double()
    for user, item, others in zip(USERS, ITEMS, rows, strict=True):
        u, i = z_user[user].view(3, 4), z_item[item].view(3, 4)
        n = z_item[others].view(-1, 3, 4)
        lead = (u * (i - n.mean(dim=0))).sum(dim=1).detach()
        weight = 1 - lead.exp() / lead.exp().sum()
        for other in n:
            margin = (weight * (u * (i - other)).sum(dim=1)).sum()
            total = total + torch.log(1 + torch.exp(-margin))
    return total / rows.numel()


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
def test_the_loss_weighs_the_views(negatives: Tensor) -> None:
    data = shop()
    model = model_of(data).train()
    loss = model.loss(data, USERS, ITEMS, negatives, BPRLoss(0.0))
    expected = expected_loss(model, data, negatives)
    close(loss, expected)
    parameters = list(model.parameters())
    close(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters))
    close(BPRLoss(0.0)(*model.triplets(data, USERS, ITEMS, negatives)), expected)
    z_user, z_item = model(data)
    assert not torch.allclose(
        BPRLoss(0.0)(z_user[USERS], z_item[ITEMS], z_item[negatives]), expected
    )


def test_a_view_that_leads_weighs_less() -> None:
    data = shop()
    model = model_of(data)
    user = torch.ones(1, 12).double()
    positive = torch.cat([torch.ones(1, 4), torch.zeros(1, 8)], dim=1).double()
    weight = model._weights(user, positive, torch.zeros(1, 12).double())
    close(weight[0, 4:], weight[0, 4].expand(8))
    close(weight[0, :4], weight[0, 0].expand(4))
    assert weight[0, 0] < 0.1 < 0.9 < weight[0, 4]
    close(weight[0, ::4].sum(), torch.tensor(2.0).double())


def test_without_negatives_there_is_nothing_to_weigh_by() -> None:
    data = shop()
    with pytest.raises(ValueError, match='negative'):
        model_of(data).loss(
            data, USERS, ITEMS, torch.empty(4, 0, dtype=torch.long), SampledSoftmaxLoss()
        )


def test_neighbours_of_a_user_are_those_who_share_most() -> None:
    edges = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 2), (3, 1), (4, 3)]
    data = interacting(torch.tensor(edges).t(), 5, 4)
    data[ITEM].x_text = torch.ones(4, 2)
    graph = data[ITEM, 'similar_text', ITEM]
    graph.edge_index, graph.edge_weight = torch.tensor([[0], [1]]), torch.ones(1)
    dense = COHESION.from_data(data, k=2).user_graph(data).matrix(torch.float64).to_dense()
    e = torch.tensor(1.0).exp()
    expected = torch.zeros(5, 5)
    expected[0, [1, 2]] = torch.stack([e, torch.ones(())]) / (e + 1)  # 2 and 3 share as much.
    expected[1, [0, 3]] = torch.stack([e, torch.ones(())]) / (e + 1)
    expected[2, 0] = 1
    expected[3, [0, 1]] = 0.5
    close(dense, expected.double())


def test_the_start_of_a_cold_item_reaches_nobody() -> None:
    data = shop()
    model = model_of(data).eval()
    before = model(data)
    model.item_embedding.weight.data[COLD] += 10.0
    torch.testing.assert_close(model(data), before)


def test_what_is_unknown_of_an_item_is_zero() -> None:
    data = shop()
    data[ITEM].x_image[7], data[ITEM].x_text[7] = 0.0, 0.0
    for name in LACKS:
        graph = data[ITEM, f'similar_{name}', ITEM]
        graph.edge_weight = torch.zeros_like(graph.edge_weight)
    z_item = model_of(data).eval()(data)[1]
    assert torch.equal(z_item[7], torch.zeros(12).double())
    assert torch.equal(z_item[8, :4], torch.zeros(4).double())  # Features are known of this one.
    assert z_item[8, 4:].ne(0).all()


def test_graphs_are_built_once_and_changes_are_noticed() -> None:
    data = shop()
    model = model_of(data)
    before, graphs = model(data), (model.user_graph(data), model.interaction_graph(data))
    model(data)
    assert (model.user_graph(data), model.interaction_graph(data)) == graphs
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, 1:]
    close(model(data), expected_of(model, data))
    assert not torch.allclose(model(data)[0], before[0])
    graphs = model.user_graph(data), model.interaction_graph(data)
    model.reset_parameters()
    assert model.user_graph(data) is not graphs[0]
    assert model.interaction_graph(data) is not graphs[1]


def test_no_interactions() -> None:
    data = shop()
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    z_user, z_item = model_of(data)(data)
    close(z_user.view(6, 3, 4).norm(dim=2), torch.ones(6, 3).double())
    assert torch.equal(z_item[:, :4], torch.zeros(9, 4).double())
    assert z_item.isfinite().all()


def test_what_is_missing_from_the_data_is_named() -> None:
    with pytest.raises(ValueError, match=r"no item graph \('item', 'similar_text', 'item'\)"):
        COHESION.from_data(small_shop(('similar', 'similar_image')))
    data = shop()
    model = model_of(data)
    del data[ITEM].x_text
    with pytest.raises(ValueError, match=r"features \['text'\]"):
        model(data)
    del data[ITEM].x_image
    with pytest.raises(ValueError, match='no item features, which COHESION needs'):
        COHESION.from_data(data)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'in_channels': {}}, "'in_channels' is empty"),
        ({'item_graphs': {}}, "'item_graphs'"),
        ({'num_item_layers': 0}, "'num_item_layers' must be a positive integer"),
        ({'num_layers': -1}, "'num_layers'"),
        ({'embedding_dim': 0}, "'embedding_dim'"),
        ({'hidden_dim': 0}, "'hidden_dim'"),
        ({'k': 0}, "'k'"),
    ],
)
def test_constructor_errors(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        COHESION(6, 9, **{'in_channels': {'image': 4}, **kwargs})
