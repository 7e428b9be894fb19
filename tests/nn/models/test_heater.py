from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import IALS, BPRLoss, Heater
from pyg_mmgef.schema import INTERACTS
from tests.nn.models.content import (
    WARM,
    bpr,
    features_of,
    has_features,
    standard_embeddings,
    through,
)
from tests.nn.models.shops import COLD, NUM_ITEMS, interacting, small_shop

USERS, ITEMS, NEGATIVES = torch.tensor([[0, 1, 4], [2, 3, 6], [0, 6, 5], [4, 5, 7]]).t()
OPTIONS = {'embedding_dim': 3, 'num_experts': 2, 'l2': 0.02, 'unobserved_weight': 0.3}


def model_of(data: HeteroData, **kwargs: Any) -> Heater:
    """A model in double precision whose means and variances aren't at their start."""
    torch.manual_seed(0)
    model = Heater.from_data(data, **{**OPTIONS, **kwargs}).double()
    for tower in (model.user_tower, model.item_tower):
        for tensor in (tower.norm.running_mean, tower.norm.running_var, tower.norm.weight):
            assert tensor is not None
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return model


def inputs_of(data: HeteroData) -> tuple[Tensor, Tensor]:
    """p and q."""
    model = IALS.from_data(data, embedding_dim=3, l2=0.02, unobserved_weight=0.3).double()
    z_user, z_item = model.embed(data, None, None)
    return standard_embeddings(z_user), standard_embeddings(z_item)


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
    parameters = list(model.parameters())
    assert len(parameters) == 14
    grads, exact = (
        torch.autograd.grad((z_user @ z_item.t()).pow(3).sum(), parameters)
        for z_user, z_item in (out, expected)
    )
    torch.testing.assert_close(grads, exact)


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
    torch.testing.assert_close(loss, expected)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(expected, parameters, allow_unused=True, materialize_grads=True),
    )


@pytest.mark.parametrize('share', [0.0, 1.0])
def test_in_training_rows_are_normalised_by_their_own_statistics(share: float) -> None:
    data = small_shop()
    model = model_of(data, dropout=share).train()
    masked = [i for i in range(NUM_ITEMS) if i != 6] if share else COLD
    expected = expected_embeddings(model, data, masked, training=True)
    torch.testing.assert_close(model(data), expected)


def test_experts_stand_in_for_a_share() -> None:
    data = small_shop()
    model = model_of(data, dropout=0.25)
    given = expected_embeddings(model, data, COLD)[1]
    made = expected_embeddings(model, data, [*WARM, *COLD])[1]
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eval()
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


def test_a_batch_of_one_user_trains() -> None:
    data = small_shop()
    one = torch.tensor([0])
    loss = model_of(data).train().loss(data, one, one, one + 2, BPRLoss())
    loss.backward()
    assert loss.isfinite()


def test_an_item_with_nothing_is_the_mean() -> None:
    data = small_shop()
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, [0, 1, 3, 4, 5, 6]]
    model = model_of(data).eval()
    zeros = torch.zeros(1, 3).double()
    torch.testing.assert_close(model(data)[1][6:7], through(model.item_tower, zeros, False))


def test_repr() -> None:
    model = Heater(3, 4, {'image': 5}, embedding_dim=8)
    assert repr(model) == "Heater(3, 4, {'image': 5}, embedding_dim=8, num_experts=5, dropout=0.5)"


def test_wrong_arguments() -> None:
    for name in ('embedding_dim', 'num_experts', 'l2', 'unobserved_weight'):
        with pytest.raises(ValueError, match=f"'{name}' must be"):
            Heater(3, 4, {'image': 5}, **{name: 0})
    with pytest.raises(ValueError, match="'dropout' must lie in"):
        Heater(3, 4, {'image': 5}, dropout=1.1)
    with pytest.raises(ValueError, match="'map_weight' must be"):
        Heater(3, 4, {'image': 5}, map_weight=-1.0)
    with pytest.raises(ValueError, match='no item features, which Heater needs'):
        Heater.from_data(interacting(torch.tensor([[0], [0]]), 2, 3))
