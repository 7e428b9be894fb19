"""What each process of tests/distributed/test_shards.py compares with the result of one."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.catalog import Catalog, LinearFoldIn
from pyg_mmgef.distributed import (
    ShardedData,
    ShardedInteractions,
    ShardedTripletLoader,
    _cell_shards,
    _exchange,
    _ring,
    read_features,
    read_interactions,
    sharded_co_interaction_graph,
    sharded_evaluate_ranking,
    sharded_export,
    sharded_knn_graph,
    sharded_layer_mean,
    sharded_normalize_similarity,
    sharded_recommend_to_parquet,
)
from pyg_mmgef.distributed import ranking as ranking_shards
from pyg_mmgef.distributed._exchange import (
    even_starts,
    fetch_rows,
    gather_rows,
    place_in,
    visit,
)
from pyg_mmgef.graph import co_interaction_graph, knn_graph
from pyg_mmgef.graph.weights import bipartite_normalize, normalize_similarity
from pyg_mmgef.loader import TripletNeighborLoader
from pyg_mmgef.nn.parts._fold_in import map_to_users
from pyg_mmgef.ranking import evaluate_ranking, recommend
from pyg_mmgef.serving.export_folder import load_export
from pyg_mmgef.sparse import CSRPair, layer_mean
from tests.distributed.sharded_shop import by_user, shard_of
from tests.loader.shops import sampled_shop

NUM_USERS, NUM_ITEMS = 300, 101
Check: TypeAlias = Callable[[Path], None]
CHECKS: list[Check] = []
OTHERS = 'process {} has failed; its own message says why'


def check(function: Check) -> Check:
    """Decorator: every process runs the function with a folder that all share."""
    CHECKS.append(function)
    return function


def run(rank: int, size: int, folder: str) -> None:
    """Join the other processes and run all checks."""
    torch.set_num_threads(1)
    # Small enough that everything travels in several rounds and pieces.
    _exchange.ROUND_BYTES, _ring.PIECE, ranking_shards.PIECE = 2**15, 700, 20
    store = dist.FileStore(f'{folder}/store', size)
    minute = timedelta(seconds=60)
    dist.init_process_group('gloo', store=store, rank=rank, world_size=size, timeout=minute)
    for function in CHECKS:
        function(Path(folder))
    dist.barrier()
    dist.destroy_process_group()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def interactions(count: int = 2000, seed: int = 0) -> Tensor:
    """Interactions, of popular items more than of others; some are repeated."""
    user = torch.randint(NUM_USERS, (count,), generator=generator(seed))
    item = torch.rand(count, generator=generator(seed + 1)).square().mul(NUM_ITEMS).long()
    return torch.stack([user, item])


def share(number: int) -> range:
    """The rows of this process, of unequal parts."""
    rank, size = place_in(None)
    starts = [even_starts(number, size)[0], *[s + 1 for s in even_starts(number, size)[1:-1]]]
    starts.append(number)
    return range(starts[rank], starts[rank + 1])


def of_users(edge_index: Tensor, users: range) -> Tensor:
    """The interactions of some users, numbered within them."""
    own = edge_index[:, (edge_index[0] >= users.start) & (edge_index[0] < users.stop)]
    return own - torch.tensor([[users.start], [0]])


def into(graph: tuple[Tensor, Tensor], items: range) -> tuple[Tensor, Tensor]:
    """The edges into some items."""
    edge_index, edge_weight = graph
    own = (edge_index[1] >= items.start) & (edge_index[1] < items.stop)
    return edge_index[:, own], edge_weight[own]


def assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """Edges and weights are equal, bit for bit."""
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[0], expected[0])


@check
def ring_and_rows(folder: Path) -> None:
    rank, size = place_in(None)
    rows = torch.full((rank, 2), rank, dtype=torch.bfloat16)  # The first process has none.
    for piece in (None, 1, 2):
        seen = [0] * size
        for owner, first, found in visit(rows, None, piece):
            assert first == seen[owner] or len(found) == 0
            assert torch.equal(found, torch.full_like(found, owner))
            seen[owner] += len(found)
        assert seen == list(range(size))
    table = torch.arange(20).view(10, 2)
    starts = even_starts(10, size)
    ids = torch.tensor([9, 0, 0, 5])[rank:]
    own = table[starts[rank] : starts[rank + 1]]
    assert torch.equal(fetch_rows(own, ids, starts, None), table[ids])


@check
def partition(folder: Path) -> None:
    rank, size = place_in(None)
    edges = interactions()
    time = torch.randint(5, (edges.size(1),), generator=generator(3))
    x = torch.randn(NUM_ITEMS, 8, generator=generator(4)).half()
    if rank == 0:
        write_parts(folder / 'clicks', edges, time, sizes=(0, 1, 1500, 499))
        order = torch.randperm(NUM_ITEMS, generator=generator(5))[1:]
        rows = pa.FixedSizeListArray.from_arrays(pa.array(x[order].flatten().numpy()), 8)
        (folder / 'features').mkdir()
        table = pa.table({'item': order.numpy(), 'x': rows})
        pq.write_table(table, folder / 'features' / 'part.parquet', row_group_size=7)
    barrier()
    found = read_interactions(folder / 'clicks', time='time')
    assert (found.num_users, found.num_items) == (NUM_USERS, int(edges[1].max()) + 1)
    starts = even_starts(NUM_USERS, size)
    assert found.users == range(starts[rank], starts[rank + 1])
    own = (edges[0] >= starts[rank]) & (edges[0] < starts[rank + 1])
    rows = torch.stack([edges[0] - starts[rank], time, edges[1]])[:, own]
    expected = torch.tensor(sorted(rows.t().tolist())).t()
    assert found.time is not None
    assert torch.equal(
        torch.stack([found.edge_index[0], found.time, found.edge_index[1]]), expected
    )
    features = read_features(folder / 'features', 'x', num_items=NUM_ITEMS)
    missing = int(torch.randperm(NUM_ITEMS, generator=generator(5))[0])
    x[missing] = 0
    items = slice(features.items.start, features.items.stop)
    assert torch.equal(features.x, x[items])
    assert torch.equal(features.has, (torch.arange(NUM_ITEMS) != missing)[items])


def write_parts(folder: Path, edges: Tensor, time: Tensor, sizes: tuple[int, ...]) -> None:
    """Write files of some sizes, beside others that are not to be read."""
    (folder / 'inner').mkdir(parents=True)
    for number, rows in enumerate(torch.arange(edges.size(1)).split(sizes)):
        columns = {'user': edges[0, rows], 'item': edges[1, rows].int(), 'time': time[rows]}
        table = pa.table({name: column.numpy() for name, column in columns.items()})
        place = folder / 'inner' if number == 1 else folder
        pq.write_table(table, place / f'part.{number}.parquet', row_group_size=200)
    (folder / '_SUCCESS').touch()
    (folder / '_temporary.parquet').write_text('half of a file')


@check
def a_bad_part_ends_all_processes(folder: Path) -> None:
    rank, size = place_in(None)
    if rank == 0:
        (folder / 'bad').mkdir()
        for number, item in enumerate([1, 1, -1]):
            table = pa.table({'user': [0], 'item': [item]})
            pq.write_table(table, folder / 'bad' / f'{number}.parquet')
    barrier()
    message = ''
    try:
        read_interactions(folder / 'bad')
    except (ValueError, RuntimeError) as error:
        message = str(error)
    if rank == size - 1:
        assert '2.parquet' in message
        assert "column 'item' has the negative id -1" in message
    else:
        assert message == OTHERS.format(size - 1)


@check
def the_last_process_has_everything(folder: Path) -> None:
    rank, size = place_in(None)
    x, edges = torch.randn(1200, 8, generator=generator()), interactions()
    items, known, users = (
        range(number) if rank == size - 1 else range(0) for number in (len(x), NUM_ITEMS, NUM_USERS)
    )
    own = of_users(edges, users)
    for metric in ('cosine', 'ip', 'l2'):
        exact = into(knn_graph(x, 5, metric=metric, backend='exact'), items)
        for recall, least in ((1.0, 0.999), (0.9, 0.88)):
            found = sharded_knn_graph(x[items.start : items.stop], 5, metric=metric, recall=recall)
            assert torch.equal(found[0][1], exact[0][1])
            keys, all_keys = (graph[0][1] * len(x) + graph[0][0] for graph in (found, exact))
            assert len(items) == 0 or torch.isin(all_keys, keys).float().mean() > least
        normal = normalize_similarity(*exact, len(x)) if len(items) > 0 else exact
        assert_same(sharded_normalize_similarity(*exact, len(items)), normal)
    starts = even_starts(NUM_ITEMS, size)
    graph = sharded_co_interaction_graph(own, len(users), NUM_ITEMS, 7)
    expected = co_interaction_graph(edges, NUM_USERS, NUM_ITEMS, 7)
    assert_same(graph, into(expected, range(starts[rank], starts[rank + 1])))
    z_user, z_item = torch.randn(NUM_USERS, 4), torch.randn(NUM_ITEMS, 4)
    z_user, z_item = (z.normal_(generator=generator()) for z in (z_user, z_item))
    ends = z_user[: len(users)], z_item[: len(known)]
    sharded = ShardedInteractions(own, len(users), len(known))
    found = sharded_layer_mean(sharded, *ends, 2)
    weight = bipartite_normalize(edges, None, (NUM_USERS, NUM_ITEMS))
    whole = layer_mean(CSRPair(edges, weight, (NUM_USERS, NUM_ITEMS)), z_user, z_item, 2)
    for z, of_all in zip(found, whole, strict=True):
        torch.testing.assert_close(z, of_all[: len(z)])
    assert sharded_evaluate_ranking(*ends, own) == pytest.approx(
        evaluate_ranking(z_user, z_item, edges)
    )
    sharded_recommend_to_parquet(*ends, folder / 'last', k=3)
    assert pq.read_table(folder / 'last').num_rows == 3 * NUM_USERS


@check
def more_processes_than_rows(folder: Path) -> None:
    rank, size = place_in(None)
    if rank == 0:
        for name in ('one', 'none'):
            (folder / name).mkdir()
        for name, number in (('a', 0), ('b', 1)):
            table = pa.table({'user': pa.array([0] * number, pa.int64()), 'item': [0] * number})
            rows = pa.array([[1.0, 2.0]] * number, pa.list_(pa.float16()))
            table = table.cast(pa.schema({'user': pa.int64(), 'item': pa.int64()}))
            pq.write_table(table.append_column('x', rows), folder / 'one' / f'{name}.parquet')
            if number == 0:
                pq.write_table(table.append_column('x', rows), folder / 'none' / 'a.parquet')
    barrier()
    shard = read_interactions(folder / 'one')
    assert shard.edge_index.tolist() == [[0] * len(shard.users)] * 2
    found = read_features(folder / 'one', 'x')
    assert found.x.tolist() == [[1.0, 2.0]] * len(found.items)
    assert read_features(folder / 'none', 'x', num_items=4).num_items == 4
    for recall in (1.0, 0.9):
        graph = sharded_knn_graph(found.x, 3, recall=recall)
        assert graph[0].shape == (2, 0)
    # Two items, and the first process has none.
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    items = range(even_starts(2, size)[rank], even_starts(2, size)[rank + 1])
    for recall in (1.0, 0.9):
        graph = sharded_knn_graph(x[items.start : items.stop], 3, recall=recall)
        assert graph[0].tolist() == [[1 - item for item in items], list(items)]
    edges = torch.tensor([[0, 0], [0, 1]])[:, : 2 if rank == 0 else 0]
    graph = sharded_co_interaction_graph(edges, 1 if rank == 0 else 0, 2, 3)
    assert graph[0].tolist() == [[1 - item for item in items], list(items)]


@check
def what_the_last_process_alone_finds(folder: Path) -> None:
    rank, size = place_in(None)
    bad = int(rank == size - 1)
    x, weight = torch.randn(40, 8, generator=generator(rank)), torch.ones(2)
    edges, own = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0, 1], [2 * rank, 2 * rank + 1]])
    sharded = ShardedInteractions(torch.tensor([[0], [0]]), 3, 2)
    good, ids = folder / 'good', [0] * 39 + ['a' if bad else 1]
    if rank == 0:
        write_parts(good, edges, edges[0], sizes=(1, 1))
    barrier()
    there = folder / 'missing' if bad else good
    for message, call in (
        ('NaN', lambda: sharded_knn_graph(x / (1 - bad), 3)),
        ('floating point', lambda: sharded_knn_graph(x.long() if bad else x, 3, recall=0.9)),
        ('lie in', lambda: sharded_co_interaction_graph(edges + 9 * bad, 3, 3, 2)),
        ('negative user id', lambda: ShardedInteractions(edges - bad, 3, 2)),
        ('3 and 2 rows', lambda: sharded_layer_mean(sharded, x[: 3 - bad], x[:2], 1)),
        ('NaN', lambda: sharded_normalize_similarity(own, weight / (1 - bad), 2)),
        ('negative item id', lambda: sharded_normalize_similarity(own - 99 * bad, weight, 2)),
        ('there is no folder', lambda: read_interactions(there)),
        ('there is no folder', lambda: read_features(there, 'time')),
        ('39 entries', lambda: recommend_to(folder / 'lists1', x[bad:], ids)),
        ('Could not convert', lambda: recommend_to(folder / 'lists2', x, ids)),
    ):
        found = error_of(call)
        assert (message if bad else OTHERS.format(size - 1)) in found, (message, found)


def recommend_to(folder: Path, z: Tensor, user_ids: Any) -> None:
    """Recommend users to each other, so to say."""
    sharded_recommend_to_parquet(z, z, folder, user_ids=user_ids)


@check
def what_processes_find_together(folder: Path) -> None:
    rank, size = place_in(None)
    last = int(rank == size - 1)
    x, edges = torch.randn(40, 8), torch.tensor([[0, 1], [1, 0]])
    if rank == 0:
        write_parts(folder / 'here', edges, edges[0], sizes=(1, 1))
        write_parts(folder / 'there', edges, edges[0], sizes=(2,))
    barrier()
    if size == 1:
        return
    for message, call in (
        ('one width and type', lambda: sharded_knn_graph(x[:, last:], 3)),
        ('one width and type', lambda: sharded_knn_graph(x[:, last:], 3, recall=0.9)),
        ('one width and type', lambda: sharded_knn_graph(x.half() if last else x.bfloat16(), 3)),
        ('must be one folder', lambda: read_interactions(folder / ('there' if last else 'here'))),
        ("'num_items' must be", lambda: sharded_co_interaction_graph(edges, 3, 3 + last, 2)),
    ):
        found = error_of(call)
        assert message in found, (message, found)


@check
def without_faiss(folder: Path) -> None:
    rank, _ = place_in(None)
    missing = ImportError('ItemIndex needs FAISS')
    with patch.object(_cell_shards, 'train_centroids', side_effect=missing):
        found = error_of(lambda: sharded_knn_graph(torch.randn(40, 8), 3, recall=0.9))
    assert found == ('ItemIndex needs FAISS' if rank == 0 else OTHERS.format(0))


@check
def a_group_of_some_processes(folder: Path) -> None:
    if place_in(None)[1] < 3:
        return
    group = dist.new_group([1, 2])
    assert group is not None
    if place_in(None)[0] == 0:
        return
    rank = place_in(group)[0]
    x, edges = torch.randn(1200, 8, generator=generator()), interactions()
    items, users = (
        range(number * rank // 2, number * (rank + 1) // 2) for number in (len(x), NUM_USERS)
    )
    known = range(NUM_ITEMS * rank // 2, NUM_ITEMS * (rank + 1) // 2)
    exact = into(knn_graph(x, 5, backend='exact'), items)
    for recall, least in ((1.0, 0.999), (0.9, 0.88)):
        found = sharded_knn_graph(x[items.start : items.stop], 5, recall=recall, group=group)
        keys, all_keys = (graph[0][1] * len(x) + graph[0][0] for graph in (found, exact))
        assert torch.isin(all_keys, keys).float().mean() > least
    whole = normalize_similarity(*knn_graph(x, 5, backend='exact'), len(x))
    assert_same(sharded_normalize_similarity(*exact, len(items), group=group), into(whole, items))
    own = of_users(edges, users)
    graph = sharded_co_interaction_graph(own, len(users), NUM_ITEMS, 7, group=group)
    assert_same(graph, into(co_interaction_graph(edges, NUM_USERS, NUM_ITEMS, 7), known))
    z_user, z_item = (
        torch.randn(number, 4, generator=generator()) for number in (NUM_USERS, NUM_ITEMS)
    )
    ends = z_user[users.start : users.stop], z_item[known.start : known.stop]
    sharded = ShardedInteractions(own, len(users), len(known), group=group)
    weight = bipartite_normalize(edges, None, (NUM_USERS, NUM_ITEMS))
    pair = CSRPair(edges, weight, (NUM_USERS, NUM_ITEMS))
    torch.testing.assert_close(
        sharded_layer_mean(sharded, *ends, 2)[0],
        layer_mean(pair, z_user, z_item, 2)[0][users.start : users.stop],
    )
    metrics = sharded_evaluate_ranking(*ends, own, group=group)
    assert metrics == pytest.approx(evaluate_ranking(z_user, z_item, edges))
    sharded_recommend_to_parquet(*ends, folder / 'of_two', k=3, group=group)
    assert len(list((folder / 'of_two').iterdir())) == 2


def error_of(call: Callable[[], object]) -> str:
    """The message of the error that a call raises."""
    try:
        call()
    except Exception as error:
        return str(error)
    return 'no error'


@check
def co_interactions(folder: Path) -> None:
    rank, size = place_in(None)
    edges, users = interactions(), share(NUM_USERS)
    starts = even_starts(NUM_ITEMS, size)
    items = range(starts[rank], starts[rank + 1])
    own = of_users(edges, users)
    for weighting in ('cosine', 'jaccard', 'lift', 'raw', 'lightgcn'):
        options: Any = {'weighting': weighting, 'min_count': 2, 'max_activity': 9}
        expected = co_interaction_graph(edges, NUM_USERS, NUM_ITEMS, 7, **options)
        for max_memory in (2**30, 2**17):
            found = sharded_co_interaction_graph(
                own, len(users), NUM_ITEMS, 7, max_memory=max_memory, **options
            )
            if weighting == 'lightgcn':
                torch.testing.assert_close(found[1], into(expected, items)[1])
            else:
                assert_same(found, into(expected, items))
    assert found[0].size(1) > 0


@check
def propagation(folder: Path) -> None:
    edges = interactions()
    users, items = share(NUM_USERS), share(NUM_ITEMS)
    x_user = torch.randn(NUM_USERS, 6, generator=generator(), dtype=torch.float64)
    x_item = torch.randn(NUM_ITEMS, 6, generator=generator(1), dtype=torch.float64)
    weight = bipartite_normalize(edges, None, (NUM_USERS, NUM_ITEMS))
    pair = CSRPair(edges, weight, (NUM_USERS, NUM_ITEMS))
    sharded = ShardedInteractions(of_users(edges, users), len(users), len(items))
    all_ends = x_user.requires_grad_(), x_item.requires_grad_()
    own_ends = (
        x_user.detach()[users.start : users.stop].clone().requires_grad_(),
        x_item.detach()[items.start : items.stop].clone().requires_grad_(),
    )
    for num_layers in (0, 1, 3):
        expected = layer_mean(pair, *all_ends, num_layers)
        found = sharded_layer_mean(sharded, *own_ends, num_layers)
        grads = torch.autograd.grad(torch.cat(expected).pow(3).sum(), all_ends)
        own_grads = torch.autograd.grad(torch.cat(found).pow(3).sum(), own_ends)
        for rows, z, own_z in zip(
            (users, items) * 2, (*expected, *grads), (*found, *own_grads), strict=True
        ):
            torch.testing.assert_close(own_z, z[rows.start : rows.stop], rtol=1e-6, atol=1e-7)


@check
def ranking(folder: Path) -> None:
    train, test = interactions(), interactions(600, seed=7)
    known = train[0] * NUM_ITEMS + train[1]
    test = test[:, ~torch.isin(test[0] * NUM_ITEMS + test[1], known)]
    users, items = share(NUM_USERS), share(NUM_ITEMS)
    z_user = torch.randn(NUM_USERS, 4, generator=generator())
    z_item = torch.randn(NUM_ITEMS, 4, generator=generator(1))
    z_item[30:60] = z_item[30]  # Equal scores, on several processes.
    z_user[::7] = 0
    metrics = ('recall', 'ndcg', 'map', 'mrr', 'hit_ratio', 'precision')
    expected = evaluate_ranking(
        z_user, z_item, test, exclude=train, k=(5, 50), metrics=metrics, tie_seed=3
    )
    own = z_user[users.start : users.stop], z_item[items.start : items.stop]
    train_of_users = of_users(train, users)
    found = sharded_evaluate_ranking(
        *own,
        of_users(test, users),
        exclude=train_of_users,
        k=(5, 50),
        metrics=metrics,
        tie_seed=3,
    )
    assert found.keys() == expected.keys()
    assert all(abs(found[name] - expected[name]) < 1e-12 for name in expected)
    sharded_recommend_to_parquet(*own, folder / 'lists', k=8, exclude=train_of_users)
    table = pq.read_table(folder / 'lists').sort_by([('user', 'ascending'), ('rank', 'ascending')])
    lists = recommend(z_user, z_item, torch.arange(NUM_USERS), k=8, exclude=train)
    assert table['item'].to_pylist() == lists.items.flatten().tolist()
    assert table['score'].to_pylist() == lists.scores.flatten().tolist()


@check
def exact_neighbors(folder: Path) -> None:
    x = torch.randn(2500, 24, generator=generator())
    x[100:140] = x[100]  # A placeholder picture, more often than there are spare candidates.
    x[2000] = x[1]
    x[7] = 0
    items = share(len(x))
    for metric, kind in (('cosine', torch.float32), ('ip', torch.float16), ('l2', torch.float32)):
        expected = into(knn_graph(x.to(kind), 5, metric=metric, backend='exact'), items)
        own = x[items.start : items.stop].to(kind)
        found = sharded_knn_graph(own, 5, metric=metric)
        assert torch.equal(found[0][1], expected[0][1])
        assert torch.equal(found[1], expected[1])
        # Among equally similar items any may be kept.
        longer = into(knn_graph(x.to(kind), 6, metric=metric, backend='exact'), items)
        score = longer[1].view(-1, 6)
        tied = (score[:, 1:] == score[:, :-1]).any(dim=1)
        of_each = (graph[0][0].view(-1, 5)[~tied] for graph in (found, expected))
        assert torch.equal(*of_each)
        assert (~tied).sum() > 0.9 * len(items)
    found = sharded_knn_graph(x[items.start : items.stop], 5)
    whole = normalize_similarity(*gathered(found), len(x))
    assert_same(sharded_normalize_similarity(*found, len(items)), into(whole, items))


def gathered(graph: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The edges of all processes."""
    return gather_rows(graph[0].t(), None).t(), gather_rows(graph[1], None)


