"""Does training on sampled subgraphs reach the same quality, and what does a step of it cost?

Quality: LightGCN and MM-GEF on MovieLens-100K (`ml100k_multimodal` below PYG_MMGEF_DATA, split
8:1:1 anew with each seed) and on Amazon Baby (`amazon_baby`, its own split), trained on the whole
graph and on batches with ten neighbours a node and layer. The epoch is chosen on validation, test
is read once. The clock stops during evaluation.

Size: shops of 10^5, 10^6 and, with `--large`, 10^7 items and as many users, with ten interactions a
user. Time and memory of a step on the whole graph, and on batches with dense and with sparse
gradients. The largest has LightGCN on batches alone; for MM-GEF there are 32-d features and an item
graph with ten neighbours.

Each row is measured alone in a new process. The memory of a step is what its peak adds to what the
process holds between steps: data, model, optimiser and loader.

    python benchmarks/sampled_training.py --output results
    python benchmarks/sampled_training.py --output results --only size --large
"""

import argparse
import ctypes
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import INTERACTS, parser, write_json
from process import memory, run_alone
from torch import Tensor
from torch.nn import Module
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData

from pyg_mmgef.loader import TripletLoader, TripletNeighborLoader
from pyg_mmgef.nn import Recommender
from pyg_mmgef.presets import MERGED, PAPER, Preset
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.transforms import AddReverseInteractions, SplitInteractions

WHOLE, DENSE, SPARSE = 'whole graph', 'batches, Adam', 'batches, SparseAdam'
WAYS = (WHOLE, DENSE, SPARSE)
NUM_NEIGHBORS, BATCH_SIZE = 10, 2048
EVAL_EVERY, PATIENCE = 5, 6
PRESETS = {
    'LightGCN': Preset('LightGCN', {'num_layers': 2}),
    'MM-GEF, merged': replace(MERGED, options={**MERGED.options, 'embedding_dim': 64}),
    'MM-GEF, paper': PAPER,
}
OF_DATA = {'ml100k': tuple(PRESETS), 'baby': ('LightGCN', 'MM-GEF, merged')}
SIZES, LARGE, DIM = (100_000, 1_000_000), 10_000_000, 16
OF_SIZE = {
    'LightGCN': PRESETS['LightGCN'],
    'MM-GEF': Preset('MMGEF', {'item_graphs': ('similar',), 'skip_weight': 1.0}),
}
SparseOrDense = torch.optim.SparseAdam | torch.optim.Adam


