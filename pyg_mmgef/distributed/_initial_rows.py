"""Initial rows of tables that no process holds whole."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ['Fill', 'fill_rows', 'fills_of']

BLOCK = 2**14
"""Rows that are sampled at once, with a generator of their own."""

Fill = Callable[[Tensor, torch.Generator], object]
"""Fills rows in place with random numbers."""


class _LastFills(TorchDispatchMode):
    """Notes the last operation that changes each of some tensors in place."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.tensors = tensors
        self.last: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for name, tensor in self.tensors.items():
            if func._schema.is_mutable and args and args[0] is tensor:
                self.last[name] = func, args[1:], kwargs or {}
        return func(*args, **(kwargs or {}))


def fills_of(model: Module, tables: dict[str, Tensor]) -> dict[str, Fill]:
    """Return how a model's ``reset_parameters`` fills its tables, without memory for them.

    Args:
        model: The model on the device ``'meta'``, where its operations compute nothing.
        tables: The weights of its tables by name.

    Raises:
        ValueError: If a table isn't filled by one random operation, such as those of
            ``xavier_uniform_``, ``xavier_normal_``, ``uniform_`` or ``normal_``.
    """
    reset = getattr(model, 'reset_parameters', None)
    with torch.no_grad(), _LastFills(tables) as fills:
        if callable(reset):
            reset()
    return {name: _replay(name, *fills.last.get(name, (None, (), {}))) for name in tables}


def _replay(name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Fill:
    known = () if func is None else [argument.name for argument in func._schema.arguments]
    if 'generator' not in known:
        found = 'nothing' if func is None else func._schema.name
        raise ValueError(
            f'reset_parameters must end with one random fill of {name!r}, such as '
            f'torch.nn.init.xavier_uniform_, so that each process can sample its own rows (found '
            f'{found})'
        )

    def fill(rows: Tensor, generator: torch.Generator) -> object:
        return func(rows, *args, **{**kwargs, 'generator': generator})

    return fill


@torch.no_grad()
def fill_rows(out: Tensor, start: int, name: str, fill: Fill, seed: int) -> None:
    """Fill the rows of a table that a process holds.

    A row depends on the seed, the table and its own number alone, so any number of processes begins
    with the same table.

    Args:
        out: The rows, which are overwritten. Shape: ``[N, channels]``.
        start: The number of the first one in the table.
        name: The name of the table.
        fill: Its distribution.
        seed: The seed.
    """
    stop = start + len(out)
    block = torch.empty(BLOCK, out.size(1), dtype=out.dtype)
    for first in range(start - start % BLOCK, stop, BLOCK):
        entropy = [seed, zlib.crc32(name.encode()), first // BLOCK]
        (state,) = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
        fill(block, torch.Generator().manual_seed(int(state >> np.uint64(1))))
        low, high = max(first, start), min(first + BLOCK, stop)
        out[low - start : high - start] = block[low - first : high - first]
