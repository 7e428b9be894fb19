"""Time and memory of a training step as the shop grows: Amazon Baby's size times 1, 4, 16 and 64.

Random interactions with a long tail, 512-d item features and two given item graphs with 10
neighbours each, 64 channels. The batch grows with the shop (2,048 triplets times the factor), so an
epoch is the same number of steps. `--million` adds a million users and items with 20 million
interactions and 400,000 triplets a step. Every measurement is alone in a new process, which may
take 20 GiB; what a process needs at its peak is shown, torch itself (0.4 GiB) included. Of the
steps after the first, the fastest counts.
"""

import json
import resource
import time
from pathlib import Path
from typing import Any

import torch
from common import parser, pyplot, save_plot, write_json
from process import memory, run_alone
from pyg_light_gcn import PyGLightGCN
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from torch_geometric.typing import WITH_TORCH_SPARSE

BABY = (19_445, 7_050, 118_551, 2_048)
MILLION = (1_000_000, 1_000_000, 20_000_000, 400_000)
FEATURES, K = 512, 10
LIMIT = 20 * 2**30
METHODS = ('PyG LightGCN, edge_index', 'PyG LightGCN, SparseTensor', 'LightGCN', 'MM-GEF')


def random_shop(num_users: int, num_items: int, num_interactions: int) -> HeteroData:
    """Return a shop whose items have a long tail of popularity."""
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = num_users, num_items
    user = torch.randint(num_users, (num_interactions,), generator=generator)
    tail = torch.rand(num_interactions, generator=generator, dtype=torch.double).pow(3)
    data['user', 'interacts', 'item'].edge_index = torch.stack([user, (tail * num_items).long()])
    return data


def add_content(data: HeteroData) -> None:
    """Add features and two random, normalised item graphs."""
    from pyg_mmgef.graph import symmetric_normalize

    generator = torch.Generator().manual_seed(1)
    num_items = data['item'].num_nodes
    data['item'].x_content = torch.randn(num_items, FEATURES, generator=generator)
    receiver = torch.arange(num_items).repeat_interleave(K)
    for relation in ('similar', 'co_interacts'):
        source = torch.randint(num_items, (num_items * K,), generator=generator)
        graph = data['item', relation, 'item']
        graph.edge_index = torch.stack([source, receiver])
        graph.edge_weight = symmetric_normalize(graph.edge_index, None, num_items)


def measure(method: str, sizes: list[int], num_steps: int) -> dict[str, float]:
    """Train some steps with one method, in this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    seed_everything(0)
    *shop, batch_size = sizes
    data = random_shop(*shop)
    if method.startswith('PyG'):
        times = pyg_steps(data, method.endswith('SparseTensor'), batch_size, num_steps)
    else:
        times = our_steps(data, method, batch_size, num_steps)
    step = min(times[1:])  # What else runs on the machine makes no step faster.
    return {
        'ms': 1e3 * step,
        'first': times[0],
        'epoch': step * -(-shop[2] // batch_size),
        'MiB': memory('VmHWM'),
    }


def our_steps(data: HeteroData, method: str, batch_size: int, num_steps: int) -> list[float]:
    """Return the seconds of steps of our models; the first builds the graphs."""
    from pyg_mmgef.loader import TripletLoader
    from pyg_mmgef.nn import MMGEF, BPRLoss, LightGCN

    if method == 'MM-GEF':
        add_content(data)
    model = (
        MMGEF.from_data(data, skip_weight=1.0) if method == 'MM-GEF' else LightGCN.from_data(data)
    )
    loss_fn, times = BPRLoss(), []
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    batches = iter(TripletLoader(data, batch_size, shuffle=True))
    model.start_epoch(data, 0)
    for _ in range(num_steps):
        start = time.perf_counter()
        loss = model.loss(data, *next(batches), loss_fn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return times


def pyg_steps(data: HeteroData, sparse: bool, batch_size: int, num_steps: int) -> list[float]:
    """Return the seconds of steps of PyG's LightGCN."""
    peer, times = PyGLightGCN(data, sparse), []
    for _ in range(num_steps):
        start = time.perf_counter()
        peer.random_step(batch_size)
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument('--factors', type=int, nargs='+', default=[1, 4, 16, 64])
    arguments.add_argument('--million', action='store_true')
    arguments.add_argument('--alone', nargs=6, help='method, sizes and steps: one measurement')
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    if args.alone:
        method, *numbers = args.alone
        *sizes, num_steps = map(int, numbers)
        print(json.dumps(measure(method, sizes, num_steps)))
        return
    shops = {f'x{factor}': [factor * n for n in BABY] for factor in args.factors}
    if args.quick:
        shops = {'x1': list(BABY), 'x4': [4 * n for n in BABY]}
    if args.million:
        shops['million'] = list(MILLION)
    print(
        f'{"":<10}{"":<28}{"ms a step":>10}{"s an epoch":>12}{"GB":>7}   ({args.threads} threads)'
    )
    results: dict[str, Any] = {}
    for shop, sizes in shops.items():
        named = dict(zip(('users', 'items', 'interactions', 'triplets'), sizes, strict=True))
        results[shop] = {**named, 'methods': {}}
        for method in METHODS:
            if method.endswith('SparseTensor') and not WITH_TORCH_SPARSE:
                continue
            num_steps = 4 if args.quick else 21 if max(sizes) < 200_000 else 6
            row = run_alone(
                __file__, ['--alone', method, *map(str, sizes), str(num_steps)], args.threads
            )
            results[shop]['methods'][method] = row
            write_json(args.output / 'scaling.json', results)
            if 'failed' in row:
                print(f'{shop:<10}{method:<28} {row["failed"][:60]}', flush=True)
                continue
            print(
                f'{shop:<10}{method:<28}{row["ms"]:>10.1f}{row["epoch"]:>12.1f}'
                f'{row["MiB"] / 1024:>7.1f}',
                flush=True,
            )
    plot(args.output / 'scaling.png', results)


def plot(path: Path, results: dict[str, Any]) -> None:
    figure, axes = pyplot().subplots(1, 2, figsize=(9, 3.5), layout='constrained')
    for method in METHODS:
        rows = {
            shop: found['methods'][method]
            for shop, found in results.items()
            if 'failed' not in found['methods'].get(method, {'failed': ''})
        }
        axes[0].plot(list(rows), [row['ms'] for row in rows.values()], marker='o', label=method)
        axes[1].plot(list(rows), [row['MiB'] / 1024 for row in rows.values()], marker='o')
    axes[0].set(yscale='log', ylabel='ms a step', xlabel="size, times Amazon Baby's")
    axes[1].set(yscale='log', ylabel='GB at the peak', xlabel="size, times Amazon Baby's")
    axes[0].legend(frameon=False, fontsize=8)
    save_plot(figure, path)


if __name__ == '__main__':
    main()
