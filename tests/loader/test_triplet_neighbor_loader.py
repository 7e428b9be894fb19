import copy
import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import HeteroData
from torch_geometric.loader import LinkLoader

from pyg_mmgef.loader import (
    InteractionNeighborSampler,
    TripletLoader,
    TripletNeighborLoader,
    _choose,
    _numbering,
    _triplet_batches,
)
from pyg_mmgef.nn import FREEDOM, MMGEF, VBPR, BPRLoss, LightGCN, Recommender
from pyg_mmgef.transforms import AddReverseInteractions, FuseModalities
from tests.loader.shops import (
    CO_INTERACTS,
    INTERACTS,
    REV_INTERACTS,
    SIMILAR,
    as_stores,
    edges_to_all,
    sampled_shop,
)

Triplets = tuple[Tensor, Tensor, Tensor]


def triplets_of(batch: HeteroData) -> Triplets:
    """The triplets of a batch in ids of the data."""
    users, items = batch['user'], batch['item']
    return (
        users.n_id[users.src_index],
        items.n_id[items.dst_pos_index],
        items.n_id[items.dst_neg_index],
    )


def equal(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def tensors_of(batch: HeteroData) -> list[Tensor]:
    stores = sorted(batch.stores, key=lambda store: str(store._key))
    return [
        store[key] for store in stores for key in sorted(store) if isinstance(store[key], Tensor)
    ]


def same(one: Iterable[HeteroData], other: Iterable[HeteroData]) -> bool:
    return all(
        equal(tensors_of(a), tensors_of(b)) for a, b in zip(list(one), list(other), strict=True)
    )


def assert_of(data: HeteroData, batch: HeteroData) -> None:
    """The batch has rows and edges of the data, in local ids."""
    for node_type in ('user', 'item'):
        nodes = batch[node_type]
        assert nodes.n_id.dtype == torch.int64
        assert nodes.num_nodes == nodes.n_id.numel() == nodes.n_id.unique().numel()
        assert torch.equal(nodes.degree, data[node_type].degree[nodes.n_id])
        assert sum(nodes.num_sampled_nodes) == nodes.num_nodes
    for key in ('x_image', 'has_image'):
        assert torch.equal(batch['item'][key], data['item'][key][batch['item'].n_id])
    for edge_type in batch.edge_types:
        edges, full = batch[edge_type], data[edge_type]
        assert edges.edge_index.dtype == torch.int64
        ends = [batch[edge_type[end]].n_id[edges.edge_index[end]] for end in (0, -1)]
        assert torch.equal(torch.stack(ends), full.edge_index[:, edges.e_id].long())
        assert sum(edges.num_sampled_edges) == edges.e_id.numel()
        if 'edge_weight' in full:
            assert torch.equal(edges.edge_weight, full.edge_weight[edges.e_id])


@pytest.mark.parametrize('stores', [False, True])
@pytest.mark.parametrize('num_item_layers', [1, 2])
def test_a_batch_has_all_neighbors(num_item_layers: int, stores: bool) -> None:
    data = sampled_shop(density=0.06)
    loader = TripletNeighborLoader(
        as_stores(data) if stores else data, [-1, -1], 4, num_item_layers=num_item_layers
    )
    for batch in loader:
        assert_of(data, batch)
        users, items, negatives = triplets_of(batch)
        seeds = {'user': users.unique(), 'item': torch.cat([items, negatives]).unique()}
        for node_type, ids in seeds.items():
            assert torch.equal(batch[node_type].n_id[: ids.numel()], ids)
        graphs = dict.fromkeys([SIMILAR, CO_INTERACTS], num_item_layers)
        hops = {INTERACTS: 2, REV_INTERACTS: 2}
        assert {key: batch[key].num_hops for key in batch.edge_types} == hops | graphs
        expected = edges_to_all(data, seeds, [hops, graphs])
        assert {key: sorted(batch[key].e_id.tolist()) for key in batch.edge_types} == expected


@pytest.mark.parametrize('stores', [False, True])
@pytest.mark.parametrize('shared_negatives', [False, True])
@pytest.mark.parametrize('num_negatives', [0, 1, 3])
def test_triplets_are_those_of_the_triplet_loader(
    num_negatives: int, shared_negatives: bool, stores: bool
) -> None:
    if shared_negatives and num_negatives == 0:
        pytest.skip('nothing to share')
    data = sampled_shop()
    options: dict[str, Any] = {
        'batch_size': 16,
        'shuffle': True,
        'num_negatives': num_negatives,
        'shared_negatives': shared_negatives,
    }
    loader = TripletNeighborLoader(as_stores(data) if stores else data, [2], **options)
    expected = TripletLoader(data, **options)
    assert len(loader) == len(expected)
    for _ in range(2):
        for batch, triplets in zip(loader, expected, strict=True):
            assert equal(triplets_of(batch), triplets)
            assert_of(data, batch)


@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize('num_replicas', [1, 2, 3])
def test_replicas(num_replicas: int, num_workers: int) -> None:
    data = sampled_shop()
    for rank in range(num_replicas):
        options: dict[str, Any] = {
            'batch_size': 20,
            'shuffle': True,
            'uniform_users': True,
            'popularity': 0.5,
            'num_replicas': num_replicas,
            'rank': rank,
            'num_workers': num_workers,
        }
        loader, expected = (
            TripletNeighborLoader(data, [2], **options),
            TripletLoader(data, **options),
        )
        for number, (batch, triplets) in enumerate(zip(loader, expected, strict=True)):
            assert equal(triplets_of(batch), triplets)
            assert loader.loss_weight(number) == expected.loss_weight(number)


def test_replicas_have_the_neighbors_of_one_process() -> None:
    data = sampled_shop(density=0.5)

    def neighbors(num_replicas: int, rank: int) -> list[HeteroData]:
        loader = TripletNeighborLoader(
            data, [2, 2], 24, shuffle=True, num_replicas=num_replicas, rank=rank
        )
        return list(loader)

    for whole, *parts in zip(neighbors(1, 0), neighbors(2, 0), neighbors(2, 1), strict=True):
        for edge_type in (INTERACTS, REV_INTERACTS):
            expected = set(whole[edge_type].e_id.tolist())
            for part in parts:
                assert set(part[edge_type].e_id.tolist()) <= expected


@pytest.mark.parametrize('dtype', [torch.int32, torch.int64])
def test_same_seed_same_batches(dtype: torch.dtype) -> None:
    data = sampled_shop(density=0.4, dtype=dtype)

    def epochs(seed: int) -> list[HeteroData]:
        generator = torch.Generator().manual_seed(seed)
        loader = TripletNeighborLoader(data, [2, 2], 16, shuffle=True, generator=generator)
        return [*loader, *loader]

    state = torch.get_rng_state()
    first = epochs(0)
    assert torch.equal(torch.get_rng_state(), state)
    for batch in first:
        assert_of(data, batch)
    assert same(first, epochs(0))
    assert not equal(first[0][INTERACTS].e_id[:8], epochs(1)[0][INTERACTS].e_id[:8])


def test_batches_and_epochs_have_other_neighbors() -> None:
    """Also where their triplets are the same."""
    data = sampled_shop(density=0.5)
    data[INTERACTS].edge_label_index = data[INTERACTS].edge_index[:, :1].repeat(1, 4)
    loader = TripletNeighborLoader(data, [3], 1)
    sampled = {tuple(batch[REV_INTERACTS].e_id.tolist()) for _ in range(3) for batch in loader}
    assert len(sampled) > 6


@pytest.mark.parametrize('persistent_workers', [False, True])
def test_workers(persistent_workers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_triplet_batches, 'SAMPLES_AT_ONCE', 60)  # Groups of three batches.
    data = sampled_shop(density=0.4)

    def epochs(num_workers: int) -> list[HeteroData]:
        loader = TripletNeighborLoader(
            data,
            [2, 2],
            20,
            shuffle=True,
            num_workers=num_workers,
            persistent_workers=persistent_workers,
        )
        return [*loader, *loader]

    first = epochs(1)
    for batch in first:
        assert_of(data, batch)
    assert same(first, epochs(1))
    assert same(first, epochs(2))  # The number of workers changes nothing.


def test_a_spawned_worker_samples_as_a_forked_one() -> None:
    data = sampled_shop(density=0.4)
    batches = []
    for context in ('fork', 'spawn'):
        loader = TripletNeighborLoader(data, [2, 2], 40, shuffle=True, num_workers=1)
        loader.multiprocessing_context = context
        batches.append(list(loader))
    assert same(*batches)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_goes_on_from_a_saved_state(num_workers: int) -> None:
    data = sampled_shop(density=0.4)

    def loader(seed: int) -> TripletNeighborLoader:
        return TripletNeighborLoader(
            data,
            [2, 2],
            16,
            shuffle=True,
            generator=torch.Generator().manual_seed(seed),
            num_workers=num_workers,
        )

    first, second = loader(1), loader(2)
    list(first)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    expected = [*first, *first]
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert same([*second, *second], expected)


def test_copies_sample_the_same() -> None:
    loader = TripletNeighborLoader(sampled_shop(density=0.4), [2], 16, shuffle=True)
    list(loader)
    copies = copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))
    expected = list(loader)
    assert all(same(other, expected) for other in copies)


