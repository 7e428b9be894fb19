from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import BM3, BPRLoss
from pyg_mmgef.schema import ITEM
from tests.nn.models.layers import layer_of
from tests.nn.models.multimodal import (
    LACKS,
    affine,
    built,
    check_embeddings,
    check_loss,
    close,
    of_light_gcn,
    warm,
    without_interactions,
)
from tests.nn.models.shops import COLD, small_shop

USERS, ITEMS = torch.tensor([0, 4, 3, 0, 2]), torch.tensor([6, 5, 4, 1, 3])
NONE = torch.empty(5, 0, dtype=torch.long)


class Unused(Module):
    def forward(self, *args: Any) -> Tensor:
        raise AssertionError('BM3 has a loss of its own')


def model_of(data: HeteroData, **kwargs: Any) -> BM3:
    return built(BM3, data, **kwargs)


def loss_of(model: BM3, data: HeteroData) -> Tensor:
    return model.loss(data, USERS, ITEMS, NONE, Unused())


def expected_backbone(model: BM3, data: HeteroData) -> tuple[Tensor, Tensor]:
    """h_u of LightGCN; h_i of LightGCN plus the id embedding, zero for cold items."""
    h_user, z_item = of_light_gcn(model.light_gcn, data)
    return h_user, warm(data) * (z_item + model.light_gcn.item_embedding.weight)


def predicted(model: BM3, h: Tensor) -> Tensor:
    return affine(model.predictor, h)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    dots = [x @ y / (x.norm() * y.norm()).clamp(min=1e-8) for x, y in zip(a, b, strict=True)]
    return torch.stack(dots)


def expected_loss(
    model: BM3,
    data: HeteroData,
    perturbed: Callable[[Tensor], Tensor] = lambda h: h,
    *,
    alignment_weight: float = 2.0,
    norm_weight: float = 0.1,
) -> Tensor:
    h_user, h_item = expected_backbone(model, data)
    norms = [sum(x * x for x in h.flatten()).sqrt() for h in (h_user, h_item)]
    h_user, h_item = h_user[USERS], h_item[ITEMS]
    target_user, target_item = perturbed(h_user).detach(), perturbed(h_item).detach()
    loss = 2 - cosine(predicted(model, h_user), target_item).mean()
    loss = loss - cosine(predicted(model, h_item), target_user).mean()
    loss = loss + norm_weight * sum(norms) / model.num_items
    for name, lacks in LACKS.items():
        h = affine(layer_of(model.lin, name), data[ITEM][f'x_{name}'][ITEMS])
        target = perturbed(h).detach()
        has = [row for row, item in enumerate(ITEMS.tolist()) if item not in lacks]
        z = predicted(model, h)
        between, within = cosine(z, target_item)[has].mean(), cosine(z, target)[has].mean()
        loss = loss + alignment_weight * (2 - between - within)
    return loss


@pytest.mark.parametrize('num_layers', [0, 1, 2])
def test_equals_the_dense_reference(num_layers: int) -> None:
    data = small_shop()
    model = model_of(data, num_layers=num_layers)
    z_user, z_item = (predicted(model, h) for h in expected_backbone(model, data))
    parameters = [*model.light_gcn.parameters(), *model.predictor.parameters()]
    check_embeddings(model, data, (z_user, z_item), parameters)


@pytest.mark.parametrize('kwargs', [{}, {'norm_weight': 0.3}, {'alignment_weight': 0.5}])
def test_the_loss_equals_the_dense_reference(kwargs: dict[str, Any]) -> None:
    data = small_shop()
    model = model_of(data, **kwargs).eval()
    loss, expected = loss_of(model, data), expected_loss(model, data, **kwargs)
    check_loss(model, loss, expected)


def test_targets_are_perturbed_in_training() -> None:
    data = small_shop()
    model = model_of(data, dropout=0.4).train()
    torch.manual_seed(1)
    loss = loss_of(model, data)
    torch.manual_seed(1)  # Users, items and then the modalities are drawn.
    expected = expected_loss(model, data, lambda h: F.dropout(h, 0.4))
    check_loss(model, loss, expected)
    assert not torch.allclose(loss_of(model, data), loss)
    model.dropout = 0.0
    close(loss_of(model, data), expected_loss(model, data))


def test_neither_negatives_nor_the_loss_function_are_read() -> None:
    data = small_shop()
    model = model_of(data).eval()
    negatives = torch.tensor([[1, 2]])
    assert torch.equal(model.loss(data, USERS, ITEMS, negatives, BPRLoss()), loss_of(model, data))


def test_a_repeated_interaction_counts_twice() -> None:
    data = small_shop()
    model = model_of(data).eval()
    once = [model.loss(data, u[None], i[None], NONE, Unused()) for u, i in ((USERS[2], ITEMS[2]),)]
    other = model.loss(data, USERS[4:], ITEMS[4:], NONE, Unused())
    rows = torch.tensor([2, 4, 2])
    loss = model.loss(data, USERS[rows], ITEMS[rows], NONE, Unused())
    close(loss, (2 * once[0] + other) / 3)


def test_what_is_missing_is_not_read_in_the_loss() -> None:
    data = small_shop()
    model = model_of(data).eval()
    before = loss_of(model, data)
    data[ITEM].x_image[5] = 100.0
    assert torch.equal(loss_of(model, data), before)
    data[ITEM].x_image[4] = 100.0
    assert not torch.allclose(loss_of(model, data), before)


def test_an_item_without_any_modality_has_the_reconstruction_alone() -> None:
    data = small_shop()
    model = model_of(data).eval()
    user, item = torch.tensor([0]), torch.tensor([6])
    loss = model.loss(data, user, item, NONE, Unused())
    model.alignment_weight = 0.0
    assert torch.equal(model.loss(data, user, item, NONE, Unused()), loss)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_cold_items_score_alike() -> None:
    data = small_shop()
    model = model_of(data)
    z_user, z_item = model(data)
    assert torch.equal(z_item[COLD], model.predictor.bias.expand(2, -1))
    model.light_gcn.item_embedding.weight.data[COLD] += 10.0
    torch.testing.assert_close(model(data), (z_user, z_item))
    assert torch.equal(model(without_interactions())[1], model.predictor.bias.expand(9, -1))
