import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.runs._extended import IN_TRAIN, with_old_train
from pyg_mmgef.runs.splits import split_data
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.settings import Settings
from pyg_mmgef.transforms import SplitInteractions
from tests.transforms.shops import pairs_of, random_shop

LATE = 59
BOTH = Settings(modalities=('image', 'text'), split='global_time')


def with_old(data: HeteroData, is_old: Tensor) -> HeteroData:
    """The data, some interactions of which an earlier model was trained on."""
    data[INTERACTS][IN_TRAIN] = is_old
    return data


def late_users() -> HeteroData:
    """The last user comes after all others."""
    data = random_shop(num_users=60)
    store = data[INTERACTS]
    store.time = torch.arange(store.edge_index.size(1)) + 1000 * (store.edge_index[0] == LATE)
    return data


def test_users_who_came_later_stay_apart_from_what_is_measured() -> None:
    data = late_users()
    before = SplitInteractions(strategy='global_time')(data)
    is_new = data[INTERACTS].edge_index[0] == LATE
    held_out = before[2][INTERACTS].edge_label_index
    assert set(before[2][INTERACTS].new_user_index[0].tolist()) == {LATE}
    first = held_out[:, 0]
    old = (data[INTERACTS].edge_index == first[:, None]).all(dim=0)
    after = with_old_train(with_old(data, old), before)
    for part, was in zip(after[1:], before[1:], strict=True):
        assert pairs_of(part[INTERACTS].new_user_index) == pairs_of(was[INTERACTS].new_user_index)
    assert tuple(first.tolist()) in pairs_of(after[0][INTERACTS].edge_index)
    assert tuple(first.tolist()) not in pairs_of(after[2][INTERACTS].edge_label_index)

    one = is_new & (is_new.cumsum(0) == 1)  # The model knows the last user by one interaction.
    known = with_old_train(with_old(data, old | one), before)
    assert known[2][INTERACTS].new_user_index.numel() == 0
    assert known[2][INTERACTS].edge_label_index[0].eq(LATE).sum() == is_new.sum() - 1
    sizes = [
        part[INTERACTS][key].size(1)
        for part in known[1:]
        for key in ('edge_label_index', 'new_user_index')
    ]
    assert sum(sizes) + known[0][INTERACTS].edge_index.size(1) == is_new.numel()


def test_nothing_is_left_to_hold_out() -> None:
    data = random_shop()
    everything = torch.ones(data[INTERACTS].edge_index.size(1), dtype=torch.bool)
    with pytest.raises(ValueError, match='validation and test would be empty, as the model was tr'):
        split_data(BOTH, with_old(data, everything))
    test = SplitInteractions(strategy='global_time')(data)[2][INTERACTS].edge_label_index
    in_test = (data[INTERACTS].edge_index[:, :, None] == test[:, None]).all(dim=0).any(dim=1)
    with pytest.raises(ValueError, match=r'^test would be empty, as the model was trained'):
        split_data(BOTH, with_old(data, in_test))
