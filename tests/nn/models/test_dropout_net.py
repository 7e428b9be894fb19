from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import BPRLoss, DropoutNet
from tests.nn.models.content import (
    ITEMS,
    NEGATIVES,
    USERS,
    WARM,
    bpr,
    check_gradients,
    features_of,
    ials_of,
    inputs_of,
    moved,
    through,
    with_fixed_statistics,
)
from tests.nn.models.shops import COLD, small_shop


def model_of(data: HeteroData, **kwargs: Any) -> DropoutNet:
    return moved(DropoutNet, data, hidden_dim=5, **kwargs)


def expected_embeddings(
    model: DropoutNet, data: HeteroData, masked: bool = False, training: bool = False
) -> tuple[Tensor, Tensor]:
    """The formula for all users and items."""
    p, q = inputs_of(data)
    rows = torch.cat([0 * q if masked else q, features_of(data)], dim=1)
    return through(model.user_tower, p, training), through(model.item_tower, rows, training)


def test_embeddings_and_gradients_equal_the_formula() -> None:
    data = small_shop()
    model = model_of(data).eval()
    out, expected = model(data), expected_embeddings(model, data)
    torch.testing.assert_close(out, expected)
    assert len(list(model.parameters())) == 10
    check_gradients(model, *((z[0] @ z[1].t()).pow(3).sum() for z in (out, expected)))


@pytest.mark.parametrize('target_weight', [0.0, 0.7])
def test_the_loss_and_its_gradients_equal_the_formula(target_weight: float) -> None:
    data = small_shop()
    model = model_of(data, target_weight=target_weight).eval()
    loss = model.loss(data, USERS, ITEMS, NEGATIVES, BPRLoss(0.0))
    z_user, z_item = expected_embeddings(model, data)
    p, q = ials_of(data)
    expected = bpr(z_user, z_item, USERS, ITEMS, NEGATIVES)
    for user, *both in zip(USERS.tolist(), ITEMS.tolist(), NEGATIVES.tolist(), strict=True):
        for item in both:
            error = (z_user[user] * z_item[item]).sum() - (p[user] * q[item]).sum()
            expected = expected + target_weight * error**2 / len(USERS)
    check_gradients(model, loss, expected)


def test_several_negatives_are_averaged() -> None:
    data = small_shop()
    model = model_of(data).eval()
    negatives = torch.tensor([[4, 6], [5, 0], [7, 1], [6, 8]])
    columns = [
        model.loss(data, USERS, ITEMS, negatives[:, column], BPRLoss(0.0)) for column in range(2)
    ]
    loss = model.loss(data, USERS, ITEMS, negatives, BPRLoss(0.0))
    torch.testing.assert_close(loss, torch.stack(columns).mean())


@pytest.mark.parametrize('masked', [False, True])
def test_in_training_rows_are_normalised_by_their_own_statistics(masked: bool) -> None:
    data = small_shop()
    model = model_of(data, item_dropout=float(masked)).train()
    expected = expected_embeddings(model, data, masked, training=True)
    torch.testing.assert_close(model(data), expected)


def test_a_share_is_masked() -> None:
    data = small_shop()
    model = model_of(data, item_dropout=0.25)
    expected = expected_embeddings(model, data)[1], expected_embeddings(model, data, True)[1]
    with_fixed_statistics(model)
    is_masked = []
    for _ in range(400):
        z_item = model(data)[1]
        full, without = (torch.isclose(z_item, z).all(dim=1) for z in expected)
        assert (full | without).all()
        assert (full & without)[COLD].all()  # They have nothing to be masked.
        is_masked.append(without)
    share = torch.stack(is_masked).double().mean(dim=0)[WARM]
    assert share.sub(0.25).abs().max() < 0.1