class Training:
    """A model in training on the whole graph or on batches of it.

    Args:
        way: How it is trained, one of ``WAYS``.
        build: Builds the model, given whether its gradients are sparse.
        train: The train data, with reversed interactions.
        lr: Learning rate.
        loss_fn: The loss.
        seed: Seed of the triplets and of the neighbours.
    """

    def __init__(
        self,
        way: str,
        build: Callable[[bool], Recommender],
        train: HeteroData,
        lr: float,
        loss_fn: Module,
        seed: int,
    ) -> None:
        self.train, self.loss_fn = train, loss_fn
        self.model = build(way == SPARSE)
        self.optimizers = optimizers_of(self.model, lr, way == SPARSE)
        generator = torch.Generator().manual_seed(seed)
        self.loader: TripletLoader | TripletNeighborLoader
        if way == WHOLE:
            self.loader = TripletLoader(train, BATCH_SIZE, shuffle=True, generator=generator)
        else:
            num_layers: int = self.model.arguments['num_layers']
            self.loader = TripletNeighborLoader(
                train,
                [NUM_NEIGHBORS] * num_layers,
                BATCH_SIZE,
                shuffle=True,
                num_item_layers=getattr(self.model, 'num_item_layers', 0),
                relations=getattr(self.model, 'item_graphs', ()),
                generator=generator,
            )

    def steps(self, epoch: int) -> Iterator[None]:
        """Train an epoch, and yield after each step."""
        self.model.train()
        self.model.start_epoch(self.train, epoch)
        if isinstance(self.loader, TripletNeighborLoader) and self.model.changes_with_epoch:
            self.loader.sample_from(self.model.epoch_data(self.train))
        for batch in self.loader:
            loss = self.model.loss(*self._inputs(batch), self.loss_fn)
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
            del loss, batch
            yield

    def _inputs(self, batch: Any) -> tuple[HeteroData, Tensor, Tensor, Tensor]:
        if not isinstance(batch, HeteroData):
            return self.train, *batch
        items = batch['item']
        return batch, batch['user'].src_index, items.dst_pos_index, items.dst_neg_index

    def cost_of_steps(self, num_steps: int) -> dict[str, float]:
        """Return the median time of a step, and what its peak adds to the memory between steps."""
        steps = (None for epoch in itertools.count() for _ in self.steps(epoch))
        next(steps)
        for optimizer in self.optimizers:  # Moments are zeros that take no memory until written.
            for state in optimizer.state.values():
                for value in state.values():
                    if isinstance(value, Tensor):
                        value.add_(0)
        next(steps)
        ctypes.CDLL(None).malloc_trim(0)
        held = memory('VmRSS')
        Path('/proc/self/clear_refs').write_text('5')  # The peak counts from here on.
        times = []
        for _ in range(num_steps):
            start = time.perf_counter()
            next(steps)
            times.append(time.perf_counter() - start)
        return {
            'ms': 1e3 * statistics.median(times),
            'step_MiB': memory('VmHWM') - held,
            'held_MiB': held,
        }


def optimizers_of(model: Recommender, lr: float, is_sparse: bool) -> list[SparseOrDense]:
    """Return Adam, or SparseAdam for the tables and Adam for the layers."""
    if not is_sparse:
        return [torch.optim.Adam(model.parameters(), lr=lr)]
    named = list(model.named_parameters())
    tables = [parameter for name, parameter in named if 'embedding' in name]
    layers = [parameter for name, parameter in named if 'embedding' not in name]
    out: list[SparseOrDense] = [torch.optim.SparseAdam(tables, lr=lr)]
    return [*out, torch.optim.Adam(layers, lr=lr)] if layers else out


def load(data: str, name: str, seed: int) -> tuple[HeteroData, HeteroData, HeteroData]:
    """Return the split of a data set; train has what a model reads, prepared for sampling."""
    if data == 'baby':
        import amazon_baby

        train, val, test = amazon_baby.load()
    else:
        import ml100k

        shop = ml100k.interactions() if name == 'LightGCN' else ml100k.load()
        train, val, test = SplitInteractions(seed=seed)(shop)
    train = PRESETS[name].transform(build_similar=data != 'baby')(train)
    return AddReverseInteractions()(train), val, test


def quality(data: str, name: str, way: str, seed: int, epochs: int) -> dict[str, Any]:
    """Train a model in this process, and return how it ranks at its best epoch on validation."""
    train, val, test = load(data, name, seed)
    preset = PRESETS[name]

    def training() -> Training:
        seed_everything(seed)
        return Training(
            way,
            lambda sparse: preset.model(train, sparse=sparse),
            train,
            preset.lr,
            preset.loss(),
            seed,
        )

    cost = training().cost_of_steps(min(20, epochs))
    run, best, seconds = training(), {'val recall@20': -1.0}, 0.0
    seen, val_target = train[INTERACTS].edge_index, val[INTERACTS].edge_label_index
    known = torch.cat([seen, val_target], dim=1)
    curve = []
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        for _ in run.steps(epoch - 1):
            pass
        seconds += time.perf_counter() - start
        if epoch % EVAL_EVERY and epoch < epochs:
            continue
        with torch.inference_mode():
            z_user, z_item = run.model.eval()(train)
        recall = evaluate_ranking(z_user, z_item, val_target, exclude=seen, k=20)['recall@20']
        curve.append([epoch, seconds, recall])
        if recall > best['val recall@20']:
            tested = evaluate_ranking(
                z_user, z_item, test[INTERACTS].edge_label_index, exclude=known, k=20
            )
            best = {'val recall@20': recall, 'epoch': epoch, 'seconds': seconds}
            best |= {key: tested[key] for key in ('recall@20', 'ndcg@20')}
        if epoch - best['epoch'] >= PATIENCE * EVAL_EVERY:
            break
    return {**best, **cost, 'seconds an epoch': seconds / epoch, 'curve': curve}


