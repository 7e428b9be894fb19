from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import PGL, BPRLoss, LightGCN
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.layers import layer_of
from tests.nn.models.shops import interaction_matrix, small_shop
from tests.references import bipartite_normalized, dense_adjacency

close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)  # Weights are made in float32.

LACKS = {'image': (5, 6), 'text': (6,)}
USERS, ITEMS = torch.tensor([0, 4, 3, 4]), torch.tensor([6, 5, 4, 5])
NEGATIVES = {
    'one': torch.tensor([1, 2, 5, 7]),
    'several': torch.tensor([[1, 2], [5, 0], [6, 8], [7, 7]]),
    'shared': torch.tensor([[8, 5, 2]]),
}


def shop() -> HeteroData:
    return small_shop(('similar', 'similar_image', 'similar_text'))


def model_of(data: HeteroData, **kwargs: Any) -> PGL:
    torch.manual_seed(0)
    model = PGL.from_data(data, **{'embedding_dim': 4, **kwargs}).double()
    model.content_map = None  # Cold items have the embeddings of the paper.
    return model


def expected_of(model: PGL, data: HeteroData, walk: Tensor) -> tuple[Tensor, Tensor]:
    """Users' embeddings and unit features over the walk, and features over the item graphs."""
    parts = []
    for name, without in LACKS.items():
        layer = layer_of(model.lin, name)
        x = data[ITEM][f'x_{name}'] @ layer.weight.t() + layer.bias
        x = x / x.square().sum(dim=1, keepdim=True).sqrt()
        parts.append(torch.stack([x[i] * float(i not in without) for i in range(9)]))
    x_item = torch.cat(parts, dim=1)
    users, items = [torch.cat([model.user_embedding[0], model.user_embedding[1]], dim=1)], [x_item]
    for _ in range(model.num_layers):
        users, items = [*users, walk @ items[-1]], [*items, walk.t() @ users[-1]]
    mixed = torch.zeros(9, 9).double()
    for relation, weight in zip(model.graphs.relations, model.graphs.weights or (), strict=True):
        graph = data[ITEM, relation, ITEM]
        mixed += weight * dense_adjacency(graph.edge_index, graph.edge_weight, 9, 9)
    h = x_item
    for _ in range(model.num_item_layers):
        h = mixed @ h
    return torch.stack(users).mean(0), torch.stack(items).mean(0) + h


def whole_walk(data: HeteroData) -> Tensor:
    return bipartite_normalized(interaction_matrix(data))


def expected_contrast(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """The mean of -log of the share that the own row has among all rows."""
    total = torch.zeros(()).double()
    for row in range(a.size(0)):
        cosines = [a[row] @ other / (a[row].norm() * other.norm()).clamp(min=1e-12) for other in b]
        shares = torch.stack([(cosine / temperature).exp() for cosine in cosines])
        total = total - torch.log(shares[row] / shares.sum())
    return total / a.size(0)


@pytest.mark.parametrize('num_layers', [0, 2])
@pytest.mark.parametrize('num_item_layers', [1, 2])
@pytest.mark.parametrize('subgraph', ['local', 'global'])
def test_evaluation_equals_the_dense_reference(
    num_layers: int, num_item_layers: int, subgraph: str
) -> None:
    data = shop()
    model = model_of(
        data,
        num_layers=num_layers,
        num_item_layers=num_item_layers,
        subgraph=subgraph,
        graph_weights={'similar_image': 0.1, 'similar_text': 0.9},
    ).eval()
    out, expected = model(data), expected_of(model, data, whole_walk(data))
    close(out, expected)
    parameters = list(model.parameters())
    grads, exact = (
        torch.autograd.grad(z_user.pow(3).sum() + z_item.square().sum(), parameters)
        for z_user, z_item in (out, expected)
    )
    close(grads, exact)
    users, items = torch.tensor([2, 2, 0]), torch.tensor([[8, 1, 1, 3, 6]])
    close(model(data, users, items), (expected[0][users], expected[1][items]))


def local_walk(model: PGL, data: HeteroData) -> Tensor:
    """The kept interactions, normalised anew by the degrees that are left."""
    kept = model.principal_graph(data).edges()[0]
    pairs = [tuple(pair) for pair in data[INTERACTS].edge_index.t().tolist()]
    assert all(tuple(pair) in pairs for pair in kept.t().tolist())
    assert kept.size(1) == round(model.keep * len(pairs))
    return bipartite_normalized(dense_adjacency(kept, None, 6, 9).t())


def test_training_propagates_over_the_local_subgraph() -> None:
    data = shop()
    model = model_of(data, keep=0.5, seed=5).train()
    assert model.changes_with_epoch
    light_gcn = LightGCN(6, 9, 4, edge_dropout=0.5, seed=5).double()
    seen = []
    for epoch in (0, 1, 2, 0):
        model.start_epoch(data, epoch)
        light_gcn.start_epoch(data, epoch)
        walk = local_walk(model, data)
        # The sample is that of LightGCN's edge dropout.
        theirs = light_gcn._epoch_graph(data).edges()
        torch.testing.assert_close(walk, dense_adjacency(*theirs, 6, 9).t().double())
        close(model(data), expected_of(model, data, walk))
        seen.append(walk)
    assert not all(torch.equal(seen[0], walk) for walk in seen[1:3])
    assert torch.equal(seen[0], seen[3])


def test_training_propagates_over_the_global_subgraph() -> None:
    data = shop()
    model = model_of(data, subgraph='global', rank=4).train()
    assert not model.changes_with_epoch
    value = torch.linalg.svdvals(whole_walk(data))
    pair = model.principal_graph(data)
    weight = dense_adjacency(*pair.edges(), 6, 9).t().double()
    close(torch.linalg.matrix_norm(weight, 2), value[0] * value[3])
    close(model(data), expected_of(model, data, weight))
    model.start_epoch(data, 1)
    assert model.principal_graph(data) is pair


def test_all_interactions_kept_are_the_whole_graph() -> None:
    data = shop()
    model = model_of(data, keep=1.0).train()
    assert not model.changes_with_epoch
    close(model(data), expected_of(model, data, whole_walk(data)))


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
@pytest.mark.parametrize('dropout', [0.0, 0.4])
def test_the_loss_adds_a_contrast_of_dropouts(negatives: Tensor, dropout: float) -> None:
    data = shop()
    model = model_of(data, contrast_weight=0.3, temperature=0.5, dropout=dropout).train()
    torch.manual_seed(3)
    loss = model.loss(data, USERS, ITEMS, negatives, BPRLoss(0.01))
    torch.manual_seed(3)
    z_user, z_item = expected_of(model, data, local_walk(model, data))
    expected = BPRLoss(0.01)(z_user[USERS], z_item[ITEMS], z_item[negatives])
    for z, ids in ((z_user, USERS), (z_item, ITEMS)):
        rows, position = ids.unique(return_inverse=True)
        a, b = F.dropout(z[rows], dropout), F.dropout(z[rows], dropout)
        expected = expected + 0.3 * expected_contrast(a[position], b[position], 0.5) / 2
    close(loss, expected)
    parameters = list(model.parameters())
    close(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters))


