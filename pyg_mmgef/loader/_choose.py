"""Choosing edges from lists, by the compiled extension or, equally, by NumPy."""

import numpy as np
import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from pyg_mmgef._extension import address, load_extension

_neighbors = load_extension('pyg_mmgef.loader._neighbors')

__all__ = ['choose_edges', 'first_above', 'ranges']

STEP, FACTORS = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # Of SplitMix64.


def choose_edges(
    begin: Tensor,
    end: Tensor,
    num: Tensor,
    *,
    key: Tensor,
    weight_before: Tensor | None,
    replace: bool,
    seed: int,
) -> Tensor:
    """Choose edges from each of many lists.

    What is chosen from a list depends on its key and the seed alone. Without repetition every
    subset is equally likely, or, with weights, one edge after the other is chosen in proportion to
    the weights of those that are left.

    Args:
        begin: The first edge of each list. Shape: ``[L]``, as the next three.
        end: The edge after the last of each list.
        num: How many to choose; without :obj:`replace`, at most as many as the list has.
        key: What the random numbers of a list depend on, not negative.
        weight_before: The sums of the whole-numbered weights before each edge of the graph, and of
            all; :obj:`None` if all edges weigh the same. Shape: ``[E + 1]``.
        replace: Whether an edge may be chosen repeatedly.
        seed: A whole number below ``2**64``.

    Returns:
        The chosen edges, list by list; ascending in each where none is repeated.
    """
    slot = cumsum(num)
    if _neighbors is None:
        return _by_numpy(begin, end, slot, key, weight_before, replace, seed)
    num_lists = begin.numel()
    out = torch.empty(int(slot[-1]), dtype=torch.int64, device='cpu')
    weights = 0
    if weight_before is not None:
        weights = address('weight_before', weight_before, torch.int64, weight_before.numel())
    _neighbors.choose(
        begin=address('begin', begin, torch.int64, num_lists),
        end=address('end', end, torch.int64, num_lists),
        slot=address('slot', slot, torch.int64, num_lists + 1),
        key=address('key', key, torch.int64, num_lists),
        weight_before=weights,
        seed=seed,
        out=out.data_ptr(),
        num_lists=num_lists,
        replace=replace,
        num_threads=torch.get_num_threads(),
    )
    return out


def ranges(begin: Tensor, num: Tensor) -> Tensor:
    """Return the numbers from each beginning on, ``num`` of each, one range after the other."""
    slot = cumsum(num)
    offset = (begin - slot[:-1]).repeat_interleave(num)
    return torch.arange(offset.numel(), dtype=torch.int64, device='cpu').add_(offset)


def first_above(values: Tensor, begin: Tensor, end: Tensor, limit: Tensor) -> Tensor:
    """Return the first position in each range at which ascending values exceed the limit.

    Args:
        values: What ascends within each range.
        begin: The first position of each range. Shape: ``[L]``.
        end: The position after the last, the result where no value exceeds the limit.
        limit: The limits. Shape: ``[L]``.
    """
    low, high = begin.clone(), end.clone()
    while bool((low < high).any()):
        middle = (low + high) // 2
        is_open = low < high
        # A range that is closed may lie beyond the last value.
        is_above = values[middle.where(is_open, 0)] > limit
        high = middle.where(is_open & is_above, high)
        low = (middle + 1).where(is_open & ~is_above, low)
    return low


def _by_numpy(
    begin: Tensor,
    end: Tensor,
    slot: Tensor,
    key: Tensor,
    weight_before: Tensor | None,
    replace: bool,
    seed: int,
) -> Tensor:
    """Choose as ``_neighbors.cpp`` does, a step for all lists at a time."""
    num = slot.diff()
    out = ranges(begin, num)
    rows = (num > 0) if replace else (num > 0) & (num < end - begin)
    begin, end, few, key = begin[rows], end[rows], num[rows], key[rows]
    lists = _Lists(begin.numpy(), end.numpy(), few.numpy(), key.numpy(), weight_before, seed)
    out[ranges(slot[:-1][rows], few)] = torch.from_numpy(
        lists.repeatedly() if replace else lists.distinct()
    )
    return out