def test_without_the_extension_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sampled_shop(density=0.4)
    assert _choose._neighbors is not None, 'not built; is there a C++ compiler?'
    expected = list(TripletNeighborLoader(data, [3, 2], 16, shuffle=True))
    monkeypatch.setattr(_choose, '_neighbors', None)
    monkeypatch.setattr(_numbering, '_neighbors', None)
    assert same(TripletNeighborLoader(data, [3, 2], 16, shuffle=True), expected)


def test_is_what_the_link_loader_of_pyg_yields() -> None:
    data = sampled_shop(density=0.1)
    del data[INTERACTS].time, data[INTERACTS].rating
    ours = TripletNeighborLoader(data, [-1, -1], 16)
    theirs = LinkLoader(
        data,
        link_sampler=InteractionNeighborSampler(data, [-1, -1]),
        edge_label_index=INTERACTS,
        neg_sampling='triplet',
        batch_size=16,
    )
    for one, other in zip(ours, theirs, strict=True):
        assert set(one.node_types) == set(other.node_types)
        assert set(one.edge_types) == set(other.edge_types)
        assert equal(triplets_of(one)[:2], triplets_of(other)[:2])
        for store in (*one.node_stores, *one.edge_stores):
            theirs_too = set(other[store._key].keys()) - {'input_id', 'seed_time'}
            assert {key for key in store if store[key] is not None} - {'num_hops'} == {
                key for key in theirs_too if other[store._key][key] is not None
            }