def test_without_contrast_it_is_the_ranking_loss() -> None:
    data = shop()
    model = model_of(data, contrast_weight=0.0).train()
    batch = USERS, ITEMS, NEGATIVES['several']
    close(model.loss(data, *batch, BPRLoss()), BPRLoss()(*model.triplets(data, *batch)))


def test_an_item_without_interactions_has_its_features() -> None:
    data = shop()
    model = model_of(data).eval()
    for name in LACKS:
        graph = data[ITEM, f'similar_{name}', ITEM]
        graph.edge_weight = torch.zeros_like(graph.edge_weight)
    z_item = model(data)[1]
    close(z_item[8].view(2, 4).norm(dim=1), torch.full((2,), 1 / 3).double())
    del data[ITEM].has_image
    assert torch.equal(z_item[6, 4:], model(data)[1][6, 4:])


def test_the_graphs_are_built_once() -> None:
    data = shop()
    model = model_of(data)
    model.start_epoch(data, 0)
    whole, principal = model.interaction_graph(data), model.principal_graph(data)
    model.train()(data)
    model.eval()(data)
    assert model.interaction_graph(data) is whole
    assert model.principal_graph(data) is principal
    model.reset_parameters()
    assert model.interaction_graph(data) is not whole
    assert model.principal_graph(data) is not principal


def test_reset_parameters_draws_all_anew() -> None:
    model = model_of(shop())
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.reset_parameters()
    assert not any(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert not torch.equal(*model.user_embedding)


@pytest.mark.parametrize('subgraph', ['local', 'global'])
def test_no_interactions(subgraph: str) -> None:
    data = shop()
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    model = model_of(data, num_layers=1, subgraph=subgraph).train()
    model.start_epoch(data, 0)
    close(model(data), expected_of(model, data, torch.zeros(6, 9).double()))


def test_what_is_missing_from_the_data_is_named() -> None:
    with pytest.raises(ValueError, match=r"no item graph \('item', 'similar_text', 'item'\)"):
        PGL.from_data(small_shop(('similar', 'similar_image')))
    assert PGL.from_data(small_shop(), graph_weights={'similar': 1.0}).graphs.relations == (
        'similar',
    )
    data = shop()
    model = model_of(data)
    del data[ITEM].x_text
    with pytest.raises(ValueError, match=r"features \['text'\]"):
        model(data)
    del data[ITEM].x_image
    with pytest.raises(ValueError, match='no item features, which PGL needs'):
        PGL.from_data(data)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'in_channels': {}}, "'in_channels' is empty"),
        ({'graph_weights': {}}, "'graph_weights' is empty"),
        ({'embedding_dim': 0}, "'embedding_dim' must be a positive integer"),
        ({'num_layers': -1}, "'num_layers' must be an integer"),
        ({'num_item_layers': 0}, "'num_item_layers' must be a positive integer"),
        ({'subgraph': 'all'}, "'subgraph' must be one of 'local', 'global' "),
        ({'keep': 0.0}, r"'keep' must lie in \(0, 1\]"),
        ({'rank': 0}, "'rank' must be a positive integer"),
        ({'contrast_weight': -1.0}, "'contrast_weight' must be finite and not negative"),
        ({'dropout': 1.0}, r"'dropout' must lie in \[0, 1\)"),
        ({'temperature': 0.0}, "'temperature' must be positive"),
    ],
)
def test_constructor_errors(kwargs: dict[str, Any], message: str) -> None:
    given = {'in_channels': {'image': 4}, 'graph_weights': {'similar': 1.0}}
    with pytest.raises(ValueError, match=message):
        PGL(6, 9, **{**given, **kwargs})


def test_repr() -> None:
    expected = "PGL(6, 9, {'image': 4}, embedding_dim=64, subgraph='local')"
    assert repr(PGL(6, 9, {'image': 4}, {'similar': 1.0})) == expected
