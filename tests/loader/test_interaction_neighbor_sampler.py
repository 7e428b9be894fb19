import copy
import io
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch_geometric.data import Data, EdgeAttr, HeteroData
from torch_geometric.index import index2ptr
from torch_geometric.loader import LinkLoader, NodeLoader
from torch_geometric.sampler import BaseSampler, HeteroSamplerOutput, NeighborSampler
from torch_geometric.testing import MyGraphStore

from pyg_mmgef.loader import InteractionNeighborSampler, _choose, _numbering
from pyg_mmgef.transforms import AddReverseInteractions
from tests.loader.shops import (
    CO_INTERACTS,
    INTERACTS,
    REV_INTERACTS,
    SIMILAR,
    as_stores,
    assert_consistent,
    edges_to_all,
    neighbors_of,
    sampled_edges,
    sampled_shop,
)

few_examples = settings(max_examples=40, deadline=None)
SEEDS = {'user': torch.tensor([4, 0, 7]), 'item': torch.tensor([24, 3])}
CHANCE = 1e-3


@pytest.fixture(params=['extension', 'numpy'])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == 'numpy':
        monkeypatch.setattr(_choose, '_neighbors', None)
        monkeypatch.setattr(_numbering, '_neighbors', None)
    else:
        assert _choose._neighbors is not None, 'not built; is there a C++ compiler?'
    return request.param


def same(one: HeteroSamplerOutput, other: HeteroSamplerOutput) -> bool:
    return all(
        getattr(one, name).keys() == getattr(other, name).keys()
        and all(
            torch.equal(value, getattr(other, name)[key])
            for key, value in getattr(one, name).items()
        )
        for name in ('node', 'row', 'col', 'edge')
    )


@pytest.mark.parametrize('num_item_layers', [0, 1, 2])
@pytest.mark.parametrize('num_hops', [0, 1, 2, 3])
@pytest.mark.parametrize('dtype', [torch.int32, torch.int64])
def test_all_neighbors(kind: str, num_hops: int, num_item_layers: int, dtype: torch.dtype) -> None:
    data = sampled_shop(density=0.06, dtype=dtype)
    sampler = InteractionNeighborSampler(data, [-1] * num_hops, num_item_layers=num_item_layers)
    out = sampler.sample(SEEDS, seed=0)
    assert_consistent(data, out)
    graphs = dict.fromkeys([SIMILAR, CO_INTERACTS] if num_item_layers else [], num_item_layers)
    expected = edges_to_all(data, SEEDS, [{INTERACTS: num_hops, REV_INTERACTS: num_hops}, graphs])
    assert sampled_edges(out) == expected
    for node_type, ids in SEEDS.items():
        assert torch.equal(out.node[node_type][: ids.numel()], ids)
        assert out.num_sampled_nodes[node_type][0] == ids.numel()
        assert len(out.num_sampled_nodes[node_type]) == max(num_hops, num_item_layers) + 1


@few_examples
@given(
    num_users=st.integers(2, 8),
    num_items=st.integers(4, 8),
    density=st.sampled_from([0.0, 0.2, 0.6]),
    seed=st.integers(0, 1000),
    num_hops=st.integers(0, 3),
    num_item_layers=st.integers(0, 2),
    more=st.integers(0, 3),
)
def test_many_as_good_as_all(
    num_users: int,
    num_items: int,
    density: float,
    seed: int,
    num_hops: int,
    num_item_layers: int,
    more: int,
) -> None:
    data = sampled_shop(num_users, num_items, density, seed)
    seeds = {
        'user': torch.randperm(num_users, generator=torch.Generator().manual_seed(seed))[:2],
        'item': torch.arange(num_items)[: seed % 4],
    }
    sampler = InteractionNeighborSampler(
        data, [num_users + num_items + more] * num_hops, num_item_layers=num_item_layers
    )
    out = sampler.sample(seeds, seed=seed)
    assert_consistent(data, out)
    graphs = dict.fromkeys([SIMILAR, CO_INTERACTS] if num_item_layers else [], num_item_layers)
    hops = {INTERACTS: num_hops, REV_INTERACTS: num_hops}
    assert sampled_edges(out) == edges_to_all(data, seeds, [hops, graphs])


