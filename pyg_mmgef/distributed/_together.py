"""What the processes decide together."""

from collections.abc import Callable

import torch
import torch.distributed as dist

__all__ = ['agree', 'in_first_process', 'same_number']


def agree(error: Exception | None, device: torch.device) -> None:
    """Raise where a process has an error, in all of them: its own, or one that names its rank.

    Else the others would wait for it.

    Args:
        error: The error of this process, if there is one.
        device: The device of this process.
    """
    size = dist.get_world_size()
    first = torch.tensor([size if error is None else dist.get_rank()], device=device)
    dist.all_reduce(first, op=dist.ReduceOp.MIN)
    if error is not None:
        raise error
    if int(first) < size:
        raise RuntimeError(f'process {int(first)} has failed; its own message says why')


def in_first_process(action: Callable[[], None], device: torch.device) -> None:
    """Let the first process do what is done once; if it fails, all fail."""
    error: Exception | None = None
    if dist.get_rank() == 0:
        try:
            action()
        except (OSError, ValueError) as problem:
            error = problem
    agree(error, device)


def same_number(number: int, device: torch.device) -> int:
    """Return the number that the first process has."""
    out = torch.tensor([number], device=device)
    dist.broadcast(out, src=0)
    return int(out)
