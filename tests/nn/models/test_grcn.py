from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import GRCN, BPRLoss
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.shops import COLD, NUM_ITEMS, NUM_USERS, small_shop

Pair = tuple[Tensor, Tensor]


def model_of(data: HeteroData, seed: int = 0, **kwargs: Any) -> GRCN:
    """A model in double precision, some of whose confidences are negative."""
    torch.manual_seed(seed)
    model = GRCN.from_data(data, **{'embedding_dim': 3, 'feature_dim': 5, **kwargs}).double()
    for confidence in (model.user_confidence, model.item_confidence):
        torch.nn.init.normal_(confidence, mean=0.5)
    return model


def unit(rows: list[Tensor]) -> list[Tensor]:
    return [row / row.norm() for row in rows]


def starting(model: GRCN, data: HeteroData, modality: int) -> tuple[list[Tensor], list[Tensor]]:
    """The preferences and the features, before any routing."""
    prototypes: Any = model.prototypes[modality]
    name = ('image', 'text')[modality]
    x, f = data[ITEM][f'x_{name}'], []
    for item in range(NUM_ITEMS):
        row = prototypes.lin.weight @ x[item] + prototypes.lin.bias
        row = torch.where(row > 0, row, 0.01 * row)
        lacks = item == 6 or (name == 'image' and not data[ITEM].has_image[item])
        f.append(torch.zeros_like(row) if lacks else row / row.norm())
    return unit(list(prototypes.preference.weight)), f


def attention(p: list[Tensor], f: list[Tensor], edges: list[list[int]]) -> Pair:
    """The softmax over the edges of each user, and over those of each item."""
    score = [(p[u] @ f[i]).exp() for u, i in edges]
    to_user, to_item = [], []
    for edge, (user, item) in enumerate(edges):
        of_user = [score[e] for e, (u, _) in enumerate(edges) if u == user]
        of_item = [score[e] for e, (_, i) in enumerate(edges) if i == item]
        to_user.append(score[edge] / torch.stack(of_user).sum())
        to_item.append(score[edge] / torch.stack(of_item).sum())
    return torch.stack(to_user), torch.stack(to_item)


def received(
    x: list[Tensor], y: list[Tensor], edges: list[list[int]], weight: Pair
) -> tuple[list[Tensor], list[Tensor]]:
    """The weighted sums that users receive from items and items from users."""
    x_new, y_new = ([torch.zeros_like(row) for row in rows] for rows in (x, y))
    for edge, (user, item) in enumerate(edges):
        x_new[user] = x_new[user] + weight[0][edge] * y[item]
        y_new[item] = y_new[item] + weight[1][edge] * x[user]
    return x_new, y_new


def added(x: list[Tensor], y: list[Tensor]) -> list[Tensor]:
    return [a + b for a, b in zip(x, y, strict=True)]


def refined(model: GRCN, edges: list[list[int]], alphas: list[Pair]) -> Pair:
    """ReLU of the largest attention, times the confidence of who sends."""
    to_user, to_item = [], []
    for edge, (user, item) in enumerate(edges):
        by_item = [
            model.item_confidence[item, m] * alpha[0][edge] for m, alpha in enumerate(alphas)
        ]
        by_user = [
            model.user_confidence[user, m] * alpha[1][edge] for m, alpha in enumerate(alphas)
        ]
        to_user.append(torch.stack(by_item).max().clamp(min=0))
        to_item.append(torch.stack(by_user).max().clamp(min=0))
    return torch.stack(to_user), torch.stack(to_item)


def expected_of(model: GRCN, data: HeteroData) -> tuple[Tensor, Tensor, Pair]:
    """The formulas, edge by edge: the embeddings, and the weights of the refined graph."""
    edges = data[INTERACTS].edge_index.t().tolist()
    content, alphas = [], []
    for modality in range(2):
        p, f = starting(model, data, modality)
        for _ in range(model.num_routings):
            p = unit(added(p, received(p, f, edges, attention(p, f, edges))[0]))
        alpha = attention(p, f, edges)
        users, items = received(p, f, edges, alpha)
        content.append((added(p, users), added(f, items)))
        alphas.append(alpha)
    weight = refined(model, edges, alphas)
    warm = {item for _, item in edges}
    x = unit(list(model.user_embedding.weight))
    y = unit(list(model.item_embedding.weight))
    y = [row if item in warm else 0 * row for item, row in enumerate(y)]
    x_sum, y_sum = x, y
    for _ in range(model.num_layers):
        x, y = received(x, y, edges, weight)
        x_sum, y_sum = added(x_sum, x), added(y_sum, y)
    z = [
        torch.cat([torch.stack(side) for side in sides], dim=1)
        for sides in ([x_sum, *(c[0] for c in content)], [y_sum, *(c[1] for c in content)])
    ]
    return z[0], z[1], weight


def gradients(model: GRCN, z_user: Tensor, z_item: Tensor) -> tuple[Tensor, ...]:
    objective = z_user.pow(3).sum() + z_item.square().sum()
    return torch.autograd.grad(objective, list(model.parameters()))


