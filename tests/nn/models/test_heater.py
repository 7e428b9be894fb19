from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import BPRLoss, Heater
from tests.nn.models.content import (
    ITEMS,
    NEGATIVES,
    USERS,
    WARM,
    bpr,
    check_gradients,
    features_of,
    has_features,
    inputs_of,
    moved,
    through,
    with_fixed_statistics,
)
from tests.nn.models.shops import COLD, NUM_ITEMS, small_shop


def model_of(data: HeteroData, **kwargs: Any) -> Heater:
    return moved(Heater, data, num_experts=2, **kwargs)


def made_of(model: Heater, data: HeteroData) -> Tensor:
    """t, one item and one expert at a time."""
    dim, rows = model.embedding_dim, []
    for item, x in enumerate(features_of(data)):
        row = torch.zeros(dim).double()
        for k in range(model.num_experts):
            part = slice(k * dim, (k + 1) * dim)
            expert = torch.tanh(model.experts.weight[part] @ x + model.experts.bias[part])
            row = row + torch.tanh(model.gate.weight[k] @ x + model.gate.bias[k]) * expert
        rows.append(row if has_features(data, item) else 0 * row)
    return torch.stack(rows)


def expected_embeddings(
    model: Heater, data: HeteroData, masked: list[int], training: bool = False
) -> tuple[Tensor, Tensor]:
    (p, q), t = inputs_of(data), made_of(model, data)
    rows = torch.stack([t[i] if i in masked else q[i] for i in range(NUM_ITEMS)])
    return through(model.user_tower, p, training), through(model.item_tower, rows, training)


def test_embeddings_and_gradients_equal_the_formula() -> None:
    data = small_shop()
    model = model_of(data).eval()
    out, expected = model(data), expected_embeddings(model, data, COLD)
    torch.testing.assert_close(out, expected)
    assert len(list(model.parameters())) == 14
    check_gradients(model, *((z[0] @ z[1].t()).pow(3).sum() for z in (out, expected)))


@pytest.mark.parametrize('map_weight', [0.0, 0.7])
def test_the_loss_and_its_gradients_equal_the_formula(map_weight: float) -> None:
    data = small_shop()
    model = model_of(data, map_weight=map_weight).eval()
    loss = model.loss(data, USERS, ITEMS, NEGATIVES, BPRLoss(0.0))
    z_user, z_item = expected_embeddings(model, data, COLD)
    expected = bpr(z_user, z_item, USERS, ITEMS, NEGATIVES)
    (_, q), t = inputs_of(data), made_of(model, data)
    counted = [1, 3, 4, 5]  # In the batch, but 6, without features, and 7, cold.
    for i in counted:
        expected = expected + map_weight * ((t[i] - q[i]) ** 2).sum() / len(counted)
    check_gradients(model, loss, expected)


@pytest.mark.parametrize('share', [0.0, 1.0])
def test_in_training_rows_are_normalised_by_their_own_statistics(share: float) -> None:
    data = small_shop()
    model = model_of(data, item_dropout=share).train()
    masked = [i for i in range(NUM_ITEMS) if i != 6] if share else COLD
    expected = expected_embeddings(model, data, masked, training=True)
    torch.testing.assert_close(model(data), expected)


def test_experts_stand_in_for_a_share() -> None:
    data = small_shop()
    model = model_of(data, item_dropout=0.25)
    given = expected_embeddings(model, data, COLD)[1]
    made = expected_embeddings(model, data, [*WARM, *COLD])[1]
    with_fixed_statistics(model)
    is_made = []
    for _ in range(400):
        z_item = model(data)[1]
        is_given, stands_in = (torch.isclose(z_item, z).all(dim=1) for z in (given, made))
        assert (is_given | stands_in).all()
        is_made.append(stands_in)
    share = torch.stack(is_made).double().mean(dim=0)
    assert share[COLD].eq(1).all()
    assert share[6] == 0  # It has no features.
    assert share[:6].sub(0.25).abs().max() < 0.1


def test_experts_learn_the_embeddings() -> None:
    data = small_shop()
    model = model_of(data, map_weight=10.0).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(600):
        optimizer.zero_grad()
        model.loss(data, USERS, ITEMS, NEGATIVES, BPRLoss()).backward()
        optimizer.step()
    counted = [1, 3, 4, 5]
    error = (made_of(model, data) - inputs_of(data)[1])[counted].square().mean()
    assert error < 0.1
