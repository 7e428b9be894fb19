"""What DropoutNet, Heater and GAR have in common: networks on top of IALS."""

from typing import Any

import pytest
import torch

from pyg_mmgef.nn import GAR, BPRLoss, DropoutNet, Heater, Recommender
from pyg_mmgef.schema import INTERACTS
from tests.nn.models.content import moved, through
from tests.nn.models.shops import small_shop

OWN: dict[type[Recommender], set[str]] = {
    DropoutNet: {'user_tower', 'item_tower'},
    Heater: {'gate', 'experts', 'user_tower', 'item_tower'},
    GAR: {'user_tower', 'item_tower', 'generator'},
}


@pytest.fixture(params=OWN, ids=lambda model: model.__name__)
def model(request: pytest.FixtureRequest) -> Any:
    return moved(request.param, small_shop())


def test_a_batch_of_one_user_trains(model: Any) -> None:
    one = torch.tensor([0])
    loss = model.train().loss(small_shop(), one, one, one + 2, BPRLoss())
    loss.backward()
    assert loss.isfinite()


def test_preferences_are_computed_once(model: Any) -> None:
    data = small_shop()
    first = model.preferences(data)[0]
    model(data)
    assert model.preferences(data)[0] is first
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, :-1]
    assert not torch.equal(model.preferences(data)[0], first)


def test_only_the_networks_are_trained_and_saved(model: Any) -> None:
    assert {name.split('.')[0] for name in model.state_dict()} == OWN[type(model)]


def test_an_item_with_nothing_is_the_mean(model: Any) -> None:
    data = small_shop()
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, [0, 1, 3, 4, 5, 6]]
    zeros = torch.zeros(1, model.item_tower.lin_in.in_features).double()
    torch.testing.assert_close(
        model.eval()(data)[1][6:7], through(model.item_tower, zeros, training=False)
    )
