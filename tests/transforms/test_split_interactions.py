from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from itertools import chain

import pytest
import torch
from torch import Tensor
from torch.utils.data import IterDataPipe
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_mmgef.transforms import AddCoInteractionGraph, FuseModalities, SplitInteractions
from tests.transforms.shops import INTERACTS, assert_unchanged, pairs_of, random_shop, snapshot

STRATEGIES = ['random', 'time', 'leave_last_out']
Parts = tuple[list[tuple[int, int]], list[tuple[int, int]], list[tuple[int, int]]]


def parts_of(splits: tuple[HeteroData, ...]) -> Parts:
    train, val, test = (pairs_of(split[INTERACTS].edge_label_index) for split in splits)
    return train, val, test


def counts_per_user(pairs: list[tuple[int, int]]) -> Counter[int]:
    return Counter(user for user, _ in pairs)


def staircase_shop(num_users: int = 60) -> HeteroData:
    """User ``u`` has ``u + 1`` interactions, with a time for each."""
    pairs = torch.tensor([(u, i) for u in range(num_users) for i in range(u + 1)]).t()
    generator = torch.Generator().manual_seed(0)
    data = HeteroData({'user': {'num_nodes': num_users}, 'item': {'num_nodes': num_users}})
    data[INTERACTS].edge_index = pairs[:, torch.randperm(pairs.size(1), generator=generator)]
    data[INTERACTS].time = torch.randint(1000, (pairs.size(1),), generator=generator)
    return data


@pytest.mark.parametrize('strategy', STRATEGIES)
@pytest.mark.parametrize('seed', range(3))
def test_the_parts_are_a_partition(strategy: str, seed: int) -> None:
    data = random_shop(seed=seed)
    splits = SplitInteractions(strategy=strategy, seed=seed)(data)
    train, val, test = parts_of(splits)
    assert sorted(train + val + test) == sorted(pairs_of(data[INTERACTS].edge_index))
    assert len(val) > 0
    assert len(test) > 0
    for split in splits:
        assert pairs_of(split[INTERACTS].edge_index) == train


@pytest.mark.parametrize('strategy', ['random', 'time'])
@pytest.mark.parametrize(
    'ratios',
    [(0.8, 0.1, 0.1), (0.7, 0.1, 0.2), (0.6, 0.2, 0.2), (0.05, 0.15, 0.8), (0.1, 0.45, 0.45)],
)
def test_counts_per_user(strategy: str, ratios: tuple[float, float, float]) -> None:
    data = staircase_shop()
    parts = parts_of(SplitInteractions(ratios, strategy)(data))
    num_train, num_val, num_test = map(counts_per_user, parts)
    for user in range(60):
        total = user + 1
        assert num_train[user] + num_val[user] + num_test[user] == total
        if total < 3:
            assert num_train[user] == total
            continue
        wanted_val, wanted_test = (
            max(1, int((Decimal(str(ratio)) * total).quantize(Decimal(1), ROUND_HALF_UP)))
            for ratio in ratios[1:]
        )
        assert num_train[user] >= 1
        assert 1 <= num_val[user] <= wanted_val
        assert 1 <= num_test[user] <= wanted_test
        if wanted_val + wanted_test < total:
            assert (num_val[user], num_test[user]) == (wanted_val, wanted_test)
        else:
            assert num_train[user] == 1  # No more is taken from the parts than train needs.


def test_eight_to_one_to_one() -> None:
    parts = parts_of(SplitInteractions()(staircase_shop()))
    sizes = [tuple(counts_per_user(part)[total - 1] for part in parts) for total in range(1, 31)]
    assert sizes[:4] == [(1, 0, 0), (2, 0, 0), (1, 1, 1), (2, 1, 1)]
    assert sizes[9] == (8, 1, 1)
    assert sizes[14] == (11, 2, 2)
    assert sizes[19] == (16, 2, 2)
    assert sizes[29] == (24, 3, 3)


@pytest.mark.parametrize('strategy', ['random', 'time'])
@pytest.mark.parametrize(
    ('ratios', 'empty'), [((0.8, 0.0, 0.2), 1), ((0.8, 0.2, 0.0), 2), ((0.0001, 0.0, 0.9999), 1)]
)
def test_a_ratio_of_zero_makes_an_empty_part(
    strategy: str, ratios: tuple[float, float, float], empty: int
) -> None:
    splits = SplitInteractions(ratios, strategy)(staircase_shop())
    parts = parts_of(splits)
    assert parts[empty] == []
    assert splits[empty][INTERACTS].edge_label_index.shape == (2, 0)
    other = counts_per_user(parts[3 - empty])
    assert [user for user in range(60) if other[user] == 0] == [0, 1]
    assert len(counts_per_user(parts[0])) == 60