@pytest.mark.parametrize('replace', [False, True])
def test_as_many_as_asked_for(kind: str, replace: bool) -> None:
    data = sampled_shop(density=0.4)
    sampler = InteractionNeighborSampler(data, [3, 2], replace=replace, relations=['similar'])
    out = sampler.sample(SEEDS, seed=1)
    assert_consistent(data, out)
    assert list(out.edge) == sampler.edge_types == [INTERACTS, REV_INTERACTS, SIMILAR]
    repeated = 0
    for edge_type in (INTERACTS, REV_INTERACTS):
        node_type = edge_type[-1]
        degree = data[node_type].degree.tolist()
        first = set(SEEDS[node_type].tolist())
        found = neighbors_of(out, edge_type)
        for node, neighbors in found.items():
            asked = 3 if node in first else 2
            assert len(neighbors) == (asked if replace else min(asked, degree[node]))
            repeated += len(neighbors) - len(set(neighbors))
        assert not {node for node in first if degree[node] > 0} - set(found)
    assert (repeated > 0) == replace
    # Item graphs are never a sample.
    assert {node: len(near) for node, near in neighbors_of(out, SIMILAR).items()} == {24: 3, 3: 3}


def test_numbers_for_each_direction() -> None:
    data = sampled_shop(density=0.4)
    sampler = InteractionNeighborSampler(data, {REV_INTERACTS: [1, 0], INTERACTS: [4, 2]})
    out = sampler.sample(SEEDS, seed=0)
    assert {len(near) for near in neighbors_of(out, REV_INTERACTS).values()} == {1}
    assert max(len(near) for near in neighbors_of(out, INTERACTS).values()) == 4
    assert repr(sampler).startswith(
        "InteractionNeighborSampler({('item', 'rev_interacts', 'user'):"
    )


@pytest.mark.parametrize('replace', [False, True])
@pytest.mark.parametrize('weight_attr', [None, 'rating'])
def test_frequencies_of_neighbors(kind: str, weight_attr: str | None, replace: bool) -> None:
    """Of an item many times, each with a subgraph of its own: all times have passed."""
    data = sampled_shop(density=0.3)
    sampler = InteractionNeighborSampler(
        data, [1], weight_attr=weight_attr, replace=replace, time_attr='time'
    )
    item = data['item'].degree.argmax().repeat(3000)
    nothing = item[:0]
    out = sampler.sample(
        {'user': nothing, 'item': item},
        seed=0,
        time={'user': nothing, 'item': torch.full_like(item, 50)},
    )
    users, items = data[INTERACTS].edge_index
    weight = data[INTERACTS].rating if weight_attr else torch.ones(users.numel())
    chance = torch.zeros(30, dtype=torch.double)
    chance[users[items == item[0]]] = weight[items == item[0]].double()
    found = out.node['user'][out.row[INTERACTS]]
    assert found.numel() == 3000
    counts = torch.bincount(found, minlength=30).double()
    is_user = chance > 0
    assert bool((counts[~is_user] == 0).all())
    expected = chance[is_user] / chance.sum() * counts.sum()
    assert chisquare(counts[is_user].numpy(), expected.numpy()).pvalue > CHANCE


def test_the_estimate_of_a_sum_is_unbiased() -> None:
    data = sampled_shop(density=0.4)
    sampler = InteractionNeighborSampler(data, [3])
    x = torch.arange(30, dtype=torch.double).square()
    items = torch.arange(25)
    estimates = []
    for seed in range(1000):
        out = sampler.sample({'user': items[:0], 'item': items}, seed=seed)
        row, col = out.row[INTERACTS], out.col[INTERACTS]
        num = torch.bincount(col, minlength=25)
        total = torch.zeros(25, dtype=torch.double).index_add_(0, col, x[out.node['user'][row]])
        estimates.append(total * data['item'].degree / num.clamp(min=1))
    user, item = data[INTERACTS].edge_index
    expected = torch.zeros(25, dtype=torch.double).index_add_(0, item, x[user])
    mean, error = torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 1000**0.5
    assert bool(((mean - expected).abs() <= 4.5 * error + 1e-9).all())


