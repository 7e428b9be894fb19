from itertools import chain

import pytest
import torch
from torch.utils.data import IterDataPipe
from torch_geometric.data import HeteroData

from pyg_mmgef.transforms import AddCoInteractionGraph, SplitColdItems, SplitInteractions
from tests.transforms.shops import INTERACTS, assert_unchanged, pairs_of, random_shop, snapshot


def items_of(split: HeteroData) -> set[int]:
    return set(split[INTERACTS].edge_label_index[1].tolist())


@pytest.mark.parametrize('ratio', [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize('seed', range(3))
def test_cold_items_lose_all_their_interactions(ratio: float, seed: int) -> None:
    data = random_shop(seed=seed)
    pairs = pairs_of(data[INTERACTS].edge_index)
    train, val, test = splits = SplitColdItems(ratio, seed=seed)(data)
    parts = [pairs_of(split[INTERACTS].edge_label_index) for split in splits]
    assert sorted(chain(*parts)) == sorted(pairs)
    for split in splits:
        assert pairs_of(split[INTERACTS].edge_index) == parts[0]

    warm, cold_val, cold_test = map(items_of, (train, val, test))
    assert not warm & (cold_val | cold_test)
    assert not cold_val & cold_test
    num_cold = round(ratio * len({item for _, item in pairs}))
    assert len(cold_val) == num_cold // 2
    assert len(cold_test) == num_cold - num_cold // 2


def test_only_items_with_interactions_are_drawn() -> None:
    data = random_shop()
    data['item'].num_nodes = 1000  # All but some thirty have none.
    for key in ('x_image', 'x_text', 'has_image'):
        del data['item'][key]
    train, val, test = SplitColdItems(0.2)(data)
    num_items = len(set(data[INTERACTS].edge_index[1].tolist()))
    assert len(items_of(val)) + len(items_of(test)) == round(0.2 * num_items)
    assert len(items_of(train)) == num_items - round(0.2 * num_items)


def test_seed() -> None:
    data = random_shop()
    before = torch.get_rng_state()
    first = [items_of(split) for split in SplitColdItems(seed=3)(data)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert first == [items_of(split) for split in SplitColdItems(seed=3)(data)]
    assert first != [items_of(split) for split in SplitColdItems(seed=4)(data)]


def test_every_item_may_become_cold() -> None:
    data = random_shop()
    drawn: set[int] = set()
    for seed in range(60):
        _, val, test = SplitColdItems(seed=seed)(data)
        drawn |= items_of(val) | items_of(test)
    assert drawn == set(data[INTERACTS].edge_index[1].tolist())


def test_repeated_pairs_count_once_the_earliest() -> None:
    data = HeteroData({'user': {'num_nodes': 2}, 'item': {'num_nodes': 3}})
    data[INTERACTS].edge_index = torch.tensor([[0, 0, 0, 1, 0], [0, 1, 2, 0, 0]])
    data[INTERACTS].time = torch.tensor([9, 1, 1, 1, 4])
    data[INTERACTS].rating = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0])
    for seed in range(10):
        splits = SplitColdItems(0.6, seed=seed)(data)
        parts = [pairs_of(split[INTERACTS].edge_label_index) for split in splits]
        assert sorted(chain(*parts)) == [(0, 0), (0, 1), (0, 2), (1, 0)]
        rating = dict(zip(parts[0], splits[0][INTERACTS].rating.tolist(), strict=True))
        assert rating.get((0, 0), 4.0) == 4


def test_edge_attributes_follow_the_train_edges() -> None:
    data = random_shop()
    row = {pair: row for row, pair in enumerate(pairs_of(data[INTERACTS].edge_index))}
    for split in SplitColdItems()(data):
        rows = torch.tensor([row[pair] for pair in pairs_of(split[INTERACTS].edge_index)])
        for key in ('time', 'rating'):
            assert torch.equal(split[INTERACTS][key], data[INTERACTS][key][rows])


def test_train_can_be_split_again_for_warm_evaluation() -> None:
    data = random_shop()
    cold = SplitColdItems(0.2)(data)
    splits = SplitInteractions(seed=0)(cold[0])
    parts = [pairs_of(split[INTERACTS].edge_label_index) for split in splits]
    assert sorted(chain(*parts)) == sorted(pairs_of(cold[0][INTERACTS].edge_index))
    assert not set.union(*map(items_of, splits)) & (items_of(cold[1]) | items_of(cold[2]))


def test_returns_new_objects() -> None:
    data = random_shop()
    before = snapshot(data)
    splits = SplitColdItems()(data)
    splits[0][INTERACTS].extra = 1
    assert 'extra' not in splits[1][INTERACTS]
    assert_unchanged(data, before)


def dated_shop(edges: list[tuple[int, int, float]], num_items: int) -> HeteroData:
    """Interactions (user, item, time)."""
    data = HeteroData({'user': {'num_nodes': 4}, 'item': {'num_nodes': num_items}})
    columns = torch.tensor(edges).t()
    data[INTERACTS].edge_index, data[INTERACTS].time = columns[:2].long(), columns[2]
    return data


def test_the_items_that_came_last_are_cold() -> None:
    data = dated_shop(
        [
            *((0, 0, 9.0), (1, 0, 1.0)),  # First seen at 1, and seen again after the cut.
            *((0, 1, 2.0), (2, 1, 4.0)),
            *((1, 2, 5.0), (3, 2, 6.0), (0, 2, 7.5)),
            *((2, 3, 8.0), (3, 3, 7.0)),
            *((0, 5, 6.5), (1, 5, 9.5)),  # Item 4 has no interactions.
        ],
        num_items=6,
    )
    for seed in range(8):
        train, val, test = SplitColdItems(0.4, 'time', seed)(data)  # Two of five: 3 and 5.
        assert pairs_of(train[INTERACTS].edge_index) == [(1, 0), (0, 1), (2, 1), (1, 2), (3, 2)]
        assert train[INTERACTS].time.tolist() == [1, 2, 4, 5, 6]  # At 6.5 item 5 came.
        halves = {items_of(val).pop(), items_of(test).pop()}
        assert halves == {3, 5}
        held_out = [pairs_of(part[INTERACTS].edge_label_index) for part in (val, test)]
        assert sorted(chain(*held_out)) == [(0, 5), (1, 5), (2, 3), (3, 3)]
    assert (
        len({items_of(SplitColdItems(0.4, 'time', seed)(data)[1]).pop() for seed in range(8)}) > 1
    )


@pytest.mark.parametrize(
    ('ratio', 'cold'),
    [(0.4, {4, 5}), (0.5, {4, 5}), (0.66, {4, 5}), (0.8, {1, 2, 3, 4, 5})],
)
def test_items_first_seen_at_once_stay_together(ratio: float, cold: set[int]) -> None:
    first = [1, 3, 3, 3, 8, 8]
    data = dated_shop([(0, item, time) for item, time in enumerate(first)], num_items=6)
    train, val, test = SplitColdItems(ratio, 'time')(data)
    assert items_of(val) | items_of(test) == cold
    assert items_of(train) == set(range(6)) - cold


@pytest.mark.parametrize('ratio', [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize('seed', range(3))
def test_train_ends_when_the_first_cold_item_comes(ratio: float, seed: int) -> None:
    data = random_shop(num_users=60, seed=seed)
    pairs = pairs_of(data[INTERACTS].edge_index)
    data[INTERACTS].time = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))
    time_of = dict(zip(pairs, data[INTERACTS].time.tolist(), strict=True))
    first = {item: min(time_of[pair] for pair in pairs if pair[1] == item) for _, item in pairs}
    train, val, test = SplitColdItems(ratio, 'time', seed)(data)
    num_cold = round(ratio * len(first))
    cold = sorted(first, key=first.__getitem__)[-num_cold:]
    assert items_of(val) | items_of(test) == set(cold)
    assert len(items_of(val)) == num_cold // 2
    kept = pairs_of(train[INTERACTS].edge_index)
    start = min(first[item] for item in cold)
    assert sorted(kept) == sorted(pair for pair in pairs if time_of[pair] < start)


def test_functional_name_and_repr() -> None:
    assert 'split_cold_items' in IterDataPipe.functions
    assert repr(SplitColdItems(0.3, seed=1)) == 'SplitColdItems(ratio=0.3, seed=1)'
    assert repr(SplitColdItems(strategy='time')) == "SplitColdItems(strategy='time')"


@pytest.mark.parametrize('ratio', [0.0, 1.0, -0.1, 2.0])
def test_wrong_ratio(ratio: float) -> None:
    with pytest.raises(ValueError, match=rf"'ratio' must lie in \(0, 1\) \(got {ratio}\)"):
        SplitColdItems(ratio)


def test_mistakes() -> None:
    data = random_shop()
    with pytest.raises(ValueError, match=r"'ratio' 0.01 of \d+ items makes 0 cold; at least two"):
        SplitColdItems(0.01)(data)
    with pytest.raises(ValueError, match=r"'ratio' 0.999 of (\d+) items makes \1 cold; .* must st"):
        SplitColdItems(0.999)(data)
    with pytest.raises(ValueError, match=r'already has the item graph .*split first'):
        SplitColdItems()(AddCoInteractionGraph(k=2)(data))
    with pytest.raises(ValueError, match=r"'strategy' must be one of 'random', 'time' \(got 0\)"):
        SplitColdItems(0.2, 0)  # type: ignore[arg-type]
    data[INTERACTS].time = torch.zeros_like(data[INTERACTS].time)
    with pytest.raises(ValueError, match=r"'ratio' 0.2 of \d+ items makes 0 cold; at least two"):
        SplitColdItems(strategy='time')(data)
    del data[INTERACTS].time
    with pytest.raises(ValueError, match=r"'time' needs .*\.time, which is missing; set it or use"):
        SplitColdItems(strategy='time')(data)
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    with pytest.raises(ValueError, match="'data' has no interactions to split"):
        SplitColdItems()(data)


@pytest.mark.parametrize('strategy', ['random', 'time'])
def test_times_in_a_column_or_of_a_wrong_length(strategy: str) -> None:
    shop = random_shop()
    expected = SplitColdItems(strategy=strategy)(shop)
    time = shop[INTERACTS].time
    shop[INTERACTS].time = time[:, None]
    for part, other in zip(SplitColdItems(strategy=strategy)(shop), expected, strict=True):
        assert torch.equal(part[INTERACTS].edge_label_index, other[INTERACTS].edge_label_index)
    shop[INTERACTS].time = time[1:]
    with pytest.raises(ValueError, match=r"'time' of the edges .* must have shape"):
        SplitColdItems(strategy=strategy)(shop)