def test_everything_may_stay_in_train() -> None:
    data = random_shop()
    train, val, test = parts_of(SplitInteractions((1.0, 0.0, 0.0))(data))
    assert sorted(train) == sorted(pairs_of(data[INTERACTS].edge_index))
    assert val == test == []


@pytest.mark.parametrize('strategy', ['time', 'leave_last_out'])
@pytest.mark.parametrize('seed', range(3))
def test_later_interactions_are_held_out(strategy: str, seed: int) -> None:
    data = random_shop(seed=seed)
    time_of = dict(
        zip(pairs_of(data[INTERACTS].edge_index), data[INTERACTS].time.tolist(), strict=True)
    )
    parts = parts_of(SplitInteractions(strategy=strategy)(data))
    for user in range(25):
        times = [[time_of[pair] for pair in part if pair[0] == user] for part in parts]
        for earlier, later in ((0, 1), (0, 2), (1, 2)):
            if times[earlier] and times[later]:
                assert max(times[earlier]) <= min(times[later])


def test_leave_last_out() -> None:
    data = staircase_shop()
    train, val, test = map(
        counts_per_user, parts_of(SplitInteractions(strategy='leave_last_out')(data))
    )
    assert all((val[user], test[user]) == (0, 0) for user in range(2))
    assert all((train[user], val[user], test[user]) == (user - 1, 1, 1) for user in range(2, 60))


@pytest.mark.parametrize('strategy', ['time', 'leave_last_out'])
def test_equal_times_keep_the_order_of_the_data(strategy: str) -> None:
    data = HeteroData({'user': {'num_nodes': 1}, 'item': {'num_nodes': 5}})
    data[INTERACTS].edge_index = torch.tensor([[0, 0, 0, 0, 0], [4, 2, 0, 1, 3]])
    data[INTERACTS].time = torch.tensor([7, 7, 9, 7, 7])
    train, val, test = parts_of(SplitInteractions(strategy=strategy)(data))
    assert (train, val, test) == ([(0, 4), (0, 2), (0, 1)], [(0, 3)], [(0, 0)])


@pytest.mark.parametrize('strategy', STRATEGIES)
def test_repeated_pairs_count_once_the_earliest(strategy: str) -> None:
    data = HeteroData({'user': {'num_nodes': 2}, 'item': {'num_nodes': 4}})
    data[INTERACTS].edge_index = torch.tensor([[1, 0, 1, 1, 1, 0], [0, 3, 1, 0, 2, 3]])
    data[INTERACTS].time = torch.tensor([30, 6, 20, 10, 25, 5])
    data[INTERACTS].rating = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    splits = SplitInteractions(strategy=strategy)(data)
    train, val, test = parts_of(splits)
    assert sorted(train + val + test) == [(0, 3), (1, 0), (1, 1), (1, 2)]
    rating = dict(zip(train, splits[0][INTERACTS].rating.tolist(), strict=True))
    assert rating[0, 3] == 5
    if strategy != 'random':  # Item 0 was first seen at time 10, not 30.
        assert (train, val, test) == ([(1, 0), (0, 3)], [(1, 1)], [(1, 2)])
        assert rating[1, 0] == 3


def test_repeated_pairs_without_times_keep_the_first() -> None:
    data = HeteroData({'user': {'num_nodes': 1}, 'item': {'num_nodes': 2}})
    data[INTERACTS].edge_index = torch.tensor([[0, 0, 0], [1, 0, 1]])
    data[INTERACTS].rating = torch.tensor([1.0, 2.0, 3.0])
    train, _, _ = SplitInteractions()(data)
    assert train[INTERACTS].edge_index.tolist() == [[0, 0], [1, 0]]
    assert train[INTERACTS].rating.tolist() == [1, 2]


@pytest.mark.parametrize('strategy', [*STRATEGIES, 'global_time'])
def test_edge_attributes_follow_the_train_edges(strategy: str) -> None:
    data = random_shop()
    num_edges = data[INTERACTS].edge_index.size(1)
    data[INTERACTS].edge_attr = torch.arange(2 * num_edges).view(num_edges, 2)
    data[INTERACTS].note = 'kept as it is'
    data[INTERACTS].scale = torch.tensor(3.0)
    row = {pair: row for row, pair in enumerate(pairs_of(data[INTERACTS].edge_index))}
    for split in SplitInteractions(strategy=strategy)(data):
        rows = torch.tensor([row[pair] for pair in pairs_of(split[INTERACTS].edge_index)])
        for key in ('time', 'rating', 'edge_attr'):
            assert torch.equal(split[INTERACTS][key], data[INTERACTS][key][rows])
        assert split[INTERACTS].note == 'kept as it is'
        assert split[INTERACTS].scale == 3