def size(name: str, way: str, num_items: int, num_steps: int) -> dict[str, float]:
    """Return the cost of a step in a shop of this size, in this process."""
    from sampling import prepared_shop
    from scaling import random_shop

    seed_everything(0)
    if name == 'LightGCN':
        train = AddReverseInteractions()(random_shop(num_items, num_items, 10 * num_items))
    else:
        train = prepared_shop(num_items)
    preset = OF_SIZE[name]
    run = Training(
        way,
        lambda sparse: preset.model(train, sparse=sparse, embedding_dim=DIM),
        train,
        preset.lr,
        preset.loss(),
        seed=0,
    )
    return run.cost_of_steps(num_steps)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    if args.alone:
        what, name, way, *others = args.alone
        row = (
            quality(others[0], name, way, int(others[1]), int(others[2]))
            if what == 'quality'
            else size(name, way, int(others[0]), int(others[1]))
        )
        print(json.dumps(row))
        return
    results: dict[str, list[dict[str, Any]]] = {'quality': [], 'size': []}

    def measure(what: str, named: dict[str, Any], *numbers: object) -> None:
        words = ['--alone', what, named['model'], named['way'], *map(str, numbers)]
        row = run_alone(__file__, words, args.threads)
        results[what].append({**named, **row})
        write_json(args.output / 'sampled_training.json', results)
        show({**named, **row})

    for data, seed in itertools.product(args.data, args.seeds) if args.only != 'size' else ():
        for name, way in itertools.product(OF_DATA[data], WAYS):
            named = {'data': data, 'model': name, 'way': way, 'seed': seed}
            measure('quality', named, data, seed, args.epochs)
    for num_items in args.sizes if args.only != 'quality' else ():
        for name, way in itertools.product(OF_SIZE, WAYS):
            if num_items < LARGE or (name, way) == ('LightGCN', SPARSE):
                named = {'items': num_items, 'model': name, 'way': way}
                measure('size', named, num_items, 4 if args.quick else 20)


def show(row: dict[str, Any]) -> None:
    start = f'{row.get("data") or format(row["items"], ","):<12}{row["model"]:<16}{row["way"]:<21}'
    if 'failed' in row:
        print(start, row['failed'][:80], flush=True)
        return
    cost = f'{row["ms"]:>9.1f} ms{row["step_MiB"]:>9.1f} MiB a step{row["held_MiB"]:>9.0f} held'
    if 'epoch' in row:
        cost += (
            f'   R@20 {row["recall@20"]:.4f}  N@20 {row["ndcg@20"]:.4f}  epoch {row["epoch"]}'
            f'  {row["seconds"]:.1f} s'
        )
    print(start, cost, flush=True)


def parse_args() -> argparse.Namespace:
    out = parser(str(__doc__))
    out.add_argument('--only', choices=('quality', 'size'), help='one of the two questions')
    out.add_argument('--data', nargs='+', choices=list(OF_DATA), default=list(OF_DATA))
    out.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    out.add_argument('--epochs', type=int, default=300, help='at most')
    out.add_argument('--large', action='store_true', help=f'also {LARGE:,} items')
    out.add_argument('--alone', nargs='+', help='a row, for a process of its own')
    args = out.parse_args()
    args.sizes = [*SIZES, LARGE] if args.large else list(SIZES)
    if args.quick:
        args.seeds, args.epochs, args.sizes = [0], 2, [10_000, 100_000]
    return args


if __name__ == '__main__':
    main()