@pytest.mark.parametrize('strategy', ['uniform', 'last'])
@pytest.mark.parametrize('replace', [False, True])
@pytest.mark.parametrize('weight_attr', [None, 'rating'])
@pytest.mark.parametrize('is_sorted', [False, True])
def test_nothing_later_than_the_seed(
    kind: str, strategy: str, replace: bool, weight_attr: str | None, is_sorted: bool
) -> None:
    data = sampled_shop(density=0.4)
    if is_sorted:
        edges = data[INTERACTS]
        order = edges.time.argsort()
        edges.edge_index, edges.time = edges.edge_index[:, order], edges.time[order]
        data = AddReverseInteractions()(data)
    sampler = InteractionNeighborSampler(
        data,
        [2, 2],
        time_attr='time',
        temporal_strategy=strategy,
        replace=replace,
        weight_attr=weight_attr,
    )
    assert sampler.disjoint
    # The same item at two times has two subgraphs.
    seeds = {'user': torch.tensor([4, 7]), 'item': torch.tensor([3, 3, 5])}
    times = {'user': torch.tensor([30, 10]), 'item': torch.tensor([10, 40, -1])}
    out = sampler.sample(seeds, seed=0, time=times)
    assert_consistent(data, out)
    assert out.batch is not None
    assert out.batch['user'][:2].tolist() == [0, 1]
    assert out.batch['item'][:3].tolist() == [2, 3, 4]
    of_seed = torch.tensor([30, 10, 10, 40, -1])
    time = data[INTERACTS].time
    for edge_type in (INTERACTS, REV_INTERACTS):
        row, col = out.row[edge_type], out.col[edge_type]
        batch = out.batch[edge_type[0]][row]
        assert torch.equal(batch, out.batch[edge_type[-1]][col])
        assert bool((time[out.edge[edge_type]] <= of_seed[batch]).all())
    item = data[INTERACTS].edge_index[1]
    known = sorted(time[(item == 3) & (time <= 40)].tolist())
    found = sorted(time[out.edge[INTERACTS][out.col[INTERACTS] == 1]].tolist())
    assert len(found) == min(2, len(known))
    if strategy == 'last':
        assert found == known[-2:]
    assert not bool((out.col[INTERACTS] == 2).any())  # Item 5 has no interaction before its time.


def test_the_past_is_sampled_uniformly() -> None:
    data = sampled_shop(density=0.5)
    sampler = InteractionNeighborSampler(data, [1], time_attr='time')
    user, item = data[INTERACTS].edge_index
    known = ((item == 3) & (data[INTERACTS].time <= 30)).nonzero().view(-1)
    lists = 4000
    seeds = {'user': user[:0], 'item': torch.full((lists,), 3)}
    out = sampler.sample(seeds, seed=0, time={'user': user[:0], 'item': torch.full((lists,), 30)})
    counts = torch.bincount(out.edge[INTERACTS], minlength=user.numel())[known]
    assert int(counts.sum()) == lists
    assert chisquare(counts.numpy()).pvalue > CHANCE


def test_no_interactions_and_isolated_nodes(kind: str) -> None:
    data = sampled_shop(density=0.0)
    out = InteractionNeighborSampler(data, [3, 3], num_item_layers=0).sample(SEEDS, seed=0)
    assert_consistent(data, out)
    assert {key: ids.tolist() for key, ids in out.node.items()} == {
        key: ids.tolist() for key, ids in SEEDS.items()
    }
    assert sampled_edges(out) == {INTERACTS: [], REV_INTERACTS: []}
    assert out.num_sampled_edges == {INTERACTS: [0, 0], REV_INTERACTS: [0, 0]}
    nothing = torch.tensor([], dtype=torch.long)
    out = InteractionNeighborSampler(data, [3]).sample({'user': nothing, 'item': nothing}, seed=0)
    assert all(ids.numel() == 0 for ids in (*out.node.values(), *out.edge.values()))


