"""Functions run by several processes of one group on this machine."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

__all__ = ['run_together']

MODULES = ['torchrec', 'pyg_mmgef.distributed', 'pyg_mmgef.loader', 'pyg_mmgef.transforms']


def run_together(
    function: Callable[..., Any], num_processes: int, *args: Any, timeout: float = 60.0
) -> list[Any]:
    """Call a function in each of some processes that form a group; return what each returned.

    They are forked from a server that has imported what is slow to import.
    """
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(MODULES)
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(num_processes, mp_context=context) as pool,
    ):
        store = Path(folder) / 'store'
        calls = [
            pool.submit(_call, function, rank, num_processes, store, args, timeout)
            for rank in range(num_processes)
        ]
        for call in as_completed(calls, timeout=300):
            call.result()  # The first error is the cause of those of the others.
        return [call.result() for call in calls]


def _call(
    function: Callable[..., Any],
    rank: int,
    num_processes: int,
    store: Path,
    args: tuple[Any, ...],
    timeout: float,
) -> Any:
    from datetime import timedelta

    import torch.distributed as dist

    torch.set_num_threads(1)
    os.environ |= {'LOCAL_WORLD_SIZE': str(num_processes)}
    dist.init_process_group(
        'gloo',
        store=dist.FileStore(str(store), num_processes),
        rank=rank,
        world_size=num_processes,
        timeout=timedelta(seconds=timeout),
    )
    try:
        return function(*args)
    finally:
        dist.destroy_process_group()
