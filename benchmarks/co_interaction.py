"""Connect items that share users: this library beside SciPy's whole product.

    python benchmarks/co_interaction.py --quick
    python benchmarks/co_interaction.py

Random interactions, activity of users and popularity of items with power-law tails. SciPy's way is
what people write: the product of all items with all items, scaled to cosines, then an
``argpartition`` for every row. Each run is alone in a new process with the same number of threads;
memory is the peak beyond the process that has read the interactions and imported the library.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from process import memory, run_alone

K = 10
# Items, users, interactions; the largest that the whole product is tried on.
SIZES = (
    (20_000, 40_000, 400_000),
    (100_000, 200_000, 2_000_000),
    (1_000_000, 2_000_000, 20_000_000),
)
QUICK_SIZES = SIZES[:1]
SCIPY_UP_TO = 2_000_000


def interactions(num_items: int, num_users: int, count: int) -> np.ndarray:
    """Return distinct (user, item) pairs with power-law activity and popularity."""
    random = np.random.default_rng(0)
    activity = np.minimum(random.pareto(1.6, num_users) + 0.5, num_items / 20)
    popularity = np.minimum(random.pareto(1.4, num_items) + 0.5, num_users / 20)
    user = random.choice(num_users, 2 * count, p=activity / activity.sum())
    item = random.choice(num_items, 2 * count, p=popularity / popularity.sum())
    pair = np.unique(user * num_items + item)
    pair = np.sort(random.permutation(pair)[:count])
    return np.stack([pair // num_items, pair % num_items])


def child(method: str, file: Path, num_users: int, num_items: int, threads: int) -> None:
    """Run one method and print its figures as JSON."""
    user, item = pairs = np.load(file, allow_pickle=False)
    if method == 'ours':
        import torch

        from pyg_mmgef.graph import co_interaction_graph

        before, start = memory('VmRSS'), time.perf_counter()
        edge_index, edge_weight = co_interaction_graph(
            torch.from_numpy(pairs), num_users, num_items, K, num_threads=threads
        )
        seconds, peak = time.perf_counter() - start, memory('VmHWM') - before
        item, weight = edge_index[1].numpy(), edge_weight.numpy()
    else:
        import scipy.sparse as sp

        before, start = memory('VmRSS'), time.perf_counter()
        matrix = sp.csr_array(
            (np.ones(user.size, dtype=np.float32), (user, item)), shape=(num_users, num_items)
        )
        product = (matrix.T @ matrix).tocsr()
        scale = 1 / np.sqrt(np.maximum(product.diagonal(), 1))
        product.setdiag(0)
        product.data *= np.repeat(scale, np.diff(product.indptr)) * scale[product.indices]
        items, weights = [], []
        for row in range(num_items):
            value = product.data[product.indptr[row] : product.indptr[row + 1]]
            best = np.argpartition(-value, K)[:K] if value.size > K else np.arange(value.size)
            best = best[value[best] > 0]
            items.append(np.full(best.size, row))
            weights.append(-np.sort(-value[best]))
        item, weight = np.concatenate(items), np.concatenate(weights)
        seconds, peak = time.perf_counter() - start, memory('VmHWM') - before
    # Weights best first of each item: equal whatever ties were broken how.
    out = {
        'seconds': seconds,
        'memory_mib': peak,
        'edges': int(item.size),
        'sum': float(weight.astype(np.float64) @ (1 + item % 97)),
    }
    print(json.dumps(out))


def main() -> None:
    out = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    out.add_argument('--output', type=Path, default=Path('results'))
    out.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    out.add_argument('--quick', action='store_true', help='the smallest size alone')
    out.add_argument('--child', help=argparse.SUPPRESS)
    out.add_argument('--file', type=Path, help=argparse.SUPPRESS)
    out.add_argument('--size', type=int, nargs=2, help=argparse.SUPPRESS)
    args = out.parse_args()
    if args.child:
        num_users, num_items = args.size
        child(args.child, args.file, num_users, num_items, args.threads)
        return

    from common import write_json

    rows = []
    print(f'{"items":>10}{"interactions":>14}{"paths":>14}  {"":8}{"s":>8}{"MiB":>8}{"edges":>12}')
    for num_items, num_users, count in QUICK_SIZES if args.quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / 'pairs.npy'
            pairs = interactions(num_items, num_users, count)
            np.save(file, pairs)
            paths = int(np.square(np.bincount(pairs[0])).sum())
            del pairs
            for method in ('ours', 'SciPy') if count <= SCIPY_UP_TO else ('ours',):
                arguments = ['--child', method, '--file', str(file), '--threads', str(args.threads)]
                arguments += ['--size', str(num_users), str(num_items)]
                row = run_alone(__file__, arguments, args.threads)
                rows.append({'items': num_items, 'interactions': count, 'method': method, **row})
                figures = row.get('failed') or (
                    f'{row["seconds"]:8.2f}{row["memory_mib"]:8.0f}{row["edges"]:12,}'
                )
                print(f'{num_items:10,}{count:14,}{paths:14,}  {method:8}{figures}', flush=True)
        same = [row for row in rows if row['items'] == num_items and 'sum' in row]
        if len(same) == 2:
            ratio = same[1]['seconds'] / same[0]['seconds']
            equal = np.isclose(same[0]['sum'], same[1]['sum'], rtol=1e-6)
            equal &= same[0]['edges'] == same[1]['edges']
            print(f'{"":40}{ratio:.1f} times faster, {"equal" if equal else "DIFFERENT"} weights')
    write_json(args.output / 'co_interaction.json', rows)


if __name__ == '__main__':
    main()