def test_an_item_that_is_reached_by_one_part_is_not_expanded_by_the_other() -> None:
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 2, 5
    # Items 0 and 1 share user 0, item 2 has user 1; item 0 is like 2, which is like 3; 1 like 4.
    data[INTERACTS].edge_index = torch.tensor([[0, 0, 1], [0, 1, 2]])
    data[SIMILAR].edge_index = torch.tensor([[2, 3, 4], [0, 2, 1]])
    data[SIMILAR].edge_weight = torch.ones(3)
    data = AddReverseInteractions()(data)
    seeds = {'user': torch.tensor([], dtype=torch.long), 'item': torch.tensor([0])}
    one = InteractionNeighborSampler(data, [-1, -1, -1], num_item_layers=1).sample(seeds, seed=0)
    assert sampled_edges(one) == {INTERACTS: [0, 1], REV_INTERACTS: [0, 1], SIMILAR: [0]}
    two = InteractionNeighborSampler(data, [-1], num_item_layers=2).sample(seeds, seed=0)
    assert sampled_edges(two) == {INTERACTS: [0], REV_INTERACTS: [], SIMILAR: [0, 1]}
    assert two.node['item'].tolist() == [0, 2, 3]
    assert two.num_sampled_nodes == {'user': [0, 1, 0], 'item': [1, 1, 1]}


def test_an_item_that_both_parts_reach_is_expanded_by_both() -> None:
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 1, 3
    # Item 1 is two interactions away from item 0, and its neighbour in the item graph.
    data[INTERACTS].edge_index = torch.tensor([[0, 0], [0, 1]])
    data[SIMILAR].edge_index = torch.tensor([[1, 2], [0, 1]])
    data[SIMILAR].edge_weight = torch.ones(2)
    data = AddReverseInteractions()(data)
    sampler = InteractionNeighborSampler(data, [-1, -1, -1], num_item_layers=2)
    out = sampler.sample(
        {'user': torch.tensor([], dtype=torch.long), 'item': torch.tensor([0])}, seed=0
    )
    assert sampled_edges(out) == {INTERACTS: [0, 1], REV_INTERACTS: [0, 1], SIMILAR: [0, 1]}
    assert sorted(out.node['item'].tolist()) == [0, 1, 2]


@pytest.mark.parametrize('options', [{}, {'replace': True}, {'weight_attr': 'rating'}])
def test_same_seed_same_sample_on_any_number_of_threads(options: dict[str, Any]) -> None:
    data = sampled_shop(2000, 1000, 0.02)
    sampler = InteractionNeighborSampler(data, [3, 3], **options)
    seeds = {'user': torch.arange(1500), 'item': torch.arange(900)}
    out = sampler.sample(seeds, seed=5)
    torch.set_num_threads(4)
    assert same(sampler.sample(seeds, seed=5), out)
    torch.set_num_threads(1)
    assert not same(sampler.sample(seeds, seed=6), out)