def shop_at_times(pairs: list[tuple[int, int]], time: list[int]) -> HeteroData:
    data = HeteroData({'user': {'num_nodes': 4}, 'item': {'num_nodes': 12}})
    data[INTERACTS].edge_index = torch.tensor(pairs).t()
    data[INTERACTS].time = torch.tensor(time)
    return data


def test_global_time_cuts_at_quantiles() -> None:
    data = shop_at_times([(i % 2, i) for i in range(10)], [90, 10, 80, 20, 70, 30, 60, 40, 50, 0])
    splits = SplitInteractions((0.6, 0.2, 0.2), 'global_time')(data)
    train, val, test = parts_of(splits)
    assert train == [(1, 1), (1, 3), (1, 5), (1, 7), (0, 8), (1, 9)]
    assert (val, test) == ([(0, 4), (0, 6)], [(0, 0), (0, 2)])  # None of these items is in train.
    assert splits[0][INTERACTS].time.tolist() == [10, 20, 30, 40, 50, 0]
    assert splits[2]['item'].num_nodes == 12


def test_global_time_keeps_equal_times_together_in_the_later_part() -> None:
    pairs = [(0, i) for i in range(10)]
    data = shop_at_times(pairs, [1, 2, 3, 3, 3, 3, 3, 4, 5, 5])
    parts = parts_of(SplitInteractions((0.5, 0.3, 0.2), 'global_time')(data))
    assert parts == (pairs[:2], pairs[2:8], pairs[8:])


def test_global_time_leaves_out_users_without_train_interactions() -> None:
    pairs = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (2, 0), (1, 3), (2, 1)]
    data = shop_at_times(pairs, list(range(10)))
    data[INTERACTS].new_user_index = torch.tensor([[3], [3]])  # Of an earlier split.
    train, val, test = SplitInteractions((0.6, 0.2, 0.2), 'global_time')(data)
    assert pairs_of(train[INTERACTS].edge_index) == pairs[:6]
    assert 'new_user_index' not in train[INTERACTS]
    for part, known, new in ((val, (0, 3), (2, 0)), (test, (1, 3), (2, 1))):
        assert pairs_of(part[INTERACTS].edge_label_index) == [known]
        assert pairs_of(part[INTERACTS].new_user_index) == [new]
        assert part['user'].num_nodes == 4
        assert 'new_user_index' not in SplitInteractions()(part)[1][INTERACTS]


def test_global_time_tests_no_pair_that_is_known() -> None:
    pairs = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 0), (0, 4), (0, 1), (0, 5)]
    data = shop_at_times(pairs, list(range(8)))
    train, val, test = parts_of(SplitInteractions((0.6, 0.2, 0.2), 'global_time')(data))
    assert (train, val, test) == ([(0, 0), (0, 1), (0, 2), (0, 3)], [(0, 4)], [(0, 5)])


@pytest.mark.parametrize(
    ('ratios', 'empty'), [((0.8, 0.0, 0.2), 1), ((0.8, 0.2, 0.0), 2), ((1.0, 0.0, 0.0), 1)]
)
def test_a_global_cut_may_leave_out_a_part(ratios: tuple[float, float, float], empty: int) -> None:
    data = shop_at_times([(i % 2, i) for i in range(10)], list(range(10)))
    parts = parts_of(SplitInteractions(ratios, 'global_time')(data))
    assert [len(part) for part in parts] == [round(10 * ratio) for ratio in ratios]
    assert parts[empty] == []


def label_edges(splits: tuple[HeteroData, ...]) -> list[Tensor]:
    return [split[INTERACTS].edge_label_index for split in splits]


def test_seed() -> None:
    data = random_shop()
    before = torch.get_rng_state()
    first = label_edges(SplitInteractions(seed=3)(data))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert all(map(torch.equal, first, label_edges(SplitInteractions(seed=3)(data))))
    assert not all(map(torch.equal, first, label_edges(SplitInteractions(seed=4)(data))))


def test_random_draws_are_uniform_over_the_interactions_of_a_user() -> None:
    data = HeteroData({'user': {'num_nodes': 1}, 'item': {'num_nodes': 5}})
    data[INTERACTS].edge_index = torch.tensor([[0] * 5, [0, 1, 2, 3, 4]])
    in_test = Counter(
        int(SplitInteractions(seed=seed)(data)[2][INTERACTS].edge_label_index[1])
        for seed in range(200)
    )
    assert all(15 <= in_test[item] <= 65 for item in range(5))


