from collections.abc import Callable
from itertools import chain, pairwise
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_mmgef.transforms import AddCoInteractionGraph, SplitInteractions, rolling_folds
from tests.transforms.shops import INTERACTS, assert_unchanged, pairs_of, random_shop, snapshot

Pairs = list[tuple[int, int]]


def shop_of(rows: list[tuple[int, int, int]]) -> HeteroData:
    """A shop whose interactions are ``(user, item, time)``."""
    user, item, time = torch.tensor(rows).t()
    data = HeteroData({'user': {'num_nodes': 6}, 'item': {'num_nodes': 30}})
    data[INTERACTS].edge_index = torch.stack([user, item])
    data[INTERACTS].time = time
    return data


def expected_folds(
    rows: list[tuple[int, int, int]], num_folds: int, window: float
) -> list[list[Pairs]]:
    """A slow twin: train, validation and test, those of users without train interactions too."""
    first: dict[tuple[int, int], int] = {}
    for user, item, time in rows:
        first[user, item] = min(time, first.get((user, item), time))
    times = [*sorted(first.values()), inf]
    shares = [1 - number * window for number in range(num_folds + 1, 0, -1)]
    cuts = [-inf, *(times[int(share * len(first) + 0.5)] for share in shares), inf]
    return [
        [
            sorted(pair for pair, time in first.items() if start <= time < end)
            for start, end in ((-inf, cuts[n]), (cuts[n], cuts[n + 1]), (cuts[n + 1], cuts[n + 2]))
        ]
        for n in range(1, num_folds + 1)
    ]


def held_out(part: HeteroData) -> tuple[Pairs, Pairs]:
    store = part[INTERACTS]
    return pairs_of(store.edge_label_index), pairs_of(store.new_user_index)


rows = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 29), st.integers(0, 40)), min_size=20, max_size=120
)


def of_known_users(pairs: Pairs, train: Pairs) -> Pairs:
    known = {user for user, _ in train}
    return [pair for pair in pairs if pair[0] in known]


@settings(max_examples=100, deadline=None)
@given(rows, st.integers(1, 4), st.sampled_from([0.05, 0.1, 0.15]))
def test_no_fold_knows_the_future(
    rows: list[tuple[int, int, int]], num_folds: int, window: float
) -> None:
    expected = expected_folds(rows, num_folds, window)
    if not all(of_known_users(pairs, fold[0]) for fold in expected for pairs in fold):
        with pytest.raises(ValueError, match=r'leave no interactions for|have the same time'):
            rolling_folds(shop_of(rows), num_folds, window=window)
        return
    time_of = {(user, item): time for user, item, time in sorted(rows, key=lambda row: -row[2])}
    folds = rolling_folds(shop_of(rows), num_folds, window=window)
    assert len(folds) == num_folds
    for (train, val, test), pairs in zip(folds, expected, strict=True):
        assert sorted(pairs_of(train[INTERACTS].edge_index)) == pairs[0]
        for part, wanted in ((val, pairs[1]), (test, pairs[2])):
            targets, of_new_users = held_out(part)
            assert sorted(targets) == of_known_users(wanted, pairs[0])
            assert sorted(targets + of_new_users) == wanted
        train_times, val_times, test_times = ([time_of[pair] for pair in part] for part in pairs)
        assert int(train[INTERACTS].time.max()) == max(train_times)
        assert max(train_times) < min(val_times) <= max(val_times) < min(test_times)


def test_each_fold_goes_on_where_the_last_ended() -> None:
    data = random_shop()
    data[INTERACTS].time = torch.arange(data[INTERACTS].num_edges)
    folds = rolling_folds(data, 3)
    for (_, _, tested), (_, validated, _) in pairwise(folds):
        assert sorted(chain(*held_out(tested))) == sorted(chain(*held_out(validated)))
    sizes = [train[INTERACTS].num_edges / data[INTERACTS].num_edges for train, _, _ in folds]
    assert sizes == pytest.approx([0.6, 0.7, 0.8], abs=0.01)


@pytest.mark.parametrize('num_folds', [1, 3])
def test_the_last_fold_is_the_split_by_global_time(num_folds: int) -> None:
    data = random_shop()
    last = rolling_folds(data, num_folds)[-1]
    for part, other in zip(last, SplitInteractions(strategy='global_time')(data), strict=True):
        for key in ('edge_index', 'edge_label_index', 'time'):
            assert torch.equal(part[INTERACTS][key], other[INTERACTS][key])


def test_data_is_unchanged_and_item_graphs_are_of_train() -> None:
    data = random_shop()
    before = snapshot(data)
    train, _, _ = rolling_folds(data, 2)[0]
    assert_unchanged(data, before)
    late = set(pairs_of(data[INTERACTS].edge_index)) - set(pairs_of(train[INTERACTS].edge_index))
    fewer = data.clone()
    kept = [
        row for row, pair in enumerate(pairs_of(data[INTERACTS].edge_index)) if pair not in late
    ]
    fewer[INTERACTS].edge_index = data[INTERACTS].edge_index[:, kept]
    graphs = [AddCoInteractionGraph(k=4)(graph) for graph in (train, fewer)]
    edges = [graph['item', 'co_interacts', 'item'].edge_index for graph in graphs]
    assert torch.equal(*edges)


def one_time(data: HeteroData) -> None:
    data[INTERACTS].time = torch.zeros(data[INTERACTS].num_edges)


def no_times(data: HeteroData) -> None:
    del data[INTERACTS].time


def a_time_that_is_nan(data: HeteroData) -> None:
    data[INTERACTS].time = data[INTERACTS].time.float()
    data[INTERACTS].time[3] = torch.nan


def two_times(data: HeteroData) -> None:
    data[INTERACTS].time = (data[INTERACTS].time > 25).long()


def all_users_leave(data: HeteroData) -> None:
    user = data[INTERACTS].edge_index[0]
    data[INTERACTS].time = user


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (one_time, 'interactions have the same time.*use strategy='),
        (no_times, "strategy='global_time' needs .*time, which is missing"),
        (a_time_that_is_nan, "'time' holds NaN or infinite values for 1 interactions; repair"),
        (two_times, r'no interactions for validation \(\d+ interactions at 2 different times\)'),
        (all_users_leave, r'for validation, but for \d+ of users without train interactions'),
    ],
)
def test_data_that_has_no_folds(change: Callable[[HeteroData], None], message: str) -> None:
    data = random_shop()
    change(data)
    for split in (
        lambda: rolling_folds(data),
        lambda: SplitInteractions(strategy='global_time')(data),
    ):
        with pytest.raises(ValueError, match=message):
            split()


def test_mistakes() -> None:
    data = random_shop()
    with pytest.raises(ValueError, match="'num_folds' must be a positive integer"):
        rolling_folds(data, 0)
    with pytest.raises(ValueError, match=r"'window' must lie in \(0, 1\)"):
        rolling_folds(data, window=1.5)
    with pytest.raises(ValueError, match=r'4 folds need 5 windows of 0.2 .*fewer folds or a small'):
        rolling_folds(data, 4, window=0.2)
