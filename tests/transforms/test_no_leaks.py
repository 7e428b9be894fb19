"""What is held out must not reach anything that propagates."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_mmgef.nn import LightGCN
from pyg_mmgef.schema import supervision_edges
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    SplitColdItems,
    SplitInteractions,
)
from tests.references import co_interactions, dense_adjacency
from tests.transforms.shops import INTERACTS, pairs_of, random_shop

CO_INTERACTS = ('item', 'co_interacts', 'item')
Split = Callable[[HeteroData], tuple[HeteroData, ...]]


def warm_within_cold(data: HeteroData) -> tuple[HeteroData, ...]:
    """The five parts of a cold split whose train part is split again."""
    cold = SplitColdItems(0.2, seed=1)(data)
    return (*SplitInteractions(seed=1)(cold[0]), *cold[1:])


splits = pytest.mark.parametrize(
    'split',
    [
        SplitInteractions((0.6, 0.2, 0.2), seed=1),
        SplitInteractions(strategy='time'),
        SplitInteractions(strategy='leave_last_out'),
        SplitInteractions((0.6, 0.2, 0.2), 'global_time'),
        SplitColdItems(0.3, seed=1),
        SplitColdItems(0.6, strategy='time'),
        warm_within_cold,
    ],
    ids=[
        'random',
        'time',
        'leave_last_out',
        'global_time',
        'cold',
        'cold by time',
        'warm_within_cold',
    ],
)

add_graphs = Compose(
    [
        FuseModalities(),
        AddItemKNNGraph(k=4),
        AddItemKNNGraph(k=4, attr='x_text', relation='similar_text'),
        AddCoInteractionGraph(k=50, weighting='raw', normalize=False),
    ]
)


def is_cold_by_time(split: Split) -> bool:
    return isinstance(split, SplitColdItems) and split.strategy == 'time'


def late_and_warm(data: HeteroData, held_out: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """The interactions with warm items since the first that is held out."""
    pairs = pairs_of(data[INTERACTS].edge_index)
    time_of = dict(zip(pairs, data[INTERACTS].time.tolist(), strict=True))
    start = min(time_of[pair] for pair in held_out)
    return {pair for pair in pairs if time_of[pair] >= start} - held_out


def of_new_users(parts: tuple[HeteroData, ...]) -> set[tuple[int, int]]:
    return {
        pair
        for part in parts
        if 'new_user_index' in part[INTERACTS]
        for pair in pairs_of(part[INTERACTS].new_user_index)
    }


@splits
@pytest.mark.parametrize('seed', range(4))
def test_no_held_out_edge_propagates(split: Split, seed: int) -> None:
    data = random_shop(seed=seed)
    parts = split(data)
    held_out = {pair for part in parts[1:] for pair in pairs_of(part[INTERACTS].edge_label_index)}
    assert len(held_out) > 10
    for part in (parts[0], add_graphs(parts[0])):
        train = set(pairs_of(part[INTERACTS].edge_index))
        assert not train & held_out
        left_out = set(pairs_of(data[INTERACTS].edge_index)) - train - held_out
        expected = late_and_warm(data, held_out) if is_cold_by_time(split) else of_new_users(parts)
        assert left_out == expected
        assert train == set(pairs_of(part[INTERACTS].edge_label_index))


@splits
@pytest.mark.parametrize('seed', range(4))
def test_item_graph_counts_train_interactions_alone(split: Split, seed: int) -> None:
    parts = split(random_shop(seed=seed))
    train = dense_adjacency(parts[0][INTERACTS].edge_label_index, None, 25, 30).t()
    graph = add_graphs(parts[0])[CO_INTERACTS]
    out = dense_adjacency(graph.edge_index, graph.edge_weight.double(), 30, 30)
    assert torch.equal(out, co_interactions(train, 'raw'))


def replace_held_out(data: HeteroData, held_out: set[tuple[int, int]], row: int) -> HeteroData:
    """Give every held-out interaction another user (row 0) or another item (row 1)."""
    edge_index = data[INTERACTS].edge_index.clone()
    taken = set(pairs_of(edge_index))
    num_nodes = (25, 30)[row]
    for edge, pair in enumerate(pairs_of(edge_index)):
        if pair not in held_out:
            continue
        for node in range(num_nodes):
            other = (node, pair[1]) if row == 0 else (pair[0], node)
            if other not in taken:
                edge_index[row, edge] = node
                taken.add(other)
                break
    out = data.clone()
    out[INTERACTS].edge_index = edge_index
    return out


def what_propagates(data: HeteroData) -> dict[str, Tensor]:
    """Every tensor of train but the supervision edges."""
    return {
        f'{store._key}.{key}': value
        for store in data.stores
        for key, value in store.items()
        if isinstance(value, Tensor) and key != 'edge_label_index'
    }


@splits
@pytest.mark.parametrize('seed', range(4))
def test_other_held_out_edges_change_nothing_that_propagates(split: Split, seed: int) -> None:
    data = random_shop(seed=seed)
    parts = split(data)
    if split is warm_within_cold:
        parts = (parts[0], *parts[3:])  # A new user of a warm pair would be split anew.
    held_out = {pair for part in parts[1:] for pair in pairs_of(part[INTERACTS].edge_label_index)}
    # Cold items stay the same items; otherwise users keep how many interactions they have.
    by_item = split is warm_within_cold or isinstance(split, SplitColdItems)
    changed = replace_held_out(data, held_out, row=0 if by_item else 1)
    changed_pairs = set(pairs_of(changed[INTERACTS].edge_index))
    assert len(changed_pairs & held_out) < len(held_out) / 2

    expected = what_propagates(add_graphs(parts[0]))
    out = what_propagates(add_graphs(split(changed)[0]))
    assert f'{INTERACTS}.edge_index' in expected
    assert f'{CO_INTERACTS}.edge_index' in expected
    assert out.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(out[key], value), key


@splits
@pytest.mark.parametrize('relation', ['co_interacts', 'co_interacts_raw'])
def test_a_graph_from_all_interactions_cannot_be_split(split: Split, relation: str) -> None:
    with pytest.raises(ValueError, match='held out; split first, then add it to the train part'):
        split(AddCoInteractionGraph(k=2, relation=relation)(random_shop()))


@splits
def test_parts_share_the_tensor_that_propagates(split: Split) -> None:
    parts = split(random_shop())[:3]
    assert len({id(part[INTERACTS].edge_index) for part in parts}) == 1


@pytest.mark.parametrize('split', [SplitInteractions(), SplitColdItems(0.3)])
def test_what_is_cached_for_train_serves_validation(split: Split) -> None:
    train, val, _ = split(random_shop())
    model = LightGCN.from_data(train, embedding_dim=4)
    assert model.interaction_graph(train) is model.interaction_graph(val)


@splits
def test_labels_of_an_earlier_split_are_gone(split: Split) -> None:
    """They belong to the supervision edges that the split replaces."""
    data = random_shop()
    data[INTERACTS].edge_label = torch.zeros(data[INTERACTS].num_edges)
    for part in split(data):
        assert torch.equal(supervision_edges(part), part[INTERACTS].edge_label_index)


@pytest.mark.parametrize('split', [SplitInteractions(), SplitColdItems(0.3)])
def test_reverse_edges_would_leak_and_are_refused(split: Split) -> None:
    data = random_shop()
    data['item', 'rev_interacts', 'user'].edge_index = data[INTERACTS].edge_index.flip(0)
    with pytest.raises(ValueError, match=r"'rev_interacts'.*held-out"):
        split(data)
