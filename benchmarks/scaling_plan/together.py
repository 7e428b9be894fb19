"""What several processes of this machine measure together, over gloo and the loopback."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from process import memory

__all__ = ['exchange', 'launch', 'tables', 'work_together']

SIZES = (2**16, 2**20, 2**24)
"""Bytes of a process in a collective."""
REPEATS = 7


def launch(task: str, processes: int, threads: int, arguments: dict[str, Any]) -> Any:
    """Run a task in new processes, and return what the first of them found.

    Args:
        task: ``'exchange'`` or ``'tables'``.
        processes: Their number.
        threads: Threads of all together.
        arguments: Of the task.
    """
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += ['--nproc-per-node', str(processes), str(Path(__file__).parent / '__main__.py')]
    command += ['--together', task, json.dumps(arguments)]
    done = subprocess.run(
        command,
        env=os.environ | {'OMP_NUM_THREADS': str(max(1, threads // processes))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {'failed': (done.stderr.strip().splitlines() or ['no message'])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def work_together(task: str, arguments: dict[str, Any]) -> None:
    """Be one of the processes of a task, and print what the first of them found."""
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    dist.init_process_group('gloo', timeout=timedelta(minutes=30))
    found = exchange(**arguments) if task == 'exchange' else tables(**arguments)
    if dist.get_rank() == 0:
        print(json.dumps(found), flush=True)
    time.sleep(0.1)  # gloo's threads free their last tensors.
    dist.destroy_process_group()


def exchange(sizes: list[int]) -> dict[str, Any]:
    """Return the bandwidth and latency of the loopback, and the seconds of collectives.

    ``pair`` is the bandwidth of two processes that send to each other, the others being idle;
    ``all`` that of a process while each sends to the next.
    """
    rank, number = dist.get_rank(), dist.get_world_size()
    small, large = torch.zeros(8, dtype=torch.uint8), torch.zeros(SIZES[-1], dtype=torch.uint8)

    def swap(x: torch.Tensor, among: int) -> Callable[[], None]:
        coming = torch.zeros_like(x)

        def run() -> None:
            if rank < among:
                works = [
                    dist.isend(x, (rank + 1) % among),
                    dist.irecv(coming, (rank - 1) % among),
                ]
                for work in works:
                    assert work is not None
                    work.wait()

        return run

    out: dict[str, Any] = {
        'latency': fastest(swap(small, 2)),
        'pair': large.numel() / fastest(swap(large, 2)),
        'all': large.numel() / fastest(swap(large, number)),
        'collectives': [],
    }
    for size in sizes:
        for kind, run in collectives(size).items():
            out['collectives'].append({'kind': kind, 'size': size, 'seconds': fastest(run)})
    return out


def collectives(size: int) -> dict[str, Callable[[], None]]:
    """Return the collectives that the library uses, each of so many bytes of a process."""
    from pyg_mmgef.distributed._exchange import visit

    number = dist.get_world_size()
    x = torch.zeros(size // 4 // number * number)
    out = torch.empty_like(x)
    parts = x.split(x.numel() // number)

    def ring() -> None:
        for _ in visit(x.view(-1, 1), None):
            pass

    def reduce() -> None:
        for owner, part in enumerate(parts):
            dist.reduce(part, owner)

    return {
        'all_to_all': lambda: dist.all_to_all_single(out, x),
        'all_reduce': lambda: dist.all_reduce(x),
        'ring': ring,
        'reduce': reduce,
    }


def fastest(run: Callable[[], None]) -> float:
    """Return the seconds of the slowest process in the fastest of several runs."""
    run()
    times = []
    for _ in range(REPEATS):
        dist.barrier()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    slowest = torch.tensor(times)
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    return float(slowest.min())


def tables(
    shop: list[int], channels: int, num_neighbors: list[int], batch: int, repeats: int
) -> dict[str, float]:
    """Return what a step with sharded tables costs a process, the most of all of them."""
    from scaling import random_shop

    from pyg_mmgef.distributed import ShardedModel
    from pyg_mmgef.loader import TripletNeighborLoader
    from pyg_mmgef.nn import BPRLoss, LightGCN
    from pyg_mmgef.transforms import AddReverseInteractions

    rank, number = dist.get_rank(), dist.get_world_size()
    with torch.device('meta'):
        model = LightGCN(shop[0], shop[1], embedding_dim=channels, num_layers=len(num_neighbors))
    started = memory('VmRSS')
    data = AddReverseInteractions()(random_shop(shop[0], shop[1], shop[2]))
    sharded = ShardedModel(model, BPRLoss(), lr=0.1)
    loader = TripletNeighborLoader(
        data, num_neighbors, batch * number, shuffle=True, num_replicas=number, rank=rank
    )
    batches = (batch for _ in itertools.count() for batch in loader)
    times: dict[str, list[float]] = {'sampling': [], 'seconds': []}
    for turn in range(2 + repeats):
        start = time.perf_counter()
        sample = next(batches)
        middle = time.perf_counter()
        dist.barrier()  # The wait for others counts as neither.
        begin = time.perf_counter()
        loss = sharded(sample)
        sharded.optimizer.zero_grad()
        loss.backward()
        sharded.optimizer.step()
        if turn >= 2:
            times['sampling'].append(middle - start)
            times['seconds'].append(time.perf_counter() - begin)
    found = torch.tensor([min(x) for x in times.values()] + [memory('VmHWM')])
    found[2] = 2**20 * (found[2] - started)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return dict(zip((*times, 'peak'), found.tolist(), strict=True))