def test_only_what_is_sampled_is_in_a_batch() -> None:
    data = sampled_shop()
    data[INTERACTS].edge_label_index = data[INTERACTS].edge_index[:, :7]
    data[INTERACTS].edge_label = torch.ones(7)
    data['item'].names = ['a name'] * 25
    batch = next(iter(TripletNeighborLoader(data, [1], relations=['co_interacts'])))
    assert batch.edge_types == [INTERACTS, CO_INTERACTS, REV_INTERACTS]
    assert 'names' not in batch['item']
    assert set(batch[INTERACTS].keys()) == {
        *('edge_index', 'time', 'rating', 'e_id', 'num_sampled_edges', 'num_hops')
    }
    assert torch.equal(torch.stack(triplets_of(batch)[:2]), data[INTERACTS].edge_label_index)
    batch = next(iter(TripletNeighborLoader(data, [], num_item_layers=0)))
    assert [batch[edge_type].num_edges for edge_type in batch.edge_types] == [0, 0]
    assert batch['user'].num_nodes == batch['user'].src_index.unique().numel()


def test_a_batch_does_not_grow_with_the_shop() -> None:
    sizes = []
    for factor in (1, 10):
        num_users = 300 * factor
        generator = torch.Generator().manual_seed(0)
        data = HeteroData()
        data['user'].num_nodes = data['item'].num_nodes = num_users
        user = torch.arange(num_users).repeat_interleave(20)
        item = torch.randint(num_users, (user.numel(),), generator=generator)
        data[INTERACTS].edge_index = torch.stack([user, item])
        batch = next(iter(TripletNeighborLoader(AddReverseInteractions()(data), [3], 8)))
        sizes.append(sum(tensor.nbytes for tensor in tensors_of(batch)))
    assert sizes[1] < 1.2 * sizes[0]


