"""How long do the top 20 of all users take, written to a file? Ours beside FAISS and implicit.

A million users and a million items of 64 channels, twenty items of each user left out. Vectors are
of low rank and noise, and an item's length grows with its popularity, as those of trained models
do; or all numbers are random, so that no item can be passed over. Ours ranks all users and writes
Parquet; the peers rank the first users, from which their time for all is extrapolated: FAISS's flat
index, which must find as many more items as a user has, implicit's topk, and FAISS's approximate
index with its recall, which `--peers` can leave out. Each is alone in a new process, which maps the
vectors from files; the peak of its memory is shown, with that of the files.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from common import parser, write_json
from evaluate import RANK
from process import memory, run_alone

from pyg_mmgef.exports import inner_product_index
from pyg_mmgef.ranking import recommend_to_parquet

CHANNELS, K, SEEN = 64, 20, 20
PEERS = ('FAISS flat', 'implicit topk', 'FAISS approximate')
OURS = 'this library'
COMPARED = 500
"""Users whose items are compared with ours."""
BLOCK = 2**16


def make_files(folder: Path, num_users: int, num_items: int, kind: str) -> None:
    """Write the vectors and the interactions to leave out."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(RANK, CHANNELS, generator=generator)
    popularity = torch.rand(num_items, generator=generator).pow(-0.7)
    for name, size in (('user', num_users), ('item', num_items)):
        z = torch.randn(size, CHANNELS, generator=generator)
        if kind == 'low rank':
            z = torch.randn(size, RANK, generator=generator) @ basis + 0.5 * z
            z = z * (1 + 0.1 * popularity.log()[:, None]) if name == 'item' else z
        np.save(folder / f'z_{name}.npy', z.numpy())
    user = torch.arange(num_users).repeat_interleave(SEEN)
    item = torch.randint(num_items, (len(user),), generator=generator)
    np.save(folder / 'exclude.npy', torch.stack([user, item]).numpy())


def vectors(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    user, item = (np.load(folder / f'z_{name}.npy', mmap_mode='r') for name in ('user', 'item'))
    return user, item


def seen_by(folder: Path, num_users: int, num_items: int) -> sp.csr_matrix:
    user, item = np.load(folder / 'exclude.npy', mmap_mode='r')[:, : num_users * SEEN]
    shape = (num_users, num_items)
    return sp.csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=shape)


def ours(folder: Path, num_users: int) -> dict[str, Any]:
    """Rank all users, and keep the file for comparison."""
    z_user, z_item = vectors(folder)
    exclude = torch.from_numpy(np.load(folder / 'exclude.npy')[:, : num_users * SEEN])
    users = torch.arange(num_users)
    start = time.perf_counter()
    recommend_to_parquet(z_user, z_item, folder / 'best.parquet', k=K, users=users, exclude=exclude)
    return {
        'seconds': time.perf_counter() - start,
        'MB': (folder / 'best.parquet').stat().st_size / 1e6,
    }


def kept(items: np.ndarray, seen: sp.csr_matrix) -> np.ndarray:
    """Return the best K items of each row that the user doesn't have."""
    user = np.arange(len(items))[:, None] * seen.shape[1]
    pairs = np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr)) * seen.shape[1] + seen.indices
    order = np.isin(user + items, pairs).argsort(axis=1, kind='stable')[:, :K]
    return np.take_along_axis(items, order, axis=1)


def faiss_flat(folder: Path, num_users: int) -> tuple[np.ndarray, dict[str, Any]]:
    import faiss

    z_user, z_item = vectors(folder)
    seen = seen_by(folder, num_users, len(z_item))
    start = time.perf_counter()
    index = faiss.IndexFlatIP(CHANNELS)
    index.add(np.ascontiguousarray(z_item))
    built = time.perf_counter() - start
    _, items = index.search(np.ascontiguousarray(z_user[:num_users]), K + SEEN)
    items = kept(items, seen)
    return items, {'built': built, 'seconds': time.perf_counter() - start - built}