@pytest.mark.parametrize('strategy', [*STRATEGIES, 'global_time'])
def test_int32_ids(strategy: str) -> None:
    data = random_shop()
    expected = parts_of(SplitInteractions(strategy=strategy)(data))
    data[INTERACTS].edge_index = data[INTERACTS].edge_index.int()
    assert parts_of(SplitInteractions(strategy=strategy)(data)) == expected


@pytest.mark.parametrize('strategy', [*STRATEGIES, 'global_time'])
def test_returns_new_objects(strategy: str) -> None:
    data = random_shop()
    before = snapshot(data)
    splits = SplitInteractions(strategy=strategy)(data)
    splits[0][INTERACTS].extra = 1
    assert 'extra' not in splits[1][INTERACTS]
    assert_unchanged(data, before)
    for split in splits:
        assert split is not data
        assert split['user'].num_nodes == 25
        assert torch.equal(split['item'].x_image, data['item'].x_image)


def test_splitting_a_split_starts_from_its_train_edges() -> None:
    outer = SplitInteractions(seed=0)(random_shop())[0]
    inner = parts_of(SplitInteractions(seed=1)(outer))
    assert sorted(chain(*inner)) == sorted(pairs_of(outer[INTERACTS].edge_index))


def test_in_a_pipeline_every_part_is_transformed() -> None:
    pipeline = Compose([SplitInteractions(), FuseModalities(), AddCoInteractionGraph(k=3)])
    splits = pipeline(random_shop())
    assert len(splits) == 3
    for split in splits:
        assert 'x' in split['item']
        graph = split['item', 'co_interacts', 'item']
        assert torch.equal(graph.edge_index, splits[0]['item', 'co_interacts', 'item'].edge_index)


def test_functional_name_and_repr() -> None:
    assert 'split_interactions' in IterDataPipe.functions
    assert repr(SplitInteractions()) == 'SplitInteractions()'
    transform = SplitInteractions((0.7, 0.1, 0.2), 'time', seed=2)
    assert repr(transform) == "SplitInteractions(ratios=(0.7, 0.1, 0.2), strategy='time', seed=2)"
    assert repr(SplitInteractions(strategy='leave_last_out')) == (
        "SplitInteractions(strategy='leave_last_out')"
    )


@pytest.mark.parametrize(
    'ratios',
    [(0.8, 0.2), (0.8, 0.1, 0.2), (1.1, -0.2, 0.1), (0.0, 0.5, 0.5), (0.4, 0.2, 0.2, 0.2)],
)
def test_wrong_ratios(ratios: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"'ratios' must be the shares .*\(got \("):
        SplitInteractions(ratios)


def test_mistakes() -> None:
    data = random_shop()
    with pytest.raises(ValueError, match="'strategy' must be one of 'random', 'time', 'leave"):
        SplitInteractions(strategy='global')
    with pytest.raises(ValueError, match=r'already has the item graph .*split first'):
        SplitInteractions()(AddCoInteractionGraph(k=2)(data))
    del data[INTERACTS].time
    for strategy in ('time', 'leave_last_out', 'global_time'):
        with pytest.raises(ValueError, match=rf"strategy='{strategy}' needs .*time, which is miss"):
            SplitInteractions(strategy=strategy)(data)
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    with pytest.raises(ValueError, match="'data' has no interactions to split"):
        SplitInteractions()(data)
    with pytest.raises(ValueError, match='has no edge type'):
        SplitInteractions()(HeteroData({'user': {'num_nodes': 1}, 'item': {'num_nodes': 1}}))


@pytest.mark.parametrize('strategy', [*STRATEGIES, 'global_time'])
def test_times_in_a_column(strategy: str) -> None:
    shop = random_shop()
    expected = SplitInteractions(strategy=strategy)(shop)
    column = shop.clone()
    for key in ('time', 'rating'):
        column[INTERACTS][key] = shop[INTERACTS][key][:, None]
    for part, other in zip(SplitInteractions(strategy=strategy)(column), expected, strict=True):
        assert torch.equal(part[INTERACTS].edge_label_index, other[INTERACTS].edge_label_index)
        for key in ('time', 'rating'):
            assert torch.equal(part[INTERACTS][key], other[INTERACTS][key][:, None])


@pytest.mark.parametrize('key', ['time', 'rating', 'edge_weight'])
@pytest.mark.parametrize('strategy', [*STRATEGIES, 'global_time'])
def test_numbers_of_a_wrong_length_are_refused(strategy: str, key: str) -> None:
    shop = random_shop()
    size = shop[INTERACTS].num_edges
    for wrong in (torch.ones(size // 2), torch.ones(2 * size), torch.ones(size, 2)):
        shop[INTERACTS][key] = wrong
        with pytest.raises(ValueError, match=f"'{key}' of the edges .* must have shape"):
            SplitInteractions(strategy=strategy)(shop)
