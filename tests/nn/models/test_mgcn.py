from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import MGCN, BPRLoss
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.layers import layer_of
from tests.nn.models.shops import COLD, interaction_matrix, small_shop
from tests.references import bipartite_normalized, dense_adjacency

close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)  # Weights are made in float32.

LACKS = {'image': (5, 6), 'text': (6,)}
USERS, ITEMS = torch.tensor([0, 4, 3, 2]), torch.tensor([6, 5, 4, 3])
NEGATIVES = {
    'one': torch.tensor([1, 2, 5, 7]),
    'several': torch.tensor([[1, 2], [5, 0], [6, 8], [7, 7]]),
    'shared': torch.tensor([[8, 5, 2]]),
}


def shop() -> HeteroData:
    return small_shop(('similar', 'similar_image', 'similar_text'))


def model_of(data: HeteroData, **kwargs: Any) -> MGCN:
    torch.manual_seed(0)
    return MGCN.from_data(data, embedding_dim=4, **kwargs).double()


def affine(lin: Any, x: Tensor) -> Tensor:
    assert isinstance(lin, Linear)
    return x @ lin.weight.t() + (0 if lin.bias is None else lin.bias)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def expected_views(model: MGCN, data: HeteroData) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Content and fused embeddings of the users, then of the items."""
    walk = bipartite_normalized(interaction_matrix(data))
    e_user, e_item = model.light_gcn.user_embedding.weight, model.light_gcn.item_embedding.weight
    users, items = [e_user], [e_item]
    for _ in range(model.light_gcn.num_layers):
        users, items = [*users, walk @ items[-1]], [*items, walk.t() @ users[-1]]
    is_warm = (interaction_matrix(data).sum(0) > 0).double()[:, None]
    content = torch.cat([torch.stack(users).mean(0), is_warm * torch.stack(items).mean(0)])
    views = []
    for gate, name in zip(model.gate, LACKS, strict=True):
        x = affine(layer_of(model.lin, name), data[ITEM][f'x_{name}'])
        has = torch.tensor([[float(item not in LACKS[name])] for item in range(9)]).double()
        h = has * is_warm * e_item * sigmoid(affine(gate, x))
        graph = data[ITEM, f'similar_{name}', ITEM]
        for _ in range(model.num_item_layers):
            h = dense_adjacency(graph.edge_index, graph.edge_weight, 9, 9) @ h
        views.append(torch.cat([walk @ h, h]))
    exp = [affine(model.query[2], torch.tanh(affine(model.query[0], h))).exp() for h in views]
    shared = (exp[0] * views[0] + exp[1] * views[1]) / (exp[0] + exp[1])
    fused = shared
    for lin, h in zip(model.preference, views, strict=True):
        fused = fused + sigmoid(affine(lin, content)) * (h - shared)
    fused = fused / 3
    return content[:6], fused[:6], content[6:], fused[6:]


def expected_of(model: MGCN, data: HeteroData) -> tuple[Tensor, Tensor]:
    content_user, fused_user, content_item, fused_item = expected_views(model, data)
    return content_user + fused_user, content_item + fused_item


def expected_contrast(fused: Tensor, content: Tensor, temperature: float) -> Tensor:
    """The mean of -log of the share that the own row has among all rows; zeros have cosine 0."""
    total = torch.zeros(()).double()
    for row in range(fused.size(0)):
        cosines = [
            fused[row] @ c / (fused[row].norm() * c.norm()).clamp(min=1e-12) for c in content
        ]
        shares = torch.stack([(cosine / temperature).exp() for cosine in cosines])
        total = total - torch.log(shares[row] / shares.sum())
    return total / fused.size(0)


@pytest.mark.parametrize('num_layers', [0, 2])
@pytest.mark.parametrize('num_item_layers', [1, 2])
def test_equals_the_dense_reference(num_layers: int, num_item_layers: int) -> None:
    data = shop()
    model = model_of(data, num_layers=num_layers, num_item_layers=num_item_layers)
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


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
def test_the_loss_adds_a_contrast_of_views(negatives: Tensor) -> None:
    data = shop()
    model = model_of(data, contrast_weight=0.3, temperature=0.5).train()
    loss = model.loss(data, USERS, ITEMS, negatives, BPRLoss(0.01))
    z_user, z_item = expected_of(model, data)
    expected = BPRLoss(0.01)(z_user[USERS], z_item[ITEMS], z_item[negatives])
    content_user, fused_user, content_item, fused_item = expected_views(model, data)
    for fused, content, ids in (
        (fused_user, content_user, USERS),
        (fused_item, content_item, ITEMS),
    ):
        expected = expected + 0.3 * expected_contrast(fused[ids], content[ids], 0.5)
    close(loss, expected)
    parameters = list(model.parameters())
    close(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters))


def test_without_contrast_it_is_the_ranking_loss() -> None:
    data = shop()
    model = model_of(data, contrast_weight=0.0)
    batch = USERS, ITEMS, NEGATIVES['several']
    close(model.loss(data, *batch, BPRLoss()), BPRLoss()(*model.triplets(data, *batch)))


def test_one_modality() -> None:
    data = shop()
    model = model_of(data, in_channels={'text': 4})
    content_user, fused_user, content_item, fused_item = model.embed(data, None, None)[2:]
    walk = bipartite_normalized(interaction_matrix(data))
    close(fused_user, walk @ fused_item)  # There is nothing to weigh or to prefer.
    close(model(data), (content_user + fused_user, content_item + fused_item))


def test_a_cold_item_has_what_its_neighbours_send() -> None:
    data = shop()
    model = model_of(data)
    before = model(data)
    model.light_gcn.item_embedding.weight.data[COLD] += 10.0
    torch.testing.assert_close(model(data), before)
    assert before[1][COLD].ne(0).any(dim=1).all()
    for name in LACKS:
        graph = data[ITEM, f'similar_{name}', ITEM]
        graph.edge_weight = torch.zeros_like(graph.edge_weight)
    assert torch.equal(model(data)[1][COLD], torch.zeros(2, 4).double())


def test_an_item_sends_nothing_of_a_modality_that_it_lacks() -> None:
    data = shop()
    model = model_of(data)
    before = model(data)
    for name, item in (('image', 5), ('image', 6), ('text', 6)):
        send(data, name, item)
    torch.testing.assert_close(model(data), before)
    send(data, 'text', 5)
    assert not torch.allclose(model(data)[1], before[1])


def send(data: HeteroData, name: str, item: int) -> None:
    """Make an item a neighbour of item 0."""
    graph = data[ITEM, f'similar_{name}', ITEM]
    graph.edge_index = torch.cat([graph.edge_index, torch.tensor([[item], [0]])], dim=1)
    graph.edge_weight = torch.cat([graph.edge_weight, torch.ones(1).double()])


def test_the_graphs_are_built_once_and_changes_are_noticed() -> None:
    data = shop()
    model = model_of(data)
    before = model(data)
    pairs = model.graphs(data)
    model(data)
    assert model.graphs(data) is pairs
    data[ITEM, 'similar_image', ITEM].edge_weight *= 2
    close(model(data), expected_of(model, data))
    assert not torch.allclose(model(data)[0], before[0])
    pairs = model.graphs(data)
    model.reset_parameters()
    assert model.graphs(data) is not pairs


def test_reset_parameters_draws_all_anew() -> None:
    model = model_of(shop())
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.reset_parameters()
    assert not any(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_no_interactions() -> None:
    data = shop()
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    model = model_of(data, num_layers=1)
    z_user, z_item = model(data)
    assert torch.equal(z_user, model.light_gcn.user_embedding.weight / 2)
    assert torch.equal(z_item, torch.zeros(9, 4).double())


def test_what_is_missing_from_the_data_is_named() -> None:
    with pytest.raises(ValueError, match=r"no item graph \('item', 'similar_text', 'item'\)"):
        MGCN.from_data(small_shop(('similar', 'similar_image')))
    data = shop()
    model = model_of(data)
    with pytest.raises(ValueError, match=r"no item graph \('item', 'similar_image', 'item'\)"):
        model(small_shop())
    del data[ITEM].x_text
    with pytest.raises(ValueError, match=r"features \['text'\]"):
        model(data)
    del data[ITEM].x_image
    with pytest.raises(ValueError, match='no item features, which MGCN needs'):
        MGCN.from_data(data)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'in_channels': {}}, "'in_channels' is empty"),
        ({'num_item_layers': 0}, "'num_item_layers' must be a positive integer"),
        ({'contrast_weight': -1.0}, "'contrast_weight' must be finite and not negative"),
        ({'temperature': 0.0}, "'temperature' must be positive"),
        ({'num_layers': -1}, "'num_layers'"),
        ({'embedding_dim': 0}, "'embedding_dim'"),
    ],
)
def test_constructor_errors(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MGCN(6, 9, **{'in_channels': {'image': 4}, **kwargs})


def test_repr() -> None:
    assert repr(MGCN(6, 9, {'image': 4})) == "MGCN(6, 9, {'image': 4}, embedding_dim=64)"
