"""Time and memory of a sampled batch as the shop grows: our loader beside PyG's.

Shops of 10^5, 10^6 and, with `--large`, 10^7 items and as many users, with ten interactions a user,
a long tail of popularity, 32-d features and an item graph with ten neighbours. A batch has 2,048
triplets and the subgraph around them: ten interactions of a node in each of two hops, and all
neighbours in the item graph of the items of the triplets. PyG's `LinkNeighborLoader` samples the
same numbers of neighbours; it needs torch-sparse (or pyg-lib) and is left out where neither is
installed. Its negatives are sampled from all items, ours from those that the user hasn't.

Each measurement is alone in a new process. The graph is what the process holds once the loader is
built and has made its first batch, for which it shuffles the interactions; a step is what the peak
adds to that while it makes batches.
"""

import ctypes
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from common import INTERACTS, parser, write_json
from process import memory, run_alone
from scaling import random_shop
from torch import Tensor
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE

SIZES, LARGE = (100_000, 1_000_000), 10_000_000
INTERACTIONS_OF_USER, FEATURES, K = 10, 32, 10
BATCH_SIZE, NUM_NEIGHBORS = 2048, [10, 10]
SIMILAR = ('item', 'similar', 'item')
OURS, PYG = 'TripletNeighborLoader', 'PyG LinkNeighborLoader'


def prepared_shop(num_items: int) -> HeteroData:
    """Return a shop with features and an item graph, prepared for sampling."""
    from pyg_mmgef.transforms import AddReverseInteractions

    data = random_shop(num_items, num_items, INTERACTIONS_OF_USER * num_items)
    generator = torch.Generator().manual_seed(1)
    data['item'].x_content = torch.randn(num_items, FEATURES, generator=generator)
    source = torch.randint(num_items, (num_items * K,), generator=generator)
    receiver = torch.arange(num_items).repeat_interleave(K)
    data[SIMILAR].edge_index = torch.stack([source, receiver])
    data[SIMILAR].edge_weight = torch.full((num_items * K,), 1 / K)
    return AddReverseInteractions()(data)


def loader_of(method: str, data: HeteroData) -> Iterator[HeteroData]:
    """Return the batches of a loader."""
    if method == OURS:
        from pyg_mmgef.loader import TripletNeighborLoader

        return iter(TripletNeighborLoader(data, NUM_NEIGHBORS, BATCH_SIZE, shuffle=True))
    from torch_geometric.loader import LinkNeighborLoader

    from pyg_mmgef.schema import REV_INTERACTS

    no_more = [0] * (len(NUM_NEIGHBORS) - 1)
    return iter(
        LinkNeighborLoader(
            data,
            {INTERACTS: NUM_NEIGHBORS, REV_INTERACTS: NUM_NEIGHBORS, SIMILAR: [-1, *no_more]},
            edge_label_index=INTERACTS,
            neg_sampling='triplet',
            batch_size=BATCH_SIZE,
            shuffle=True,
        )
    )


def measure(method: str, num_items: int, num_batches: int) -> dict[str, float]:
    """Make batches with one loader, in this process."""
    seed_everything(0)
    data = prepared_shop(num_items)
    before, start = memory('VmRSS'), time.perf_counter()
    batches = loader_of(method, data)
    next(batches)
    first = time.perf_counter() - start
    ctypes.CDLL(None).malloc_trim(0)  # What the first batch took, and the sort of the edges.
    held = memory('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # The peak counts from here on.
    times = []
    for _ in range(num_batches):
        start = time.perf_counter()
        batch = next(batches)
        times.append(time.perf_counter() - start)
    return {
        'first_seconds': first,
        'batches_per_second': 1 / statistics.median(times),
        'data_MiB': before,
        'graph_MiB': held - before,
        'step_MiB': memory('VmHWM') - held,
        'batch_MiB': num_bytes(batch) / 2**20,
        'nodes': sum(batch[key].num_nodes for key in batch.node_types),
        'edges': sum(batch[key].num_edges for key in batch.edge_types),
    }


def num_bytes(batch: HeteroData) -> int:
    """Return the size of the tensors of a batch."""
    values = [value for store in batch.stores for value in store.values()]
    return sum(value.nbytes for value in values if isinstance(value, Tensor))


def main() -> None:
    flags = parser(str(__doc__))
    flags.add_argument('--large', action='store_true', help=f'also {LARGE:,} items')
    flags.add_argument('--alone', nargs=3, help='a method and its sizes, for a process of its own')
    args = flags.parse_args()
    torch.set_num_threads(args.threads)
    if args.alone:
        method, *numbers = args.alone
        print(json.dumps(measure(method, *map(int, numbers))))
        return
    sizes = (10_000, 100_000) if args.quick else (*SIZES, LARGE) if args.large else SIZES
    methods = [OURS, PYG] if WITH_TORCH_SPARSE or WITH_PYG_LIB else [OURS]
    if PYG not in methods:
        print(f'{PYG} needs torch-sparse, which is not installed; it is left out')
    print(
        f'{"items":>12}  {"loader":<24}{"first s":>9}{"batches/s":>11}{"graph MiB":>11}'
        f'{"step MiB":>10}{"batch MiB":>11}{"nodes":>9}{"edges":>9}'
    )
    results: dict[str, Any] = {}
    for num_items in sizes:
        results[str(num_items)] = {}
        for method in methods:
            row = run_alone(
                __file__,
                ['--alone', method, str(num_items), '10' if args.quick else '100'],
                args.threads,
            )
            results[str(num_items)][method] = row
            show(num_items, method, row)
    write_json(args.output / 'sampling.json', results)


def show(num_items: int, method: str, row: dict[str, Any]) -> None:
    start = f'{num_items:>12,}  {method:<24}'
    if 'failed' in row:
        print(start, row['failed'][:60], flush=True)
        return
    print(
        f'{start}{row["first_seconds"]:>9.1f}{row["batches_per_second"]:>11.1f}'
        f'{row["graph_MiB"]:>11.0f}{row["step_MiB"]:>10.0f}{row["batch_MiB"]:>11.1f}'
        f'{row["nodes"]:>9,}{row["edges"]:>9,}',
        flush=True,
    )


if __name__ == '__main__':
    main()
