import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist

from pyg_mmgef.validate import check_positive

__all__ = ['Place', 'process_group']

# What gloo and NCCL say when another process is gone or late.
_OF_OTHERS = re.compile(
    r'connection (closed|reset|refused)|broken pipe|timed? ?out|remote process|recvvalue|'
    r'peer|wait timeout',
    re.IGNORECASE,
)


class Place(NamedTuple):
    """A process among those that work together."""

    rank: int
    """Its number, from 0."""
    num_processes: int
    """How many there are."""
    device: torch.device
    """Its device."""


@contextmanager
def process_group(timeout: float = 300.0) -> Iterator[Place]:
    """Join the processes that ``torchrun`` has started, for the length of a block.

    Each process takes a GPU, if there is one. What lies there is exchanged by NCCL, what lies on
    the CPU by gloo. A script that ``torchrun`` didn't start is a group of one process.

    Where another process dies or is late, the errors of gloo tell sockets and addresses. The block
    then raises one that says what to do instead. So it does when ``torchrun`` ends this process
    (SIGTERM) because of another one, and after an error also once the block has ended.

    Args:
        timeout: Seconds to wait for the others, at the start and in each exchange.
            (default: ``300.0``)

    Yields:
        The rank of this process, how many there are, and its device.

    Raises:
        SystemExit: If the process is told to end.
        RuntimeError: If another process has died, or hasn't answered in time.
        ValueError: If :obj:`timeout` isn't positive, the process is in a group already, or there
            are more processes on a machine than GPUs.

    Example:
        >>> with process_group(timeout=60) as place:
        ...     place.rank, place.num_processes
        (0, 1)
    """
    check_positive('timeout', timeout, integer=False)
    device = _own_device()
    with _readable_errors(timeout):
        # Data may lie on the CPU while tables are on GPUs.
        backend = 'cpu:gloo,cuda:nccl' if device.type == 'cuda' else 'gloo'
        _join(backend, timedelta(seconds=timeout))
    try:
        with _readable_errors(timeout), _ended_politely():
            yield Place(dist.get_rank(), dist.get_world_size(), device)
    finally:
        # gloo's thread frees the last tensor only now, and aborts if the interpreter has ended.
        time.sleep(0.1)
        dist.destroy_process_group()


def _own_device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device('cpu')
    number, num_gpus = int(os.environ.get('LOCAL_RANK', 0)), torch.cuda.device_count()
    if number >= num_gpus:
        raise ValueError(
            f'process {number} has no GPU (this machine has {num_gpus}); start at most '
            f"--nproc-per-node {num_gpus}, or set CUDA_VISIBLE_DEVICES='' to use CPUs"
        )
    torch.cuda.set_device(number)
    return torch.device('cuda', number)


def _join(backend: str, timeout: timedelta) -> None:
    if dist.is_torchelastic_launched():
        dist.init_process_group(backend, timeout=timeout)
    else:
        dist.init_process_group(
            backend, store=dist.HashStore(), rank=0, world_size=1, timeout=timeout
        )


@contextmanager
def _readable_errors(timeout: float) -> Iterator[None]:
    """Replace errors of torch.distributed that come from another process."""
    started = time.monotonic()
    try:
        yield
    except RuntimeError as error:
        # Those of gloo have no class of their own.
        is_of_torch = isinstance(error, dist.DistError) or 'gloo' in str(error).lower()
        if not is_of_torch or not _OF_OTHERS.search(str(error)):
            raise
        raise RuntimeError(_message(error, timeout, time.monotonic() - started)) from error


@contextmanager
def _ended_politely() -> Iterator[None]:
    """Turn SIGTERM into an exit with a message, in the main thread, which alone can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        why = 'it was told to end, as torchrun does when another process has failed'
        raise SystemExit(_advice(why))

    before = signal.signal(signal.SIGTERM, end)
    yield
    # After an error it stays: torchrun's signal comes before the message is printed.
    signal.signal(signal.SIGTERM, before)


def _message(error: RuntimeError, timeout: float, seconds: float) -> str:
    is_late = re.search(r'timed? ?out|wait timeout', str(error), re.IGNORECASE)
    if is_late and seconds >= timeout:
        return _advice(
            f'another process did not answer within timeout={timeout:g} seconds; give it longer if '
            'it is only slow'
        )
    return _advice('another process has ended; the report of torchrun names it')


def _advice(why: str) -> str:
    rank = os.environ.get('RANK', '0')
    return (
        f'process {rank} stops, because {why}. Run the same command again to go on from the last '
        'checkpoint, which is whole'
    )
