"""Memory, speed and communication of sharded tables, beside whole ones in every process.

LightGCN with 64 channels on random shops, with batches of 2,048 triplets and ten neighbours a node
in each of two hops. One, two and four processes take the same steps, each with its share of every
batch. `ShardedModel` is compared with torch's DistributedDataParallel over whole tables, which
exchanges the gradients of all rows, or, if they are sparse, those of the rows in a batch.

Held is the size of the tables and of their optimiser's state; the peak is the memory of a process,
less what it had before it built the model; of both, that of the process with the most is shown.
Communication is the time of a step in which an exchange of gloo is under way, as torch's profiler
records them. It includes waiting for another process, and may overlap with computing. All
processes share the threads and the memory of one machine, so more of them are no faster here.
Needs TorchRec.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from common import parser, write_json
from process import memory
from scaling import random_shop
from torch import Tensor
from torch.nn import Module
from torch.optim import Adagrad, Optimizer
from torch_geometric.data import HeteroData

SIZES, QUICK = (100_000, 1_000_000), (10_000,)
CHANNELS, LAYERS, NEIGHBORS, INTERACTIONS, BATCH_SIZE = 64, 2, 10, 5, 2048
NUM_BATCHES = 10  # They are made before, and used in turn.
LR = 0.1
ROW_WISE, SHARDED = 'sharded, row-wise Adagrad', 'sharded, Adagrad'
DENSE, SPARSE = 'DDP, Adagrad', 'DDP, sparse gradients, Adagrad'
METHODS = (ROW_WISE, SHARDED, DENSE, SPARSE)


class BatchLoss(Module):
    """The loss of a batch, for DistributedDataParallel."""

    def __init__(self, model: Any, loss_fn: Module) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, batch: HeteroData) -> Tensor:
        """Return the loss of a batch of triplets."""
        user, item = batch['user'], batch['item']
        loss: Tensor = self.model.loss(
            batch, user.src_index, item.dst_pos_index, item.dst_neg_index, self.loss_fn
        )
        return loss


def build(method: str, data: HeteroData) -> tuple[Module, Optimizer, Callable[[], list[Tensor]]]:
    """Return the loss as a module, its optimiser, and what lists all that the process holds."""
    from pyg_mmgef.distributed import ShardedModel
    from pyg_mmgef.nn import BPRLoss, LightGCN

    options = {'embedding_dim': CHANNELS, 'num_layers': LAYERS}
    if method in (ROW_WISE, SHARDED):
        optimizer = 'rowwise_adagrad' if method == ROW_WISE else 'adagrad'
        with torch.device('meta'):
            model = LightGCN.from_data(data, **options)
        sharded = ShardedModel(model, BPRLoss(), lr=LR, optimizer=optimizer)
        return sharded, sharded.optimizer, lambda: list(shards(sharded.sharded_state().values()))
    torch.manual_seed(0)
    whole = LightGCN.from_data(data, **options, sparse=method == SPARSE)
    parallel = torch.nn.parallel.DistributedDataParallel(BatchLoss(whole, BPRLoss()))
    adagrad = Adagrad(whole.parameters(), lr=LR)
    states = adagrad.state.values
    return (
        parallel,
        adagrad,
        lambda: [*whole.parameters(), *(x for state in states() for x in state.values())],
    )


def shards(state: Iterable[Any]) -> Iterable[Tensor]:
    """Yield the rows of this process of each sharded tensor."""
    for value in state:
        yield from (shard.tensor for shard in value.local_shards())


def measure(method: str, num_rows: int, num_steps: int) -> dict[str, float]:
    """Train some steps, as one of the processes."""
    import torchrec.distributed.model_parallel  # noqa: F401, its memory isn't that of a table.

    from pyg_mmgef.loader import TripletNeighborLoader
    from pyg_mmgef.transforms import AddReverseInteractions

    data = AddReverseInteractions()(random_shop(num_rows, num_rows, INTERACTIONS * num_rows))
    loader = TripletNeighborLoader(
        data,
        [NEIGHBORS] * LAYERS,
        BATCH_SIZE,
        shuffle=True,
        num_replicas=dist.get_world_size(),
        rank=dist.get_rank(),
    )
    batches = [
        (loader.loss_weight(number), batch)
        for number, batch in enumerate(itertools.islice(loader, NUM_BATCHES))
    ]
    before = memory('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # The peak counts from here on.
    parallel, optimizer, held = build(method, data)
    parallel.train()

    def steps(number: int) -> float:
        dist.barrier()
        start = time.perf_counter()
        for step in range(number):
            weight, batch = batches[step % len(batches)]
            loss = weight * parallel(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        dist.barrier()
        return time.perf_counter() - start

    steps(3)
    seconds = steps(num_steps)
    peak = memory('VmHWM') - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        steps(num_steps)
    exchanges = [
        (event.time_range.start, event.time_range.end)
        for event in profile.events()
        if event.name.startswith('gloo:') and event.name != 'gloo:barrier'
    ]
    held_now = sum(x.nbytes for x in held()) / 2**20
    row = torch.tensor([held_now, peak, covered(exchanges) / 1e6 / num_steps])
    dist.all_reduce(row, dist.ReduceOp.MAX)
    names = ('held_MiB', 'peak_MiB', 'communication_seconds')
    return {**dict(zip(names, row.tolist(), strict=True)), 'steps_per_second': num_steps / seconds}


def covered(intervals: list[tuple[float, float]]) -> float:
    """Return the time that lies in at least one of some intervals."""
    total, end_before = 0.0, 0.0
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, end_before))
        end_before = max(end, end_before)
    return total


def launch(number: int, threads: int, *worker: str) -> dict[str, Any]:
    """Measure in new processes; ``{'failed': reason}`` if they fail."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += ['--nproc-per-node', str(number), __file__, '--worker', *worker]
    done = subprocess.run(
        command,
        env=os.environ | {'OMP_NUM_THREADS': str(max(1, threads // number))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return {'failed': f'exit {done.returncode}'}
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def work(args: argparse.Namespace) -> None:
    """Be one of the processes; the first one prints the row."""
    from pyg_mmgef.distributed import process_group

    method, *numbers = args.worker
    with process_group() as place:
        row = measure(method, *map(int, numbers))
        if place.rank == 0:
            print(json.dumps(row), flush=True)


def main() -> None:
    flags = parser(str(__doc__))
    flags.add_argument('--sizes', type=int, nargs='+', help='users, and as many items')
    flags.add_argument('--processes', type=int, nargs='+', default=[1, 2, 4])
    flags.add_argument('--worker', nargs=3, help='a method, its size and steps, for a process')
    args = flags.parse_args()
    if args.worker:
        work(args)
        return
    torch.set_num_threads(args.threads)
    num_steps = '5' if args.quick else '30'
    print(
        f'{"rows":>10}  {"method":<32}{"processes":>10}{"held MiB":>10}{"peak MiB":>10}'
        f'{"steps/s":>10}{"communication s":>17}'
    )
    results: dict[str, Any] = {}
    for num_rows in args.sizes or (QUICK if args.quick else SIZES):
        rows: dict[str, Any] = {}
        results[str(2 * num_rows)] = rows
        for method in METHODS:
            rows[method] = {}
            for number in args.processes:
                row = launch(number, args.threads, method, str(num_rows), num_steps)
                rows[method][str(number)] = row
                show(2 * num_rows, method, number, row)
                write_json(args.output / 'sharded_tables.json', results)


def show(num_rows: int, method: str, number: int, row: dict[str, Any]) -> None:
    start = f'{num_rows:>10,}  {method:<32}{number:>10}'
    if 'failed' in row:
        print(start, row['failed'], flush=True)
        return
    print(
        f'{start}{row["held_MiB"]:>10.1f}{row["peak_MiB"]:>10.1f}'
        f'{row["steps_per_second"]:>10.2f}{row["communication_seconds"]:>17.3f}',
        flush=True,
    )


if __name__ == '__main__':
    main()
