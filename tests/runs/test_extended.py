from typing import Any

import pyarrow
import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef import fit
from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.runs._extended import IN_TRAIN, extended, with_old_train
from pyg_mmgef.runs.run_data import RunData, as_source
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


def clicks(users: list[Any], items: list[Any]) -> InteractionTables:
    return InteractionTables(pyarrow.table({'user_id': users, 'item_id': items}))


OF_TEXT = ['17', 'u5', '3'], ['8', 'i4', 'i2']
OF_INTEGERS = [17, 5, 3], [8, 4, 2]


def joined(old: tuple[Any, Any], new: tuple[Any, Any]) -> RunData:
    return extended(
        RunData.from_tables(clicks(*old)), clicks(*new), torch.empty(2, 0, dtype=torch.long)
    )


@pytest.mark.parametrize(
    ('old', 'new', 'users', 'items'),
    [
        (OF_TEXT, ([17, 9], [8, 8]), ['17', '3', 'u5', '9'], ['8', 'i2', 'i4']),
        (OF_INTEGERS, (['17', 'u9'], ['8', 'i9']), ['3', '5', '17', 'u9'], ['2', '4', '8', 'i9']),
        (OF_INTEGERS, ([17, 9], ['8', 'i9']), [3, 5, 17, 9], ['2', '4', '8', 'i9']),
    ],
)
def test_an_integer_is_the_id_that_text_writes(
    old: tuple[Any, Any], new: tuple[Any, Any], users: list[Any], items: list[Any]
) -> None:
    found = joined(old, new)
    assert list(found.user_ids) == users
    assert list(found.item_ids) == items
    pairs = found.data()[INTERACTS].edge_index
    ids = {(str(found.user_ids[u]), str(found.item_ids[i])) for u, i in pairs.t().tolist()}
    given = [*zip(*old, strict=True), *zip(*new, strict=True)]
    assert ids == {(str(user), str(item)) for user, item in given}


def test_text_of_integers_stays_integers() -> None:
    graph = random_shop(num_users=4, num_items=5)
    other = random_shop(num_users=2, num_items=2)
    other['user'].id, other['item'].id = ['3', '7'], ['4', '0']
    found = extended(as_source(graph), other, torch.empty(2, 0, dtype=torch.long))
    assert list(found.user_ids) == [0, 1, 2, 3, 7]
    assert list(found.item_ids) == [0, 1, 2, 3, 4]


def test_numbers_written_in_two_ways_are_refused() -> None:
    for old, new in ((['017', 'u5'], [17, 2]), ([17, 2], ['017', 'u5']), ([1, 2], ['2.00', 'u'])):
        with pytest.raises(ValueError, match='may be the same user; write the ids alike'):
            joined((old, [1, 2]), (new, [1, 2]))


def test_an_item_that_is_known_by_text() -> None:
    run = fit(random_shop(), embedding_dim=4, budget=0)
    features = {name: torch.ones(1, 6) for name in ('image', 'text')}
    with pytest.raises(ValueError, match="holds '7', which the dataset has already"):
        run.add_items(['7'], features=features)
    assert list(run.add_items(['30'], features=features).item_ids) == list(range(31))
    grown = run.add_items(['new'], features=features)
    assert grown.similar(7)['item'] == grown.similar('7')['item']
    assert 'new' in grown.similar(7, k=30)['item']


def test_nothing_is_left_to_hold_out() -> None:
    data = random_shop()
    everything = torch.ones(data[INTERACTS].edge_index.size(1), dtype=torch.bool)
    with pytest.raises(ValueError, match='validation and test would be empty, as the model was tr'):
        split_data(BOTH, with_old(data, everything))
    test = SplitInteractions(strategy='global_time')(data)[2][INTERACTS].edge_label_index
    in_test = (data[INTERACTS].edge_index[:, :, None] == test[:, None]).all(dim=0).any(dim=1)
    with pytest.raises(ValueError, match=r'^test would be empty, as the model was trained'):
        split_data(BOTH, with_old(data, in_test))