@pytest.mark.parametrize(('num_layers', 'num_routings'), [(1, 0), (2, 1), (2, 3)])
def test_equals_the_formulas(num_layers: int, num_routings: int) -> None:
    data = small_shop()
    model = model_of(data, num_layers=num_layers, num_routings=num_routings)
    out, (z_user, z_item, _) = model(data), expected_of(model, data)
    torch.testing.assert_close(out, (z_user, z_item))
    torch.testing.assert_close(gradients(model, *out), gradients(model, z_user, z_item))


@pytest.mark.parametrize('num_layers', [1, 2])
def test_only_what_is_asked_for(num_layers: int) -> None:
    data = small_shop()
    model = model_of(data, num_layers=num_layers)
    users, items = torch.tensor([5, 0, 5]), torch.tensor([[8, 5], [6, 1]])
    z_user, z_item, _ = expected_of(model, data)
    out, expected = model(data, users, items), (z_user[users], z_item[items])
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(gradients(model, *out), gradients(model, *expected))


def test_the_refined_graph() -> None:
    data = small_shop()
    model = model_of(data)
    weights, (_, _, expected) = model.edge_weights(data), expected_of(model, data)
    torch.testing.assert_close(weights, expected)
    for weight in weights:
        assert not weight.requires_grad
        assert weight.eq(0).any()  # Pruned.
        assert weight.gt(0).any()


def test_nothing_is_pruned_at_the_start() -> None:
    data = small_shop()
    model = GRCN.from_data(data)
    assert all(weight.gt(0).all() for weight in model.edge_weights(data))


def test_a_node_without_confidence_sends_nothing() -> None:
    data = small_shop()
    model = model_of(data)
    user, item = data[INTERACTS].edge_index
    with torch.no_grad():
        model.user_confidence[:] = 1.0
        model.item_confidence[:] = 1.0
        model.user_confidence[3] = -1.0
        model.item_confidence[0] = -1.0
    to_user, to_item = model.edge_weights(data)
    assert torch.equal(to_user == 0, item == 0)
    assert torch.equal(to_item == 0, user == 3)


@pytest.mark.parametrize('num_routings', [0, 3])
def test_what_resembles_the_preference_weighs_more(num_routings: int) -> None:
    data = small_shop()
    model = model_of(data, in_channels={'text': 4}, num_routings=num_routings)
    torch.nn.init.ones_(model.item_confidence)
    edges = data[INTERACTS].edge_index.t().tolist()
    first, second = edges.index([1, 1]), edges.index([1, 2])  # All that user 1 has taken.
    prototypes: Any = model.prototypes[0]
    for item, (near, far) in ((1, (first, second)), (2, (second, first))):
        with torch.no_grad():
            row = torch.nn.functional.leaky_relu(prototypes.lin(data[ITEM].x_text[item]))
            prototypes.preference.weight[1] = row
        to_user, _ = model.edge_weights(data)
        assert to_user[near] > to_user[far]
        torch.testing.assert_close(to_user[near] + to_user[far], torch.ones(()).double())


def test_repeated_interactions_count_each_time() -> None:
    data = small_shop()
    once = model_of(data)(data)
    edge_index = data[INTERACTS].edge_index
    data[INTERACTS].edge_index = torch.cat([edge_index, edge_index[:, :2]], dim=1)
    model = model_of(data)
    torch.testing.assert_close(model(data), expected_of(model, data)[:2])
    assert not torch.allclose(model(data)[0], once[0])


def test_int32_interactions() -> None:
    data = small_shop()
    model = model_of(data)
    before = model(data)
    data[INTERACTS].edge_index = data[INTERACTS].edge_index.int()
    torch.testing.assert_close(model(data), before)


def test_cold_items_are_what_their_content_is() -> None:
    data = small_shop()
    model = model_of(data)
    _, z_item = model(data)
    assert z_item[COLD, :3].eq(0).all()
    for modality in range(2):
        _, f = starting(model, data, modality)
        part = z_item[:, 3 + 5 * modality : 8 + 5 * modality]
        torch.testing.assert_close(part[COLD], torch.stack(f)[COLD])


def test_an_item_without_content_still_propagates() -> None:
    data = small_shop()
    model = GRCN.from_data(data, embedding_dim=3).double()
    _, item = data[INTERACTS].edge_index
    to_user, to_item = model.edge_weights(data)
    assert to_user[item == 6].gt(0).all()
    assert to_item[item == 6].gt(0).all()


def test_one_modality() -> None:
    data = small_shop()
    model = model_of(data, in_channels={'text': 4})
    z_user, z_item = model(data)
    assert (z_user.shape, z_item.shape) == ((NUM_USERS, 8), (NUM_ITEMS, 8))
    data[ITEM].x_image = data[ITEM].x_image + 1
    torch.testing.assert_close(model(data), (z_user, z_item))


def test_new_interactions_are_noticed() -> None:
    data = small_shop()
    model = model_of(data)
    model(data)
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, 1:]
    torch.testing.assert_close(model(data), expected_of(model, data)[:2])


def test_the_loss_is_the_ranking_loss_alone() -> None:
    data = small_shop()
    model = model_of(data)
    users, items, negatives = torch.tensor([[0, 1, 4], [1, 2, 5], [7, 8, 3]])
    z_user, z_item, _ = expected_of(model, data)
    loss = model.loss(data, users, items, negatives, BPRLoss(0.0))
    margin = (z_user[users] * (z_item[items] - z_item[negatives])).sum(dim=1)
    torch.testing.assert_close(loss, -margin.sigmoid().log().mean())
