"""Graphs, propagation and ranking on several processes: the same results, and the memory of each.

The same catalogue is computed by one process with the usual functions, and by several with those of
`pyg_mmgef.distributed`. Exact graphs, lists and metrics are compared with those of one process, and
the recall of approximate graphs is measured for a sample of items whose exact neighbours are
computed. Memory is what a process had at its peak, the largest of all, less what it had before it
made its data. All processes share the threads of the machine, so more of them are no faster here;
on machines of their own each has the work of a process in the table.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from common import parser, write_json
from process import memory
from torch import Tensor

BLOCK = 1000  # Rows made from one seed, so that each process makes its own.
CHANNELS, K, CENTERS, SAMPLE = 512, 10, 20_000, 1000
SIZES = {
    'exact': {'items': 200_000},
    'approximate': {'items': 1_000_000},
    'co-interaction': {'users': 500_000, 'items': 200_000, 'activity': 20},
    'propagation': {'users': 500_000, 'items': 200_000, 'activity': 20},
    'ranking': {'users': 20_000, 'items': 200_000, 'activity': 20},
}


def features(rows: range, num_items: int) -> Tensor:
    """Return features of some items, which lie around centres as those of real catalogues do."""
    generator = torch.Generator().manual_seed(1)
    centers = torch.randn(min(CENTERS, num_items // 50), 64, generator=generator)
    spread = torch.randn(64, CHANNELS, generator=generator) / 8

    def block(number: int) -> Tensor:
        generator = torch.Generator().manual_seed(2 + number)
        center = torch.randint(len(centers), (BLOCK,), generator=generator)
        own = centers[center] + torch.randn(BLOCK, 64, generator=generator) / 2
        return own @ spread + torch.randn(BLOCK, CHANNELS, generator=generator) / 8

    return of_blocks(rows, block)


def embeddings(rows: range, seed: int) -> Tensor:
    """Return 64-dimensional embeddings of some users or items."""

    def block(number: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed + number)
        return torch.randn(BLOCK, 64, generator=generator)

    return of_blocks(rows, block)


def of_blocks(rows: range, block: Callable[[int], Tensor]) -> Tensor:
    """Return some rows of a matrix that is made in blocks."""
    out: Tensor | None = None
    for number in range(rows.start // BLOCK, -(-rows.stop // BLOCK)):
        start, stop = max(rows.start, number * BLOCK), min(rows.stop, (number + 1) * BLOCK)
        made = block(number)[start - number * BLOCK : stop - number * BLOCK]
        if out is None:
            out = made.new_empty(len(rows), made.size(1))
        out[start - rows.start : stop - rows.start] = made
    assert out is not None
    return out


def interactions(users: range, num_items: int, activity: int, seed: int = 0) -> Tensor:
    """Return interactions of some users, numbered within them, with a long tail of popularity."""

    def block(number: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed + number)
        tail = torch.rand(BLOCK, activity, generator=generator, dtype=torch.double).pow(3)
        return (tail * num_items).long()

    item = of_blocks(users, block)
    user = torch.arange(len(users)).repeat_interleave(activity)
    edges = torch.stack([user, item.view(-1)])
    return edges.t().unique(dim=0).t()


Compute = Callable[[], dict[str, Tensor]]


def exact(size: dict[str, int], items: range, users: range, recall: float = 1.0) -> Compute:
    """Build the item graph of features, exact or with a recall."""
    from pyg_mmgef.distributed import sharded_knn_graph
    from pyg_mmgef.graph import knn_graph

    x = features(items, size['items'])

    def compute() -> dict[str, Tensor]:
        if len(items) == size['items']:
            backend = 'exact' if recall == 1 else 'cluster'
            edges, weight = knn_graph(x, K, backend=backend, recall=recall)
        else:
            edges, weight = sharded_knn_graph(x, K, recall=recall)
        return {'edges': edges, 'weight': weight}

    return compute


def approximate(size: dict[str, int], items: range, users: range) -> Compute:
    """Build the item graph of features with a recall of 0.95."""
    return exact(size, items, users, recall=0.95)


def co_interaction(size: dict[str, int], items: range, users: range) -> Compute:
    """Build the graph of items with the same users."""
    from pyg_mmgef.distributed import sharded_co_interaction_graph
    from pyg_mmgef.graph import co_interaction_graph

    edge_index = interactions(users, size['items'], size['activity'])
    graph: Callable[..., tuple[Tensor, Tensor]] = sharded_co_interaction_graph
    if len(users) == size['users']:
        graph = co_interaction_graph

    def compute() -> dict[str, Tensor]:
        edges, weight = graph(edge_index, len(users), size['items'], K)
        return {'edges': edges, 'weight': weight}

    return compute


def propagation(size: dict[str, int], items: range, users: range) -> Compute:
    """Propagate embeddings over three layers, forth and back."""
    from pyg_mmgef.distributed import ShardedInteractions, sharded_layer_mean
    from pyg_mmgef.graph.weights import bipartite_normalize
    from pyg_mmgef.sparse import CSRPair, layer_mean

    edge_index = interactions(users, size['items'], size['activity'])
    ends = embeddings(users, 10).requires_grad_(), embeddings(items, 20).requires_grad_()
    shape = len(users), len(items)
    alone = shape == (size['users'], size['items'])
    if alone:
        pair = CSRPair(edge_index, bipartite_normalize(edge_index, None, shape), shape)
    else:
        sharded = ShardedInteractions(edge_index, *shape)

    def compute() -> dict[str, Tensor]:
        z = layer_mean(pair, *ends, 3) if alone else sharded_layer_mean(sharded, *ends, 3)
        of_users, of_items = torch.autograd.grad(torch.cat(z).square().sum(), ends)
        return {
            'z_user': z[0].detach(),
            'z_item': z[1].detach(),
            'grad_user': of_users,
            'grad_item': of_items,
        }

    return compute


def ranking(size: dict[str, int], items: range, users: range) -> Compute:
    """Rank all items for all users."""
    from pyg_mmgef.distributed import sharded_evaluate_ranking
    from pyg_mmgef.ranking import evaluate_ranking, new_interactions

    train, target = (
        interactions(users, size['items'], activity, seed)
        for activity, seed in ((size['activity'], 0), (4, 10**6))
    )
    target = new_interactions(target, train)
    z_user, z_item = embeddings(users, 10), embeddings(items, 20)
    evaluate: Callable[..., dict[str, float]] = sharded_evaluate_ranking
    if len(users) == size['users']:
        evaluate = evaluate_ranking

    def compute() -> dict[str, Tensor]:
        metrics = evaluate(z_user, z_item, target, exclude=train)
        return {'metrics': torch.tensor(list(metrics.values()), dtype=torch.float64)}

    return compute


TASKS: dict[str, Callable[[dict[str, int], range, range], Compute]] = {
    'exact': exact,
    'approximate': approximate,
    'co-interaction': co_interaction,
    'propagation': propagation,
    'ranking': ranking,
}


def measure(task: str, size: dict[str, int], folder: Path) -> dict[str, float]:
    """Compute a task, in this process as one of several, and write its results to the folder."""
    import faiss  # noqa: F401

    import pyg_mmgef.distributed  # noqa: F401

    rank, number = dist.get_rank(), dist.get_world_size()
    items, users = (part(size.get(name, 0), rank, number) for name in ('items', 'users'))
    before = memory('VmRSS')  # Of torch and FAISS.
    compute = TASKS[task](size, items, users)
    dist.barrier()
    start = time.perf_counter()
    results = compute()
    dist.barrier()
    seconds = time.perf_counter() - start
    peak = torch.tensor(memory('VmHWM') - before)
    dist.all_reduce(peak, dist.ReduceOp.MAX)
    row = {'seconds': seconds, 'MiB': float(peak)}
    if task == 'approximate':
        row['recall'] = recall_of_sample(results['edges'], items, size['items'])
    for name, value in results.items():
        np.save(folder / f'{name}-{rank}.npy', value.numpy())
    return row


def part(count: int, rank: int, number: int) -> range:
    """Return the rows of a process."""
    return range(count * rank // number, count * (rank + 1) // number)


def recall_of_sample(edges: Tensor, items: range, num_items: int) -> float:
    """Return which share of the exact neighbours of a sample of the items is in the graph."""
    from pyg_mmgef.distributed._ring import ring_search

    count = SAMPLE * len(items) // num_items
    row = torch.randperm(len(items), generator=torch.Generator().manual_seed(3))[:count]
    neighbors = ring_search(features(items, num_items), 'cosine', row, K, None).item
    found = edges[0].view(-1, K)[row]
    hits = (neighbors[:, :, None] == found[:, None, :]).any(dim=2)
    counts = torch.tensor([float(hits.sum()), hits.numel()])
    dist.all_reduce(counts)
    return float(counts[0] / counts[1])


def difference(name: str, alone: Path, several: Path, number: int) -> float:
    """Return the share of other neighbours, or the largest difference of numbers."""
    expected = np.load(alone / f'{name}-0.npy')
    parts = [np.load(several / f'{name}-{rank}.npy') for rank in range(number)]
    if name == 'metrics':
        return float(max(abs(own - expected).max() for own in parts))
    found = np.concatenate(parts, axis=1 if name == 'edges' else 0)
    if found.shape != expected.shape:
        raise SystemExit(f'{name} has shape {found.shape}, and {expected.shape} in one process')
    if name == 'edges':
        return float((found != expected).mean())
    return float(abs(found - expected).max())


def launch(task: str, size: dict[str, int], number: int, threads: int, folder: Path) -> Any:
    """Run a task in new processes."""
    folder.mkdir()
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += ['--nproc-per-node', str(number), __file__, '--folder', str(folder)]
    command += ['--worker', task, '--size', json.dumps(size)]
    each = str(max(1, threads // number))
    done = subprocess.run(
        command,
        env=os.environ | {'OMP_NUM_THREADS': each},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f'{" ".join(command)} failed:\n{done.stderr[-3000:]}')
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument('--tasks', nargs='+', choices=TASKS, default=list(TASKS))
    arguments.add_argument('--processes', type=int, nargs='+', help='beside one; default: 2 4')
    arguments.add_argument('--factor', type=float, default=1.0, help='of all numbers of rows')
    arguments.add_argument('--worker', choices=TASKS, help='be one of the processes of a task')
    arguments.add_argument('--size', type=json.loads, help='of the worker, JSON')
    arguments.add_argument('--folder', type=Path, help='for the results of the worker')
    args = arguments.parse_args()
    if args.worker:
        dist.init_process_group('gloo', timeout=timedelta(hours=2))
        row = measure(args.worker, args.size, args.folder)
        if dist.get_rank() == 0:
            print(json.dumps(row), flush=True)
        dist.destroy_process_group()
        return
    results: dict[str, Any] = {}
    print(f'{"":<16}{"processes":>10}{"seconds":>10}{"GiB each":>10}   compared with one process')
    for task in args.tasks:
        factor = 0.03 if args.quick else args.factor
        size = {
            name: count if name == 'activity' else int(factor * count)
            for name, count in SIZES[task].items()
        }
        results[task] = {'size': size, 'processes': {}}
        with tempfile.TemporaryDirectory() as folder:
            alone = Path(folder) / '1'
            for number in (1, *(args.processes or ([2] if args.quick else [2, 4]))):
                several = Path(folder) / str(number)
                row = launch(task, size, number, args.threads, several)
                if task != 'approximate':
                    names = {path.name.rsplit('-', 1)[0] for path in several.glob('*.npy')}
                    row['differences'] = {
                        name: difference(name, alone, several, number) for name in sorted(names)
                    }
                results[task]['processes'][number] = row
                compared = row.get('differences', {'recall': row.get('recall')})
                print(
                    f'{task:<16}{number:>10}{row["seconds"]:>10.1f}{row["MiB"] / 1024:>10.2f}   '
                    + ', '.join(f'{name} {value:.2g}' for name, value in compared.items()),
                    flush=True,
                )
        write_json(args.output / 'sharded_graphs.json', results)


if __name__ == '__main__':
    main()
