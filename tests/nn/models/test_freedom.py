from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import FREEDOM, BPRLoss, LightGCN
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.layers import layer_of
from tests.nn.models.shops import COLD, interacting, interaction_matrix, small_shop
from tests.references import dense_adjacency

close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-6)  # Weights are made in float32.

WEIGHTS = {'similar_image': 0.1, 'similar_text': 0.9}
BATCH = torch.tensor([0, 4, 3, 2]), torch.tensor([6, 5, 4, 3])
NEGATIVES = {
    'one': torch.tensor([1, 2, 5, 7]),
    'several': torch.tensor([[1, 2], [5, 0], [6, 8], [7, 7]]),
    'shared': torch.tensor([[8, 5, 2]]),
}


def shop() -> HeteroData:
    return small_shop(('similar', 'similar_image', 'similar_text'))


def model_of(data: HeteroData, **kwargs: Any) -> FREEDOM:
    torch.manual_seed(0)
    kwargs = {'embedding_dim': 4, 'graph_weights': WEIGHTS, **kwargs}
    model = FREEDOM.from_data(data, **kwargs).double()
    model.content_map = None  # Cold items have the embeddings of the paper.
    return model


def expected_of(model: FREEDOM, data: HeteroData) -> tuple[Tensor, Tensor]:
    """z_u of LightGCN; z_i = [warm] z_i of LightGCN + (sum_m a_m A_m)^L' [warm] e_i."""
    interactions = interaction_matrix(data)
    num_users, num_items = interactions.shape
    e_user, e_item = model.light_gcn.user_embedding.weight, model.light_gcn.item_embedding.weight
    degree_user, degree_item = interactions.sum(1), interactions.sum(0)
    walk = torch.zeros_like(interactions)
    for u in range(num_users):
        for i in range(num_items):
            if interactions[u, i] > 0:
                walk[u, i] = interactions[u, i] / (degree_user[u] * degree_item[i]).sqrt()
    users, items = [e_user], [e_item]
    for _ in range(model.light_gcn.num_layers):
        users, items = [*users, walk @ items[-1]], [*items, walk.t() @ users[-1]]
    z_user, z_item = torch.stack(users).mean(0), torch.stack(items).mean(0)
    is_warm = (degree_item > 0).double()[:, None]
    h = is_warm * e_item
    mixed = torch.zeros(num_items, num_items).double()
    for relation, alpha in model.graph_weights.items():
        graph = data[ITEM, relation, ITEM]
        mixed += alpha * dense_adjacency(graph.edge_index, graph.edge_weight, num_items, num_items)
    for _ in range(model.num_item_layers):
        h = mixed @ h
    return z_user, is_warm * z_item + h


def expected_feature_loss(
    model: FREEDOM, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor
) -> Tensor:
    """For each modality, the mean of -log sigma over the triplets whose items have it."""
    assert model.lin is not None
    z_user, _ = expected_of(model, data)
    total = torch.zeros(()).double()
    lacks = {'image': (5, 6), 'text': (6,)}
    for name in ('image', 'text'):
        p = data[ITEM][f'x_{name}'] @ layer_of(model.lin, name).weight.t()
        triplets = [
            (u, i, n)
            for row, (u, i) in enumerate(zip(users.tolist(), items.tolist(), strict=True))
            for n in negatives[row if negatives.size(0) > 1 else 0].view(-1).tolist()
            if i not in lacks[name] and n not in lacks[name]
        ]
        terms = [-torch.log(torch.sigmoid(z_user[u] @ (p[i] - p[n]))) for u, i, n in triplets]
        total = total + torch.stack(terms).mean()
    return total


@pytest.mark.parametrize('num_layers', [0, 2])
@pytest.mark.parametrize('num_item_layers', [1, 2])
def test_equals_the_dense_reference(num_layers: int, num_item_layers: int) -> None:
    data = shop()
    model = model_of(data, num_layers=num_layers, num_item_layers=num_item_layers).eval()
    out, expected = model(data), expected_of(model, data)
    close(out, expected)
    parameters = list(model.light_gcn.parameters())
    grads, exact = (
        torch.autograd.grad(z_user.pow(3).sum() + z_item.square().sum(), parameters)
        for z_user, z_item in (out, expected)
    )
    close(grads, exact)
    users, items = torch.tensor([2, 2, 0]), torch.tensor([[8, 1, 1, 3, 6]])
    close(model(data, users, items), (expected[0][users], expected[1][items]))


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
def test_the_loss_adds_bpr_on_the_features(negatives: Tensor) -> None:
    data = shop()
    model = model_of(data, edge_dropout=0.0, feature_loss_weight=0.3).train()
    users, items = BATCH
    loss = model.loss(data, users, items, negatives, BPRLoss(0.01))
    z_user, z_item = expected_of(model, data)
    expected = BPRLoss(0.01)(z_user[users], z_item[items], z_item[negatives])
    expected = expected + 0.3 * expected_feature_loss(model, data, users, items, negatives)
    close(loss, expected)
    parameters = list(model.parameters())
    close(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters))


def test_what_is_missing_is_not_read_in_the_loss() -> None:
    data = shop()
    model = model_of(data).eval()
    batch = (*BATCH, NEGATIVES['several'])
    before = model.loss(data, *batch, BPRLoss())
    data[ITEM].x_image[5] = 100.0
    assert torch.equal(model.loss(data, *batch, BPRLoss()), before)
    data[ITEM].x_image[4] = 100.0
    assert not torch.allclose(model.loss(data, *batch, BPRLoss()), before)


