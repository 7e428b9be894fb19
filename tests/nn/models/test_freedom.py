from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import FREEDOM, BPRLoss, LightGCN
from pyg_mmgef.schema import ITEM
from tests.nn.models.layers import layer_of
from tests.nn.models.multimodal import (
    LACKS,
    NEGATIVES,
    affine,
    built,
    check_embeddings,
    check_loss,
    close,
    item_matrix,
    of_light_gcn,
    shop,
    warm,
    without_interactions,
)
from tests.nn.models.shops import interacting, small_shop

WEIGHTS = {'similar_image': 0.1, 'similar_text': 0.9}
BATCH = torch.tensor([0, 4, 3, 2]), torch.tensor([6, 5, 4, 3])


def model_of(data: HeteroData, **kwargs: Any) -> FREEDOM:
    return built(FREEDOM, data, **{'item_graphs': WEIGHTS, **kwargs})


def expected_of(model: FREEDOM, data: HeteroData) -> tuple[Tensor, Tensor]:
    """z_u of LightGCN; z_i = [warm] z_i of LightGCN + (sum_m a_m A_m)^L' [warm] e_i."""
    z_user, z_item = of_light_gcn(model.light_gcn, data)
    h = warm(data) * model.light_gcn.item_embedding.weight
    mixed = torch.zeros(9, 9).double()
    for relation, alpha in model.item_graphs.items():
        mixed += alpha * item_matrix(data, relation)
    for _ in range(model.num_item_layers):
        h = mixed @ h
    return z_user, warm(data) * z_item + h


def expected_feature_loss(
    model: FREEDOM, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor
) -> Tensor:
    """For each modality, the mean of -log sigma over the triplets whose items have it."""
    assert model.lin is not None
    z_user, _ = expected_of(model, data)
    total = torch.zeros(()).double()
    for name, lacks in LACKS.items():
        p = affine(layer_of(model.lin, name), data[ITEM][f'x_{name}'])
        triplets = [
            (u, i, n)
            for row, (u, i) in enumerate(zip(users.tolist(), items.tolist(), strict=True))
            for n in negatives[row if negatives.size(0) > 1 else 0].view(-1).tolist()
            if i not in lacks and n not in lacks
        ]
        terms = [-torch.log(torch.sigmoid(z_user[u] @ (p[i] - p[n]))) for u, i, n in triplets]
        total = total + torch.stack(terms).mean()
    return total


@pytest.mark.parametrize('num_layers', [0, 2])
@pytest.mark.parametrize('num_item_layers', [1, 2])
def test_equals_the_dense_reference(num_layers: int, num_item_layers: int) -> None:
    data = shop()
    model = model_of(data, num_layers=num_layers, num_item_layers=num_item_layers).eval()
    check_embeddings(model, data, expected_of(model, data), model.light_gcn.parameters())


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
def test_the_loss_adds_bpr_on_the_features(negatives: Tensor) -> None:
    data = shop()
    model = model_of(data, edge_dropout=0.0, feature_loss_weight=0.3).train()
    users, items = BATCH
    loss = model.loss(data, users, items, negatives, BPRLoss(0.01))
    z_user, z_item = expected_of(model, data)
    expected = BPRLoss(0.01)(z_user[users], z_item[items], z_item[negatives])
    expected = expected + 0.3 * expected_feature_loss(model, data, users, items, negatives)
    check_loss(model, loss, expected)


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


def test_prunes_as_light_gcn_does_and_in_training_alone() -> None:
    data = shop()
    model = model_of(data, edge_dropout=0.6, seed=5)
    light_gcn = LightGCN(6, 9, embedding_dim=4, edge_dropout=0.6, seed=5).double()
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
    assert FREEDOM.from_data(data).item_graphs == {'similar_image': 0.5, 'similar_text': 0.5}
    assert FREEDOM.from_data(small_shop()).item_graphs == {'similar': 1.0}
    with pytest.raises(ValueError, match=r"no item graph 'similar' or 'similar_<modality>'"):
        FREEDOM.from_data(small_shop(('co_interacts',)))
    named = FREEDOM.from_data(small_shop(), item_graphs={'co_interacts': 2.0})
    assert named.item_graphs == {'co_interacts': 2.0}


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


def test_no_interactions() -> None:
    data = without_interactions()
    model = model_of(data).train()
    model.start_epoch(data, 0)
    assert torch.equal(model(data)[1], torch.zeros(9, 4).double())