@check
def approximate_neighbors(folder: Path) -> None:
    center = torch.randn(40, 16, generator=generator())
    x = center.repeat(100, 1) + 0.4 * torch.randn(4000, 16, generator=generator(1))
    x[5] = 0
    items = share(len(x))
    for metric in ('cosine', 'l2'):
        exact = into(knn_graph(x, 6, metric=metric, backend='exact'), items)
        found = sharded_knn_graph(x[items.start : items.stop], 6, metric=metric, recall=0.9)
        assert torch.equal(found[0][1], exact[0][1])
        keys, all_keys = (graph[0][1] * len(x) + graph[0][0] for graph in (found, exact))
        assert torch.isin(all_keys, keys).float().mean() > 0.88
        # Every edge has the exact similarity, best first.
        common = torch.isin(keys, all_keys)
        order, all_order = keys[common].argsort(), all_keys.argsort()
        kept = torch.isin(all_keys[all_order], keys)
        torch.testing.assert_close(found[1][common][order], exact[1][all_order][kept])
        assert (found[1].view(-1, 6).diff(dim=1) <= 0).all()


@check
def sampled_batches(folder: Path) -> None:
    """Triplets of own users, and around them the subgraph that one process would sample."""
    _, size = place_in(None)
    data = by_user(sampled_shop())
    shard = shard_of(data)
    for num_neighbors, replace in (([2, 2], False), ([3], True), ([-1, -1], False)):
        loader = ShardedTripletLoader(
            shard, num_neighbors, 40, shuffle=True, num_item_layers=2, replace=replace, seed=7
        )
        whole = TripletNeighborLoader(data, num_neighbors, num_item_layers=2, replace=replace)
        seen, weights = [], []
        for number, batch in enumerate(loader):
            user, item = batch['user'].n_id, batch['item'].n_id
            users = user[batch['user'].src_index]
            items = item[batch['item'].dst_pos_index]
            negatives = item[batch['item'].dst_neg_index]
            assert ((users >= shard.users.start) & (users < shard.users.stop)).all()
            pair = data['user', 'interacts', 'item'].edge_index
            known = set(zip(*pair.tolist(), strict=True))
            assert not known & set(zip(users.tolist(), negatives.tolist(), strict=True))
            assert (data['item'].degree[negatives] > 0).all()
            seen.append(torch.stack([users, items]))
            weights.append(loader.loss_weight(number) * len(users) ** -1)
            seed = (loader._number(0, 0) + number * 2**32) % 2**63
            assert_equal_batches(batch, whole.dataset.subgraph((users, items, negatives), seed))
        edges = gather_rows(torch.cat(seen, dim=1).t(), None)
        assert torch.equal(edges.unique(dim=0), pair.t())
        assert len(edges) == pair.size(1)
        # A triplet weighs the same in all processes.
        each = gather_rows(torch.tensor(weights), None).view(size, -1)
        torch.testing.assert_close(each, each[:1].expand_as(each))
        again = ShardedTripletLoader(shard, num_neighbors, 40, shuffle=True, seed=7)
        again.load_state_dict(loader.state_dict())
        following, other = next(iter(again)), next(iter(loader))
        assert torch.equal(following['user'].src_index, other['user'].src_index)