@pytest.mark.parametrize('options', [{}, {'replace': True}, {'weight_attr': 'rating'}])
def test_without_the_extension_the_same(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    assert _choose._neighbors is not None, 'not built; is there a C++ compiler?'
    sampler = InteractionNeighborSampler(sampled_shop(200, 100, 0.2), [4, 3, 2], **options)
    seeds = {'user': torch.arange(0, 100, 7), 'item': torch.arange(0, 100, 9)}
    compiled = sampler.sample(seeds, seed=3)
    monkeypatch.setattr(_choose, '_neighbors', None)
    monkeypatch.setattr(_numbering, '_neighbors', None)
    assert same(sampler.sample(seeds, seed=3), compiled)


def test_neighbors_of_a_node_do_not_depend_on_other_seeds() -> None:
    sampler = InteractionNeighborSampler(sampled_shop(density=0.5), [3, 3])
    nothing = torch.tensor([], dtype=torch.long)
    many = sampler.sample({'user': torch.arange(30), 'item': torch.arange(25)}, seed=2)
    one = sampler.sample({'user': nothing, 'item': torch.tensor([7])}, seed=2)
    for edge_type in (INTERACTS, REV_INTERACTS):
        of_many = neighbors_of(many, edge_type)
        for node, neighbors in neighbors_of(one, edge_type).items():
            assert neighbors == of_many[node]


def test_link_loader_of_pyg() -> None:
    data = sampled_shop(density=0.3)
    sampler = InteractionNeighborSampler(data, [-1, -1])
    assert isinstance(sampler, BaseSampler)
    loader = LinkLoader(
        data,
        link_sampler=sampler,
        edge_label_index=INTERACTS,
        neg_sampling='triplet',
        batch_size=16,
        shuffle=False,
    )
    pairs = data[INTERACTS].edge_index
    first = 0
    for batch in loader:
        users, items = batch['user'], batch['item']
        size = users.src_index.numel()
        expected = pairs[:, first : first + size]
        assert torch.equal(users.n_id[users.src_index], expected[0])
        assert torch.equal(items.n_id[items.dst_pos_index], expected[1])
        assert items.dst_neg_index.shape == (size,)
        assert torch.equal(items.x_image, data['item'].x_image[items.n_id])
        assert torch.equal(items.has_image, data['item'].has_image[items.n_id])
        for node_type in ('user', 'item'):
            nodes = batch[node_type]
            assert torch.equal(nodes.degree, data[node_type].degree[nodes.n_id])
            assert nodes.num_nodes == nodes.n_id.numel() == nodes.n_id.unique().numel()
        for edge_type in (INTERACTS, REV_INTERACTS, SIMILAR, CO_INTERACTS):
            edges, full = batch[edge_type], data[edge_type]
            ends = torch.stack(
                [batch[edge_type[end]].n_id[edges.edge_index[end]] for end in (0, -1)]
            )
            assert torch.equal(ends, full.edge_index[:, edges.e_id])
        similar = batch[SIMILAR]
        assert torch.equal(similar.edge_weight, data[SIMILAR].edge_weight[similar.e_id])
        first += size
    assert first == pairs.size(1)


def test_link_loader_of_stores() -> None:
    data = sampled_shop(density=0.3)
    stores = as_stores(data)
    sampler = InteractionNeighborSampler(stores, [2, 2])
    loader = LinkLoader(
        stores, link_sampler=sampler, edge_label_index=INTERACTS, batch_size=16, shuffle=False
    )
    batch = next(iter(loader))
    label = torch.stack(
        [
            batch[kind].n_id[batch[INTERACTS].edge_label_index[row]]
            for row, kind in enumerate(('user', 'item'))
        ]
    )
    assert torch.equal(label, data[INTERACTS].edge_index[:, :16])
    assert torch.equal(batch['item'].x_image, data['item'].x_image[batch['item'].n_id])


@pytest.mark.parametrize('weight_attr', [None, 'rating'])
def test_stores_give_the_same(weight_attr: str | None) -> None:
    data = sampled_shop(density=0.3)
    options: dict[str, Any] = {'weight_attr': weight_attr, 'relations': ['co_interacts', 'similar']}
    one = InteractionNeighborSampler(data, [2, 2], **options)
    other = InteractionNeighborSampler(as_stores(data), [2, 2], **options)
    assert same(one.sample(SEEDS, seed=0), other.sample(SEEDS, seed=0))
    assert set(InteractionNeighborSampler(as_stores(data), [1]).relations) == {
        'similar',
        'co_interacts',
    }


@pytest.mark.parametrize('with_size', [False, True])
def test_a_store_of_sorted_edges(with_size: bool) -> None:
    data = sampled_shop(density=0.06)
    features, _ = as_stores(data)
    graphs = MyGraphStore()
    for edge_type in (INTERACTS, REV_INTERACTS, SIMILAR):
        edge_index = data[edge_type].edge_index
        order = edge_index[1].argsort(stable=True)
        size = data[edge_type[0]].num_nodes, data[edge_type[-1]].num_nodes
        row, col = edge_index[:, order]
        if edge_type == REV_INTERACTS:
            layout = EdgeAttr(edge_type, 'csc', size=size, is_sorted=True)
            graphs.put_edge_index((row, index2ptr(col, size[1])), layout)
        else:
            known = size if with_size else None
            graphs.put_edge_index(
                (row, col), EdgeAttr(edge_type, 'coo', size=known, is_sorted=True)
            )
        data[edge_type].edge_index = edge_index[:, order]
    sampler = InteractionNeighborSampler((features, graphs), [-1, -1])
    out = sampler.sample(SEEDS, seed=0)
    assert_consistent(data, out)
    hops = {INTERACTS: 2, REV_INTERACTS: 2}
    assert sampled_edges(out) == edges_to_all(data, SEEDS, [hops, {SIMILAR: 1}])


def test_reversed_interactions_in_another_order_share_no_attribute() -> None:
    data = sampled_shop(density=0.3)
    options: dict[str, Any] = {'time_attr': 'time', 'weight_attr': 'rating'}
    expected = InteractionNeighborSampler(data, [-1, -1], **options)
    data = copy.copy(data)
    order = data[REV_INTERACTS].edge_index[1].argsort(stable=True)
    data[REV_INTERACTS].edge_index = data[REV_INTERACTS].edge_index[:, order]
    for broken in (data, as_stores(data)):
        with pytest.raises(ValueError, match=r"so they can't share '(time|rating)'; give them an"):
            InteractionNeighborSampler(broken, [-1, -1], **options)
    for key in ('time', 'rating'):
        data[REV_INTERACTS][key] = data[INTERACTS][key][order]
    time = {'user': torch.tensor([25, 30, 1]), 'item': torch.tensor([49, 20])}
    seeds = {'user': torch.tensor([4, 7, 7]), 'item': torch.tensor([3, 9])}
    nodes = expected.sample(seeds, seed=0, time=time).num_sampled_nodes
    for mended in (data, as_stores(data)):
        out = InteractionNeighborSampler(mended, [-1, -1], **options).sample(
            seeds, seed=0, time=time
        )
        assert out.num_sampled_nodes == nodes


def test_a_store_of_short_attributes() -> None:
    features, graphs = as_stores(sampled_shop())
    features.put_tensor(torch.ones(5), group_name=INTERACTS, attr_name='short', index=None)
    match = r"'short' of the edges .* one number for each of"
    with pytest.raises(ValueError, match=match):
        InteractionNeighborSampler((features, graphs), [1], weight_attr='short')
    with pytest.raises(ValueError, match=match):
        InteractionNeighborSampler((features, graphs), [1], time_attr='short')


def test_a_store_of_broken_edges() -> None:
    data = sampled_shop()
    features, graphs = as_stores(data)
    num_edges = data[INTERACTS].num_edges
    layout = EdgeAttr(INTERACTS, 'csc', size=(30, 25), is_sorted=True)
    colptr = torch.tensor([0, num_edges, *[num_edges + 1] * 24])
    graphs.put_edge_index((torch.zeros(num_edges, dtype=torch.long), colptr), layout)
    with pytest.raises(ValueError, match=rf'where its edges begin, from 0 to {num_edges} \(got'):
        InteractionNeighborSampler((features, graphs), [1])
    graphs.put_edge_index((torch.full((num_edges,), 30), colptr.clamp(max=num_edges)), layout)
    with pytest.raises(ValueError, match=r'sources of .* must hold user ids in \[0, 30\)'):
        InteractionNeighborSampler((features, graphs), [1])


def test_loaders_with_times() -> None:
    data = sampled_shop(density=0.3)
    sampler = InteractionNeighborSampler(data, [2], time_attr='time')
    loader = LinkLoader(
        data,
        link_sampler=sampler,
        edge_label_index=INTERACTS,
        edge_label_time=data[INTERACTS].time - 1,
        neg_sampling='triplet',
        batch_size=8,
    )
    time = data[INTERACTS].time
    for number, batch in enumerate(loader):
        own = time[8 * number : 8 * number + 8] - 1
        for edge_type in (INTERACTS, REV_INTERACTS):
            edges = batch[edge_type]
            tree = batch[edge_type[0]].batch[edges.edge_index[0]]
            assert bool((time[edges.e_id] <= own[tree]).all())
    nodes = NodeLoader(
        data,
        node_sampler=sampler,
        input_nodes=('item', torch.tensor([3, 4])),
        input_time=torch.tensor([9, 20]),
        batch_size=2,
    )
    assert next(iter(nodes))['item'].n_id[:2].tolist() == [3, 4]


def test_node_loader_of_pyg() -> None:
    data = sampled_shop(density=0.3)
    sampler = InteractionNeighborSampler(data, [-1])
    batches = list(NodeLoader(data, node_sampler=sampler, input_nodes='user', batch_size=7))
    seeds = torch.cat([batch['user'].n_id[: batch['user'].batch_size] for batch in batches])
    assert torch.equal(seeds, torch.arange(30))


@pytest.mark.parametrize('num_workers', [0, 2])
def test_epochs_of_a_pyg_loader_differ(num_workers: int) -> None:
    data = sampled_shop(density=0.5)

    def epochs() -> list[list[HeteroData]]:
        torch.manual_seed(0)
        sampler = InteractionNeighborSampler(data, [2])
        loader = NodeLoader(
            data, node_sampler=sampler, input_nodes='item', batch_size=9, num_workers=num_workers
        )
        return [list(loader), list(loader)]

    one, two = epochs()
    again, _ = epochs()
    ids = [torch.cat([batch[INTERACTS].e_id for batch in batches]) for batches in (one, again, two)]
    assert torch.equal(ids[0], ids[1])
    assert not torch.equal(ids[0], ids[2])


@pytest.mark.sparse
@pytest.mark.filterwarnings('ignore:Using .NeighborSampler. without')
def test_all_neighbors_of_pyg() -> None:
    pytest.importorskip('torch_sparse')
    data = sampled_shop(density=0.1)
    for relation in (SIMILAR, CO_INTERACTS):
        del data[relation]
    peer = NeighborSampler(data, [-1, -1])
    loaders = [
        LinkLoader(data, link_sampler=sampler, edge_label_index=INTERACTS, batch_size=16)
        for sampler in (peer, InteractionNeighborSampler(data, [-1, -1]))
    ]
    for theirs, ours in zip(*loaders, strict=True):
        for edge_type in (INTERACTS, REV_INTERACTS):
            assert torch.equal(
                theirs[edge_type].e_id.sort().values, ours[edge_type].e_id.sort().values
            )
        for node_type in ('user', 'item'):
            assert torch.equal(
                theirs[node_type].n_id.sort().values, ours[node_type].n_id.sort().values
            )


def test_copies_sample_the_same() -> None:
    data = sampled_shop(density=0.4)
    sampler = InteractionNeighborSampler(data, [2])
    copies = copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))
    expected = sampler.sample(SEEDS, seed=9)
    assert all(same(other.sample(SEEDS, seed=9), expected) for other in copies)


