"""What the processes decide together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from pyg_mmgef.distributed._exchange import Group, gather, place_in, sum_over

__all__ = ['check_equal', 'in_first_process', 'raise_together', 'same_number']


@contextmanager
def raise_together(device: torch.device, group: Group = None) -> Iterator[None]:
    """Raise an error of the block in all processes: its own, or one that names its process.

    Else the others would wait for a process that never comes. All processes must enter the block,
    and nothing in it may wait for another one.

    Args:
        device: The device of this process.
        group: The processes; :obj:`None` means all. (default: :obj:`None`)
    """
    error = None
    try:
        yield
    except Exception as found:
        error = found
    rank, size = place_in(group)
    failed = torch.tensor([size if error is None else rank], dtype=torch.int64, device=device)
    first = int(sum_over(failed, group, dist.ReduceOp.MIN))
    if error is not None:
        raise error
    if first < size:
        raise RuntimeError(f'process {first} has failed; its own message says why')


def check_equal(what: str, number: int, device: torch.device, group: Group) -> None:
    """Raise a :class:`ValueError` in all processes, unless they all have the same number.

    Args:
        what: What must be the same, and how to make it so.
        number: The number of this process.
        device: The device of this process.
        group: The processes.
    """
    numbers = gather(torch.tensor(number, dtype=torch.int64, device=device), group)
    other = (numbers != numbers[0]).nonzero().view(-1).tolist()
    if other:
        raise ValueError(
            f'{what} (process 0 has {int(numbers[0])}, process {other[0]} has '
            f'{int(numbers[other[0]])})'
        )


def in_first_process(action: Callable[[], None], device: torch.device, group: Group = None) -> None:
    """Let the first process do what is done once; if it fails, all fail.

    Args:
        action: What it does.
        device: The device of this process.
        group: The processes; :obj:`None` means all. (default: :obj:`None`)
    """
    with raise_together(device, group):
        if place_in(group)[0] == 0:
            action()


def same_number(number: int, device: torch.device) -> int:
    """Return the number that the first process has."""
    out = torch.tensor([number], device=device)
    dist.broadcast(out, src=0)
    return int(out)
