from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import IALS, BPRLoss, DropoutNet
from pyg_mmgef.schema import INTERACTS
from tests.nn.models.content import WARM, bpr, features_of, standard_embeddings, through
from tests.nn.models.shops import COLD, interacting, small_shop

USERS, ITEMS, NEGATIVES = torch.tensor([[0, 1, 4], [2, 3, 6], [0, 6, 5], [4, 5, 7]]).t()
OPTIONS = {'embedding_dim': 3, 'hidden_dim': 5, 'l2': 0.02, 'unobserved_weight': 0.3}


def model_of(data: HeteroData, **kwargs: Any) -> DropoutNet:
    """A model in double precision whose means and variances aren't at their start."""
    torch.manual_seed(0)
    model = DropoutNet.from_data(data, **{**OPTIONS, **kwargs}).double()
    for tower in (model.user_tower, model.item_tower):
        for tensor in (tower.norm.running_mean, tower.norm.running_var, tower.norm.weight):
            assert tensor is not None
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return model


def ials_of(data: HeteroData) -> tuple[Tensor, Tensor]:
    model = IALS.from_data(data, embedding_dim=3, l2=0.02, unobserved_weight=0.3).double()
    return model.embed(data, None, None)


def expected_embeddings(
    model: DropoutNet, data: HeteroData, masked: bool = False, training: bool = False
) -> tuple[Tensor, Tensor]:
    """The formula for all users and items."""
    p, q = (standard_embeddings(z) for z in ials_of(data))
    rows = torch.cat([0 * q if masked else q, features_of(data)], dim=1)
    return through(model.user_tower, p, training), through(model.item_tower, rows, training)


def test_embeddings_and_gradients_equal_the_formula() -> None:
    data = small_shop()
    model = model_of(data).eval()
    out, expected = model(data), expected_embeddings(model, data)
    torch.testing.assert_close(out, expected)
    parameters = list(model.parameters())
    assert len(parameters) == 10
    grads, exact = (
        torch.autograd.grad((z_user @ z_item.t()).pow(3).sum(), parameters)
        for z_user, z_item in (out, expected)
    )
    torch.testing.assert_close(grads, exact)


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
    torch.testing.assert_close(loss, expected)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters)
    )


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
    model = model_of(data, dropout=float(masked)).train()
    expected = expected_embeddings(model, data, masked, training=True)
    torch.testing.assert_close(model(data), expected)


def test_a_share_is_masked() -> None:
    data = small_shop()
    model = model_of(data, dropout=0.25)
    expected = expected_embeddings(model, data)[1], expected_embeddings(model, data, True)[1]
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eval()
    is_masked = []
    for _ in range(400):
        z_item = model(data)[1]
        full, without = (torch.isclose(z_item, z).all(dim=1) for z in expected)
        assert (full | without).all()
        assert (full & without)[COLD].all()  # They have nothing to be masked.
        is_masked.append(without)
    share = torch.stack(is_masked).double().mean(dim=0)[WARM]
    assert share.sub(0.25).abs().max() < 0.1


def test_a_batch_of_one_user_trains() -> None:
    data = small_shop()
    one = torch.tensor([0])
    loss = model_of(data).train().loss(data, one, one, one + 2, BPRLoss())
    loss.backward()
    assert loss.isfinite()


def test_preferences_are_computed_once() -> None:
    data = small_shop()
    model = model_of(data)
    first = model.preferences(data)[0]
    model(data)
    assert model.preferences(data)[0] is first
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, :-1]
    assert not torch.equal(model.preferences(data)[0], first)


def test_only_the_networks_are_trained_and_saved() -> None:
    model = model_of(small_shop())
    assert {name.split('.')[0] for name in model.state_dict()} == {'user_tower', 'item_tower'}


def test_repr() -> None:
    model = DropoutNet(3, 4, {'image': 5}, embedding_dim=8)
    assert repr(model) == (
        "DropoutNet(3, 4, {'image': 5}, embedding_dim=8, dropout=0.5, target_weight=1.0)"
    )


def test_wrong_arguments() -> None:
    for name in ('embedding_dim', 'hidden_dim', 'l2', 'unobserved_weight'):
        with pytest.raises(ValueError, match=f"'{name}' must be"):
            DropoutNet(3, 4, {'image': 5}, **{name: 0})
    with pytest.raises(ValueError, match="'dropout' must lie in"):
        DropoutNet(3, 4, {'image': 5}, dropout=-0.1)
    with pytest.raises(ValueError, match="'target_weight' must be"):
        DropoutNet(3, 4, {'image': 5}, target_weight=-1.0)
    with pytest.raises(ValueError, match='no item features, which DropoutNet needs'):
        DropoutNet.from_data(interacting(torch.tensor([[0], [0]]), 2, 3))