def test_data_stays_as_it_was() -> None:
    data = sampled_shop()
    before = io.BytesIO()
    torch.save(data.to_dict(), before)
    sampler = InteractionNeighborSampler(data, [2], time_attr='time', weight_attr='rating')
    sampler.sample(SEEDS, seed=0, time={key: ids * 9 for key, ids in SEEDS.items()})
    after = io.BytesIO()
    torch.save(data.to_dict(), after)
    assert before.getvalue() == after.getvalue()


def test_repr() -> None:
    assert repr(InteractionNeighborSampler(sampled_shop(), [10, 10])) == (
        "InteractionNeighborSampler([10, 10], relations=['similar', 'co_interacts'])"
    )


def test_unprepared_data() -> None:
    data = sampled_shop()
    del data[REV_INTERACTS]
    with pytest.raises(
        ValueError, match=r'lacks .*rev_interacts.*; apply .*AddReverseInteractions'
    ):
        InteractionNeighborSampler(data, [1])
    data = sampled_shop()
    del data['item'].degree
    for unprepared in (data, as_stores(data)):
        with pytest.raises(ValueError, match=r"lacks data\['item'\].degree; apply"):
            InteractionNeighborSampler(unprepared, [1])
    with pytest.raises(ValueError, match=r'must be a HeteroData, or a tuple .* \(got Data\)'):
        InteractionNeighborSampler(Data(), [1])


