from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import BPRLoss, LGMRec
from pyg_mmgef.schema import INTERACTS, ITEM
from tests.nn.models.layers import layer_of
from tests.nn.models.multimodal import (
    ITEMS,
    LACKS,
    NEGATIVES,
    USERS,
    affine,
    built,
    check_embeddings,
    check_loss,
    close,
    expected_contrast,
    has_modality,
    of_light_gcn,
    warm,
)
from tests.nn.models.shops import COLD, interaction_matrix, small_shop
from tests.references import bipartite_normalized

Expected = tuple[Tensor, Tensor, list[Tensor], list[Tensor]]


def model_of(data: HeteroData, **kwargs: Any) -> LGMRec:
    return built(LGMRec, data, **{'num_hyperedges': 3, **kwargs})


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)  # A norm of 0 has the gradient 0.


def assigned(model: LGMRec, a: Tensor) -> Tensor:
    """A softmax written out, of logits with Gumbel noise in training."""
    if model.training:
        a = a - torch.empty_like(a).exponential_().log()
    exp = (a / model.temperature).exp()
    return exp / exp.sum(dim=1, keepdim=True)


def expected_of(model: LGMRec, data: HeteroData) -> Expected:
    """z of users and items, then q of users and of items for each modality."""
    counts = interaction_matrix(data)
    walk, dropout = bipartite_normalized(counts), model.dropout
    z_user, z_item = of_light_gcn(model.light_gcn, data)
    c_item = warm(data) * z_item
    z_item, q_users, q_items = c_item, [], []
    for name in LACKS:
        has = has_modality(name)
        x = has * data[ITEM][f'x_{name}']
        h_item = affine(layer_of(model.lin, name), x)
        h_user = torch.stack([row @ h_item / row.sum().clamp(min=1) for row in counts])
        for _ in range(model.num_modality_layers):
            h_user, h_item = walk @ h_item, walk.t() @ h_user
        z_user, z_item = z_user + unit(h_user), z_item + unit(h_item)
        a_item = affine(layer_of(model.assign, name), x)
        b_user, b_item = assigned(model, counts @ a_item), has * assigned(model, a_item)
        b_user = F.dropout(b_user, dropout, model.training)
        b_item = F.dropout(b_item, dropout, model.training)
        q_item = c_item
        for _ in range(model.num_hyper_layers):
            hyperedges = sum(torch.outer(b_item[i], q_item[i]) for i in range(9))
            q_user, q_item = b_user @ hyperedges, b_item @ hyperedges
        q_users.append(q_user)
        q_items.append(q_item)
    z_user = z_user + model.global_weight * unit(q_users[0] + q_users[1])
    z_item = z_item + model.global_weight * unit(q_items[0] + q_items[1])
    return z_user, z_item, q_users, q_items


@pytest.mark.parametrize('num_layers', [0, 2])
@pytest.mark.parametrize('num_modality_layers', [0, 1, 2])
@pytest.mark.parametrize('num_hyper_layers', [1, 2])
def test_equals_the_dense_reference(
    num_layers: int, num_modality_layers: int, num_hyper_layers: int
) -> None:
    data = small_shop()
    model = model_of(
        data,
        num_layers=num_layers,
        num_modality_layers=num_modality_layers,
        num_hyper_layers=num_hyper_layers,
    ).eval()
    check_embeddings(model, data, expected_of(model, data)[:2])


@pytest.mark.parametrize('negatives', NEGATIVES.values(), ids=list(NEGATIVES))
@pytest.mark.parametrize('training', [True, False])
def test_the_loss_adds_a_contrast_of_modalities(negatives: Tensor, training: bool) -> None:
    data = small_shop()
    model = model_of(data, contrast_weight=0.3, temperature=0.5).train(training)
    torch.manual_seed(3)
    loss = model.loss(data, USERS, ITEMS, negatives, BPRLoss(0.01))
    torch.manual_seed(3)
    z_user, z_item, q_users, q_items = expected_of(model, data)
    expected = BPRLoss(0.01)(z_user[USERS], z_item[ITEMS], z_item[negatives])
    for q, ids in ((q_users, USERS), (q_items, ITEMS)):
        expected = expected + 0.3 * expected_contrast(q[0], q[1], 0.5, ids.tolist())
    check_loss(model, loss, expected)


def test_three_modalities_have_three_pairs() -> None:
    data = small_shop()
    data[ITEM].x_audio = data[ITEM].x_text.flip(0)
    model = model_of(data, contrast_weight=0.3).eval()
    batch = USERS, ITEMS, NEGATIVES['one']
    added = model.loss(data, *batch, BPRLoss()) - BPRLoss()(*model.triplets(data, *batch))
    q = model.embed(data, None, None)[2:]
    expected = [
        expected_contrast(each[a], each[b], 0.2, ids.tolist())
        for each, ids in zip(q, (USERS, ITEMS), strict=True)
        for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    close(added, 0.3 * torch.stack(expected).sum())


def test_a_single_modality_has_nothing_to_contrast() -> None:
    data = small_shop()
    model = model_of(data, in_channels={'text': 4}).eval()
    batch = USERS, ITEMS, NEGATIVES['several']
    close(model.loss(data, *batch, BPRLoss()), BPRLoss()(*model.triplets(data, *batch)))


def test_noise_is_of_training_alone() -> None:
    data = small_shop()
    model = model_of(data, dropout=0.0).train()
    assert not torch.equal(model(data)[0], model(data)[0])
    assert torch.equal(model.eval()(data)[0], model(data)[0])


def test_a_cold_item_has_what_hyperedges_send() -> None:
    data = small_shop()
    model = model_of(data).eval()
    before = model(data)
    model.light_gcn.item_embedding.weight.data[COLD] += 10.0
    torch.testing.assert_close(model(data), before)
    close(before[1][COLD].norm(dim=1), torch.full((2,), model.global_weight).double())
    model.global_weight = 0.0
    assert torch.equal(model(data)[1][COLD], torch.zeros(2, 4).double())


def test_repeated_interactions_count_as_often() -> None:
    data = small_shop()
    edge_index = data[INTERACTS].edge_index
    data[INTERACTS].edge_index = torch.cat([edge_index, edge_index[:, :3]], dim=1)
    model = model_of(data).eval()
    close(model(data), expected_of(model, data)[:2])


def test_the_graph_is_built_once() -> None:
    data = small_shop()
    model = model_of(data)
    graph = model._histories(data)
    model(data)
    assert model._histories(data) is graph
    model.reset_parameters()
    assert model._histories(data) is not graph
