import pytest
import torch

from pyg_mmgef.nn import Popularity
from pyg_mmgef.ranking import recommend
from pyg_mmgef.schema import INTERACTS
from tests.nn.models.shops import interacting, small_shop

COUNTS = [2, 2, 2, 1, 1, 2, 1, 0, 0]
"""The users of each item of the small shop, counted by hand."""


def test_counts_users() -> None:
    data = small_shop()
    z_user, z_item = Popularity.from_data(data).double()(data)
    assert z_user.tolist() == [[1.0]] * 6
    assert z_item.view(-1).tolist() == COUNTS
    assert z_user.dtype == z_item.dtype == torch.double


@pytest.mark.parametrize('dtype', [torch.int64, torch.int32])
def test_a_repeated_interaction_counts_once(dtype: torch.dtype) -> None:
    data = small_shop()
    edge_index = data[INTERACTS].edge_index
    data[INTERACTS].edge_index = torch.cat([edge_index, edge_index[:, 3:7]], dim=1).to(dtype)
    assert Popularity.from_data(data)(data)[1].view(-1).tolist() == COUNTS


def test_some_rows_have_the_shape_of_the_ids() -> None:
    data = small_shop()
    z_user, z_item = Popularity.from_data(data)(data, torch.tensor([[4]]), torch.tensor([8, 5, 5]))
    assert z_user.tolist() == [[[1.0]]]
    assert z_item.tolist() == [[0.0], [2.0], [2.0]]


def test_recommends_the_most_popular_that_is_unseen() -> None:
    data = small_shop()
    seen = data[INTERACTS].edge_index
    scores, items = recommend(*Popularity.from_data(data)(data), k=4, exclude=seen)
    assert items[0].tolist() == [2, 5, 3, 4]  # Who has taken 0, 1 and 6.
    assert items[5].tolist() == [0, 1, 2, 5]  # Who has taken nothing.
    assert scores[0].tolist() == [2, 2, 1, 1]


def test_counts_once_for_the_same_interactions_and_notices_others() -> None:
    data = small_shop()
    model = Popularity.from_data(data)
    model(data)
    kept = model._cache._entry
    model(data)
    assert model._cache._entry is kept
    data[INTERACTS].edge_index = torch.tensor([[0, 1], [7, 7]])
    assert model(data)[1].view(-1).tolist() == [0, 0, 0, 0, 0, 0, 0, 2, 0]
    model.reset_parameters()
    assert model._cache._entry is None


def test_no_interactions() -> None:
    data = interacting(torch.empty(2, 0, dtype=torch.long), 2, 3)
    assert Popularity.from_data(data)(data)[1].tolist() == [[0.0]] * 3


def test_wrong_numbers() -> None:
    with pytest.raises(ValueError, match="'num_users' must be a positive integer"):
        Popularity(0, 4)
    data = interacting(torch.tensor([[0], [3]]), 2, 3)
    with pytest.raises(ValueError, match='holds the item id 3'):
        Popularity(2, 3)(data)