@pytest.mark.parametrize('stores', [False, True])
def test_interactions_that_changed_since_they_were_prepared(stores: bool) -> None:
    data = sampled_shop()
    changed = data.edge_subgraph({INTERACTS: torch.arange(data[INTERACTS].num_edges - 1)})
    for key, edge_type in (('item', INTERACTS), ('user', REV_INTERACTS)):
        stale = copy.copy(data)
        stale[edge_type].edge_index = data[edge_type].edge_index[:, 1:]
        match = rf"data\['{key}'\].degree isn't how many interactions each {key} has; .* again"
        with pytest.raises(ValueError, match=match):
            InteractionNeighborSampler(as_stores(stale) if stores else stale, [1])
    again = AddReverseInteractions()(changed)
    InteractionNeighborSampler(as_stores(again) if stores else again, [1])


def test_mistakes() -> None:
    data = sampled_shop()
    for wrong in ([1.5], [-2], [True], 3, [None]):
        with pytest.raises(ValueError, match="'num_neighbors' must hold a number for each layer"):
            InteractionNeighborSampler(data, wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'num_neighbors' must have the keys"):
        InteractionNeighborSampler(data, {INTERACTS: [1], SIMILAR: [1]})
    with pytest.raises(ValueError, match="'num_item_layers' must be an integer that is not neg"):
        InteractionNeighborSampler(data, [1], num_item_layers=-1)
    with pytest.raises(ValueError, match="'temporal_strategy' must be one of 'uniform', 'last'"):
        InteractionNeighborSampler(data, [1], temporal_strategy='first')
    with pytest.raises(ValueError, match=r"'relations' names 'merged', .*\['similar', 'co_inter"):
        InteractionNeighborSampler(data, [1], relations=['merged'])
    with pytest.raises(ValueError, match=r"'weight_attr' names 'price', which the edges .* don't"):
        InteractionNeighborSampler(data, [1], weight_attr='price')
    with pytest.raises(ValueError, match=r"'time_attr' names 'when', which the edges .* don't"):
        InteractionNeighborSampler(data, [1], time_attr='when')
    for weight in (0.0, -1.0, float('nan'), float('inf')):
        broken = copy.copy(data)
        broken[INTERACTS].rating = data[INTERACTS].rating.clone()
        broken[INTERACTS].rating[3] = weight
        with pytest.raises(ValueError, match="'weight_attr', 'rating', must hold positive, finite"):
            InteractionNeighborSampler(broken, [1], weight_attr='rating')
    broken = copy.copy(data)
    broken[INTERACTS].time = data[INTERACTS].time.double()
    broken[INTERACTS].time[3] = float('nan')
    with pytest.raises(ValueError, match="'time_attr', 'time', must not be NaN for any"):
        InteractionNeighborSampler(broken, [1], time_attr='time')
    broken = copy.copy(data)
    broken[SIMILAR].edge_index = data[SIMILAR].edge_index + 1
    with pytest.raises(ValueError, match="'edge_index' holds the item id 25"):
        InteractionNeighborSampler(broken, [1])


def test_wrong_seeds() -> None:
    sampler = InteractionNeighborSampler(sampled_shop(), [1])
    item = torch.tensor([1])
    with pytest.raises(ValueError, match=r"'item' must hold item ids in \[0, 25\)"):
        sampler.sample({'user': item, 'item': torch.tensor([25])}, seed=0)
    with pytest.raises(ValueError, match=r'items to sample around must be distinct \(got 2, .* 1'):
        sampler.sample({'user': item, 'item': torch.tensor([1, 1])}, seed=0)
    with pytest.raises(ValueError, match="'seed' must be an integer that is not negative"):
        sampler.sample({'item': item}, seed=-1)
    with pytest.raises(ValueError, match="the sampler has no 'time_attr'"):
        sampler.sample({'item': item}, seed=0, time={'item': item})
    with pytest.raises(ValueError, match=r"must be users and items \(got 'movie'\)"):
        sampler.sample({'movie': item}, seed=0)
    timed = InteractionNeighborSampler(sampled_shop(), [1], time_attr='time')
    with pytest.raises(ValueError, match="needs the time of each seed; pass 'edge_label_time'"):
        timed.sample({'item': item}, seed=0)
    for time in ({}, {'item': torch.tensor([1, 2])}, {'item': torch.tensor([float('nan')])}):
        with pytest.raises(ValueError, match="'time' must have the time of each of the 1 items"):
            timed.sample({'item': item}, seed=0, time=time)