class _Lists:
    """Lists of which only some edges are chosen."""

    def __init__(
        self,
        begin: np.ndarray,
        end: np.ndarray,
        num: np.ndarray,
        key: np.ndarray,
        weight_before: Tensor | None,
        seed: int,
    ) -> None:
        self.begin, self.end, self.num = begin, end, num
        self.weight_before = weight_before
        self.state = _mix(np.uint64(seed) ^ _mix(key.astype(np.uint64) + np.uint64(STEP)))

    def repeatedly(self) -> np.ndarray:
        row = np.repeat(np.arange(len(self.num)), self.num)
        n = ranges(torch.zeros(len(self.num), dtype=torch.int64), torch.from_numpy(self.num))
        size = self.end - self.begin
        if self.weight_before is None:
            return self.begin[row] + self._below(row, size[row], n.numpy())
        before = self.weight_before.numpy()
        total = before[self.end] - before[self.begin]
        part = before[self.begin[row]] + self._below(row, total[row], n.numpy())
        return self._edge_at(row, part)

    def distinct(self) -> np.ndarray:
        width = int(self.num.max(initial=0))
        beyond = np.iinfo(np.int64).max
        chosen = np.full((len(self.num), width), beyond)  # Ascending in each row.
        left = self._total()
        for n in range(width):
            row = np.flatnonzero(self.num > n)
            if self.weight_before is None:
                edge = self._unlike(row, chosen[row, :n], n)
            else:
                edge = self._of_those_left(row, chosen[row, :n], left[row], n)
                left[row] -= self._weight(edge)
            chosen[row, n] = edge
            chosen[row, : n + 1] = np.sort(chosen[row, : n + 1], axis=1)
        return chosen[chosen < beyond]

    def _unlike(self, row: np.ndarray, chosen: np.ndarray, n: int) -> np.ndarray:
        """Choose an edge, or, if that was chosen before, the last of Floyd's algorithm."""
        last = self.end[row] - self.num[row] + n
        edge = self.begin[row] + self._below(row, last + 1 - self.begin[row], np.array([n]))
        return np.where((chosen == edge[:, None]).any(axis=1), last, edge)

    def _of_those_left(
        self, row: np.ndarray, chosen: np.ndarray, left: np.ndarray, n: int
    ) -> np.ndarray:
        """Choose an edge in proportion to the weights of those that are left."""
        assert self.weight_before is not None
        before = self.weight_before.numpy()
        part = before[self.begin[row]] + self._below(row, left, np.array([n]))
        for edge in chosen.T:
            part += np.where(part >= before[edge], self._weight(edge), 0)
        return self._edge_at(row, part)

    def _edge_at(self, row: np.ndarray, part: np.ndarray) -> np.ndarray:
        assert self.weight_before is not None
        begin, end = (torch.from_numpy(bound[row]) for bound in (self.begin, self.end))
        return (first_above(self.weight_before, begin + 1, end, torch.from_numpy(part)) - 1).numpy()

    def _weight(self, edge: np.ndarray) -> np.ndarray:
        assert self.weight_before is not None
        before = self.weight_before.numpy()
        return before[edge + 1] - before[edge]

    def _total(self) -> np.ndarray:
        if self.weight_before is None:
            return self.end - self.begin
        before = self.weight_before.numpy()
        return before[self.end] - before[self.begin]

    def _below(self, row: np.ndarray, limit: np.ndarray, n: np.ndarray) -> np.ndarray:
        """Return random whole numbers below limits: number n of the lists in some rows."""
        counter = (n + 1).astype(np.uint64) * np.uint64(STEP)
        number = (_mix(self.state[row] + counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return np.minimum((number * limit).astype(np.int64), limit - 1)


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(FACTORS[0])
    x = (x ^ (x >> np.uint64(27))) * np.uint64(FACTORS[1])
    return x ^ (x >> np.uint64(31))