def assert_equal_batches(found: HeteroData, expected: HeteroData) -> None:
    for node_type in ('user', 'item'):
        for key in found[node_type]:
            assert torch.equal(found[node_type][key], expected[node_type][key]), key
    assert set(found.edge_types) == set(expected.edge_types)
    for edge_type in found.edge_types:
        assert torch.equal(found[edge_type].edge_index, expected[edge_type].edge_index)
        assert found[edge_type].num_hops == expected[edge_type].num_hops
        if 'edge_weight' in found[edge_type]:
            assert torch.equal(found[edge_type].edge_weight, expected[edge_type].edge_weight)


@check
def an_export(folder: Path) -> None:
    """A server loads what one process would have written."""
    data = by_user(sampled_shop(density=0.4))
    shard = shard_of(data)
    users, items = shard.users, shard.items
    z_user, z_item = (torch.randn(n, 4, generator=generator(n)) for n in (30, 25))
    own = z_user[users.start : users.stop], z_item[items.start : items.stop]
    here: dict[str, Any] = {
        'user_ids': [f'u{row}' for row in range(30)],
        'catalog': Catalog([f'i{row}' for row in range(25)]),
    }
    if place_in(None)[0] > 0:
        here = dict.fromkeys(here)
    sharded_export(folder / 'export', *own, shard, model='LightGCN', **here)
    barrier()
    export = load_export(folder / 'export')
    assert np.array_equal(export.user_vectors, z_user.numpy())
    assert np.array_equal(export.item_vectors, z_item.numpy())
    assert np.array_equal(export.popularity, data['item'].degree.numpy())
    user, item = data['user', 'interacts', 'item'].edge_index
    for row in range(30):
        assert export.seen(row).tolist() == item[user == row].tolist()
    assert not (folder / 'export.parts').exists()
    # All users with items teach the map, as in one process.
    fitted = map_to_users(data, z_user, z_item)
    assert isinstance(export.fold_in, LinearFoldIn)
    assert np.allclose(export.fold_in.vectors, z_item.double() @ fitted.weight, atol=1e-5)
    assert np.allclose(export.fold_in.offset, fitted.bias)
    wrong = {**here, 'user_ids': here['user_ids'] and here['user_ids'][1:]}
    with pytest.raises((ValueError, RuntimeError), match=r'30 entries|process 0 has failed'):
        sharded_export(folder / 'export', *own, shard, model='LightGCN', **wrong)
    assert not (folder / 'export.parts').exists() or place_in(None)[0] > 0


@check
def unfit_shards(folder: Path) -> None:
    rank, _ = place_in(None)
    shard = shard_of(sampled_shop()).interactions
    other = shard._replace(users=range(1, 1 + len(shard.users)))
    with pytest.raises(ValueError, match="'interactions' must be of the users"):
        ShardedData(other)
    edges = torch.tensor([[0], [25]])
    with pytest.raises((ValueError, RuntimeError), match=r'25|process 0 has failed'):
        ShardedData(shard, None, {'similar': (edges, torch.ones(1))} if rank == 0 else {})
    nothing = shard._replace(edge_index=shard.edge_index[:, :0])
    with pytest.raises(ValueError, match='process 0 has no interactions; use fewer processes'):
        ShardedTripletLoader(ShardedData(nothing if rank == 0 else shard), [2])


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()