def faiss_approximate(folder: Path, num_users: int) -> tuple[np.ndarray, dict[str, Any]]:
    z_user, z_item = vectors(folder)
    seen = seen_by(folder, num_users, len(z_item))
    start = time.perf_counter()
    made = inner_product_index(z_item, z_user, 'approximate', recall=0.95, k=K + SEEN)
    built = time.perf_counter() - start
    _, items = made.index.search(np.ascontiguousarray(z_user[:num_users]), K + SEEN)
    items = kept(items, seen)
    taken = time.perf_counter() - start - built
    return items, {'built': built, 'seconds': taken, 'kind': made.kind, 'recall': made.recall}


def implicit_topk(folder: Path, num_users: int) -> tuple[np.ndarray, dict[str, Any]]:
    from implicit.cpu.topk import topk

    z_user, z_item = vectors(folder)
    seen = seen_by(folder, num_users, len(z_item))
    item, query = np.ascontiguousarray(z_item), np.ascontiguousarray(z_user[:num_users])
    start = time.perf_counter()
    items, _ = topk(item, query, K, filter_query_items=seen, num_threads=torch.get_num_threads())
    return items, {'built': 0.0, 'seconds': time.perf_counter() - start}


RUN = {
    'FAISS flat': faiss_flat,
    'implicit topk': implicit_topk,
    'FAISS approximate': faiss_approximate,
}


def alone(name: str, folder: Path, num_users: int) -> dict[str, Any]:
    """Run one contestant in this process."""
    before = memory('VmHWM')
    if name == OURS:
        row = ours(folder, num_users)
    else:
        items, row = RUN[name](folder, num_users)
        np.save(folder / f'{name}.npy', items)
    peak = memory('VmHWM')
    return {'users': num_users, **row, 'MiB': peak, 'imports_MiB': before}


def agreement(folder: Path, name: str) -> float:
    """Return the share of a peer's items that ours has for the same users."""
    from pyarrow.parquet import ParquetFile

    items = np.load(folder / f'{name}.npy')[:COMPARED]
    rows = next(ParquetFile(folder / 'best.parquet').iter_batches(len(items) * K))
    own = rows['item'].to_numpy().reshape(-1, K)
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(own, items, strict=True)]))


def main() -> None:
    options = parser(__doc__)
    options.add_argument('--users', type=int, default=1_000_000)
    options.add_argument('--items', type=int, default=1_000_000)
    options.add_argument('--peer-users', type=int, default=4_096, help='users that peers rank')
    options.add_argument('--peers', nargs='+', choices=PEERS, default=PEERS)
    options.add_argument('--alone', nargs=3, help=argparse.SUPPRESS)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    if args.alone:
        name, folder, num_users = args.alone
        print(json.dumps(alone(name, Path(folder), int(num_users))))
        return
    if args.quick:
        args.users, args.items, args.peer_users = 20_000, 20_000, 2_000
    results: dict[str, dict[str, Any]] = {}
    for kind in ('low rank', 'random'):
        title = f'{args.users:,} users, {args.items:,} items, {kind}'
        results[title] = {}
        print(f'\n{title}\n{"":<22}{"users":>10}{"s":>10}{"s for all":>12}{"GiB":>7}{"agree":>8}')
        with tempfile.TemporaryDirectory() as name_of_folder:
            folder = Path(name_of_folder)
            make_files(folder, args.users, args.items, kind)
            for name in (OURS, *args.peers):
                users = args.users if name == OURS else min(args.users, args.peer_users)
                words = ['--alone', name, str(folder), str(users), '--threads', str(args.threads)]
                row = run_alone(__file__, words, args.threads)
                if 'failed' not in row:
                    row['seconds_all'] = row['seconds'] * args.users / users + row.get('built', 0)
                    row['agreement'] = 1.0 if name == OURS else agreement(folder, name)
                results[title][name] = row
                print(shown(name, row))
    write_json(args.output / 'bulk_top_k.json', results)


def shown(name: str, row: dict[str, Any]) -> str:
    if 'failed' in row:
        return f'{name:<22} failed: {row["failed"]}'
    return (
        f'{name:<22}{row["users"]:>10,}{row["seconds"]:>10.2f}{row["seconds_all"]:>12.1f}'
        f'{row["MiB"] / 1024:>7.2f}{row["agreement"]:>8.4f}'
    )


if __name__ == '__main__':
    main()
