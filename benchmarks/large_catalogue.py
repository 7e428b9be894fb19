"""A large random shop with a known structure, from tables to the report, by the command line.

Users have a few tastes, each taste has its items and its words, and a share of the clicks is noise.
Each step is a process of its own, whose time and peak memory are measured::

    python -m benchmarks.large_catalogue --output results
    python -m benchmarks.large_catalogue --model lightgcn --compare-batches --output results
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import parser, read_json, write_json

ITEMS_OF_TASTE, TASTES_OF_USER, CLICKS_OF_USER = 200, 3, 10
NOISE = 0.1
"""Share of the clicks on any item."""
WORDS_OF_TASTE, WORDS_OF_TITLE = 12, 6
SECONDS = 365 * 24 * 3600
SMALL_BATCH = 2048
METRICS = 'val_recall@20', 'test_recall@20', 'test_ndcg@20'


def write_tables(folder: Path, num_users: int, num_items: int, seed: int) -> None:
    """Write ``clicks.parquet`` and ``items.parquet``."""
    rng = np.random.default_rng(seed)
    num_tastes = max(2, num_items // ITEMS_OF_TASTE)
    taste_of_item = rng.permutation(num_items) % num_tastes
    by_taste = np.argsort(taste_of_item, kind='stable')
    size = np.bincount(taste_of_item, minlength=num_tastes)
    start = np.cumsum(size) - size
    tastes = rng.integers(num_tastes, size=(num_users, TASTES_OF_USER))
    user = np.repeat(np.arange(num_users), CLICKS_OF_USER)
    taste = tastes[user, rng.integers(TASTES_OF_USER, size=user.size)]
    # Popular items of a taste are clicked more: the square leans towards the first of them.
    rank = (rng.random(user.size) ** 2 * size[taste]).astype(np.int64)
    item = by_taste[start[taste] + rank]
    is_noise = rng.random(user.size) < NOISE
    item[is_noise] = rng.integers(num_items, size=int(is_noise.sum()))
    seconds = rng.integers(SECONDS, size=user.size)
    clicks = {
        'user_id': [f'u{row}' for row in user],
        'item_id': [f'i{row}' for row in item],
        'time': seconds,
    }
    pq.write_table(pa.table(clicks), folder / 'clicks.parquet')
    own = taste_of_item[:, None] * WORDS_OF_TASTE + rng.integers(
        WORDS_OF_TASTE, size=(num_items, WORDS_OF_TITLE)
    )
    titles = [' '.join(f'word{word}' for word in words) for words in own]
    items = {'item_id': [f'i{row}' for row in range(num_items)], 'title': titles}
    pq.write_table(pa.table(items), folder / 'items.parquet')


def run(*words: object) -> dict[str, float]:
    """Run the command, and return its minutes and its peak memory."""
    command = [sys.executable, '-m', 'pyg_mmgef', *map(str, words)]
    print('$ pyg-mmgef', *words[:1], flush=True)
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code:
        raise subprocess.CalledProcessError(code, command)
    minutes = (time.perf_counter() - start) / 60
    return {'minutes': minutes, 'peak_gib': usage.ru_maxrss / 2**20}


def trained(shop: Path, folder: Path, options: Sequence[object]) -> dict[str, Any]:
    """Train a model, and return what it cost and how good it is."""
    cost = run('train', shop, '-o', folder, *options)
    metrics = read_json(folder / 'metrics.json')
    settings = read_json(folder / 'config.json')['settings']
    names = 'model', 'batch_size', 'lr', 'graph_recall', 'val_users', 'l2', 'unobserved_weight'
    return {
        **cost,
        'epochs': metrics['epochs'],
        'settings': {name: settings.get(name) for name in names},
        'metrics': {name: metrics[name] for name in METRICS},
        'baselines': metrics['baselines'],
    }


def main() -> None:
    """Run the benchmark."""
    flags = parser(str(__doc__))
    flags.add_argument('--users', type=int, default=200_000)
    flags.add_argument('--items', type=int, default=200_000)
    flags.add_argument('--model', default='contentials')
    flags.add_argument('--epochs', type=int, help='most epochs of a model that is trained')
    flags.add_argument(
        '--compare-batches', action='store_true', help=f'train with batches of {SMALL_BATCH}, too'
    )
    flags.add_argument('--small-batch-epochs', type=int, help='most epochs with that batch')
    flags.add_argument('--seed', type=int, default=0)
    args = flags.parse_args()
    num_users, num_items = (2000, 2000) if args.quick else (args.users, args.items)
    os.environ['OMP_NUM_THREADS'] = str(args.threads)
    options: list[object] = ['--model', args.model]
    if args.epochs is not None:
        options += ['--epochs', args.epochs]
    results: dict[str, Any] = {'users': num_users, 'items': num_items}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_tables(place, num_users, num_items, args.seed)
        shop, first = place / 'shop', place / 'first'
        tables = place / 'clicks.parquet', '--items', place / 'items.parquet'
        results['prepare'] = run('prepare', *tables, '--text', 'title', '-o', shop)
        results['train'] = trained(shop, first, options)
        results['report'] = run('report', first)
        results['minutes'] = sum(results[key]['minutes'] for key in ('prepare', 'train', 'report'))
        if args.compare_batches:
            small = [*options, '--batch-size', SMALL_BATCH]
            if args.small_batch_epochs is not None:
                small += ['--epochs', args.small_batch_epochs]
            results['small_batch'] = trained(shop, place / 'small', small)
    write_json(args.output / f'large_catalogue_{args.model}.json', results)
    print(f'{results["minutes"]:.1f} minutes from tables to report')


if __name__ == '__main__':
    main()
