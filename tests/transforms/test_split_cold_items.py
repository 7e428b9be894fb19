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


def test_functional_name_and_repr() -> None:
    assert 'split_cold_items' in IterDataPipe.functions
    assert repr(SplitColdItems(0.3, seed=1)) == 'SplitColdItems(ratio=0.3, seed=1)'


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
    data[INTERACTS].edge_index = torch.empty(2, 0, dtype=torch.long)
    with pytest.raises(ValueError, match="'data' has no interactions to split"):
        SplitColdItems()(data)