def test_no_item_of_the_batch_has_a_modality() -> None:
    data = shop()
    model = model_of(data, in_channels={'image': 4}).eval()
    batch = torch.tensor([4, 0]), torch.tensor([5, 6]), torch.tensor([1, 2])
    loss = model.loss(data, *batch, BPRLoss())
    close(loss, BPRLoss()(*model.triplets(data, *batch)))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize('without', ['features', 'weight'])
def test_no_feature_loss(without: str) -> None:
    data = shop()
    if without == 'features':
        del data[ITEM].x_image, data[ITEM].x_text
    model = model_of(data, feature_loss_weight=0.0 if without == 'weight' else 1e-3).eval()
    assert {name.split('.')[0] for name, _ in model.named_parameters()} == {'light_gcn'}
    batch = (*BATCH, NEGATIVES['one'])
    loss = model.loss(data, *batch, BPRLoss())
    close(loss, BPRLoss()(*model.triplets(data, *batch)))


def test_a_cold_item_has_what_its_neighbours_send() -> None:
    data = shop()
    model = model_of(data).eval()
    before = model(data)
    model.light_gcn.item_embedding.weight.data[COLD] += 10.0
    torch.testing.assert_close(model(data), before)
    assert before[1][COLD].ne(0).any(dim=1).all()
    for relation in WEIGHTS:  # Without neighbours, nothing.
        data[ITEM, relation, ITEM].edge_weight = 0 * data[ITEM, relation, ITEM].edge_weight
    assert torch.equal(model(data)[1][COLD], torch.zeros(2, 4).double())


def test_prunes_as_light_gcn_does_and_in_training_alone() -> None:
    data = shop()
    model = model_of(data, edge_dropout=0.6, seed=5)
    light_gcn = LightGCN(6, 9, 4, edge_dropout=0.6, seed=5).double()
    light_gcn.load_state_dict(model.light_gcn.state_dict())
    full = model.eval()(data)
    h = full[1] - light_gcn.eval()(data)[1] * light_gcn.is_warm(data)
    seen = []
    for epoch in (0, 1, 0):
        for each in (model.train(), light_gcn.train()):
            each.start_epoch(data, epoch)
        z_user, z_item = light_gcn(data)
        seen.append(model(data))
        close(seen[-1], (z_user, z_item * light_gcn.is_warm(data) + h))
    assert not torch.allclose(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][0], seen[2][0])
    assert torch.equal(model.eval()(data)[0], full[0])


def test_the_graph_is_merged_once() -> None:
    data = shop()
    model = model_of(data).eval()
    pair = model.graphs(data)
    model(data)
    assert model.graphs(data) is pair
    before = model(data)
    data[ITEM, 'similar_text', ITEM].edge_weight *= 2
    close(model(data), expected_of(model, data))
    assert not torch.allclose(model(data)[1], before[1])
    pair = model.graphs(data)
    model.reset_parameters()
    assert model.graphs(data) is not pair


def test_graphs_of_the_data() -> None:
    data = small_shop(('co_interacts', 'similar', 'similar_image', 'similar_text'))
    assert FREEDOM.from_data(data).graph_weights == {'similar_image': 0.5, 'similar_text': 0.5}
    assert FREEDOM.from_data(small_shop()).graph_weights == {'similar': 1.0}
    with pytest.raises(ValueError, match=r"no item graph 'similar' or 'similar_<modality>'"):
        FREEDOM.from_data(small_shop(('co_interacts',)))
    named = FREEDOM.from_data(small_shop(), graph_weights={'co_interacts': 2.0})
    assert named.graph_weights == {'co_interacts': 2.0}


def test_wrong_data_is_refused() -> None:
    data = shop()
    model = model_of(data)
    with pytest.raises(ValueError, match='no item graph'):
        model(small_shop())
    with pytest.raises(ValueError, match='3 users and 4 items'):
        model(interacting(torch.tensor([[0], [0]]), 3, 4))
    del data[ITEM].x_text
    with pytest.raises(ValueError, match=r"features \['text'\]"):
        model.loss(data, *BATCH, NEGATIVES['one'], BPRLoss())


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'graph_weights': {}}, "'graph_weights' is empty"),
        ({'graph_weights': {'similar': 0.0}}, r"positive numbers \(got 0.0 for 'similar'\)"),
        ({'graph_weights': {'similar': float('nan')}}, 'positive numbers'),
        ({'num_item_layers': 0}, "'num_item_layers' must be a positive integer"),
        ({'num_layers': -1}, "'num_layers' must be an integer"),
        ({'embedding_dim': 0}, "'embedding_dim'"),
        ({'edge_dropout': 1.0}, "'edge_dropout'"),
        ({'feature_loss_weight': -0.1}, "'feature_loss_weight' must be finite and not negative"),
        ({'in_channels': {'image': 0}}, 'image'),
    ],
)
def test_constructor_errors(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FREEDOM(6, 9, **{'graph_weights': {'similar': 1.0}, **kwargs})


def test_no_interactions() -> None:
    data = shop()
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    model = model_of(data).train()
    model.start_epoch(data, 0)
    assert torch.equal(model(data)[1], torch.zeros(9, 4).double())


def test_repr() -> None:
    expected = "FREEDOM(6, 9, embedding_dim=64, graph_weights={'similar': 1.0})"
    assert repr(FREEDOM(6, 9, {'similar': 1.0})) == expected