MODELS: dict[str, Callable[[HeteroData], Recommender]] = {
    'LightGCN': lambda data: LightGCN.from_data(data, embedding_dim=4, edge_dropout=0.2),
    'MMGEF': lambda data: MMGEF.from_data(data, embedding_dim=4),
    'FREEDOM': lambda data: FREEDOM.from_data(data, embedding_dim=4),
    'VBPR': lambda data: VBPR.from_data(data, embedding_dim=4),
}


@pytest.mark.parametrize('name', MODELS)
def test_with_all_neighbors_a_step_is_that_on_the_whole_data(name: str) -> None:
    data = FuseModalities()(sampled_shop(60, 50, 0.1))
    torch.manual_seed(0)
    model, loss_fn = MODELS[name](data), BPRLoss(0.1)
    loader = TripletNeighborLoader(data, [-1, -1], 16)
    for epoch in range(2):
        model.start_epoch(data, epoch)
        if model.changes_with_epoch:
            loader.sample_from(model.epoch_data(data))
        for batch in list(loader)[:3]:
            users, items = batch['user'], batch['item']
            local = users.src_index, items.dst_pos_index, items.dst_neg_index
            losses = [
                model.loss(batch, *local, loss_fn),
                model.loss(data, *triplets_of(batch), loss_fn),
            ]
            torch.testing.assert_close(*losses)
            gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in losses]
            torch.testing.assert_close(*gradients)


def test_other_data_for_an_epoch() -> None:
    data = sampled_shop(density=0.4)
    loader = TripletNeighborLoader(data, [-1], 16)
    expected = [triplets_of(batch) for batch in loader]
    part = copy.copy(data)
    part[INTERACTS].edge_index = data[INTERACTS].edge_index[:, ::2]
    for key in ('time', 'rating'):
        part[INTERACTS][key] = data[INTERACTS][key][::2]
    part = AddReverseInteractions()(part)
    loader.sample_from(part)
    for batch, triplets in zip(loader, expected, strict=True):
        assert_of(part, batch)
        assert equal(triplets_of(batch)[:2], triplets[:2])
    with pytest.raises(ValueError, match=r"must have the users and items .*'user': 30.*'user': 31"):
        loader.sample_from(sampled_shop(31))
    loader = TripletNeighborLoader(data, [1], num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match="workers with 'persistent_workers' keep the data"):
        loader.sample_from(part)


def test_data_stays_as_it_was() -> None:
    data = sampled_shop()
    data[INTERACTS].edge_label_index = data[INTERACTS].edge_index[:, :7]
    before = {store._key: dict(store) for store in data.stores}
    list(TripletNeighborLoader(data, [2], 16))
    assert {store._key: set(store) for store in data.stores} == {
        key: set(store) for key, store in before.items()
    }
    assert data[INTERACTS].edge_index is before[INTERACTS]['edge_index']


def test_is_a_data_loader_of_whole_batches() -> None:
    data = sampled_shop()
    loader = TripletNeighborLoader(data, [2], 16, shuffle=True)
    assert isinstance(loader, DataLoader)
    assert loader.batch_size is None
    again = DataLoader(loader.dataset, batch_size=None)
    assert len(again) == len(loader)


def test_repr() -> None:
    data = sampled_shop()
    count = data[INTERACTS].num_edges
    assert repr(TripletNeighborLoader(data, [10, 5], 8)) == (
        f'TripletNeighborLoader({count} interactions, batch_size=8, num_neighbors=[10, 5])'
    )


def test_mistakes() -> None:
    data = sampled_shop()
    with pytest.raises(ValueError, match="'batch_size' must be a positive integer"):
        TripletNeighborLoader(data, [1], 0)
    with pytest.raises(ValueError, match="'num_neighbors' must hold a number for each layer"):
        TripletNeighborLoader(data, [0.5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="'num_workers' must be an integer that is not negative"):
        TripletNeighborLoader(data, [1], num_workers=-1)
    with pytest.raises(ValueError, match="'data' has no train interactions"):
        TripletNeighborLoader(sampled_shop(density=0.0), [1])
    del data[REV_INTERACTS]
    with pytest.raises(ValueError, match='AddReverseInteractions'):
        TripletNeighborLoader(data, [1])
