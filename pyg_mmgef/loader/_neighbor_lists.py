from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.index import ptr2index
from torch_geometric.utils import cumsum, lexsort

from pyg_mmgef.loader._choose import choose_edges, first_above

__all__ = ['ChosenEdges', 'NeighborLists', 'whole_weights']

MOST_WEIGHT_BITS, SUM_BITS = 40, 62
"""Of a whole-numbered weight, and of the sum of all weights of a graph."""


class ChosenEdges(NamedTuple):
    """The edges of a sample, list by list."""

    source: Tensor
    """The neighbours, int64."""
    edge: Tensor
    """The ids of the edges in the data, int64."""
    num: Tensor
    """The number of edges of each list."""


class NeighborLists:
    """The edges of a type by their destinations (CSC), to sample neighbours from.

    Args:
        colptr: Where the edges to each destination begin. Shape: ``[num_destinations + 1]``.
        row: The source of each edge. Shape: ``[E]``.
        perm: The ids of the edges in the data; :obj:`None` if they are in this order.
        num_sources: Number of source nodes.
        weight: Positive weights in the order of the data. Shape: ``[E]``.
        time: Times in the order of the data. Shape: ``[E]``.

    Ids are kept as int32 where they fit.
    """

    def __init__(
        self,
        colptr: Tensor,
        row: Tensor,
        perm: Tensor | None,
        num_sources: int,
        *,
        weight: Tensor | None = None,
        time: Tensor | None = None,
    ) -> None:
        self.colptr = colptr.long()
        self.time: Tensor | None = None
        if time is not None:
            time = time if perm is None else time[perm]
            order = lexsort([time, ptr2index(self.colptr)])
            row, self.time = row[order], time[order]
            perm = order if perm is None else perm[order]
        self.weight_before: Tensor | None = None
        if weight is not None:
            weight = weight if perm is None else weight[perm]
            self.weight_before = cumsum(whole_weights(weight, ptr2index(self.colptr)))
        self.row = _small(row, num_sources)
        self.perm = None if perm is None else _small(perm, row.numel())

    def choose(
        self,
        nodes: Tensor,
        count: int,
        *,
        key: Tensor,
        until: Tensor | None,
        last: bool,
        replace: bool,
        seed: int,
    ) -> ChosenEdges:
        """Choose edges to some destinations.

        Args:
            nodes: The destinations, int64. Shape: ``[N]``.
            count: The number of edges to each; all for -1.
            key: What the random numbers of each depend on. Shape: ``[N]``.
            until: Edges later than that aren't chosen. Shape: ``[N]``.
            last: Choose the latest edges.
            replace: Whether an edge may be chosen repeatedly.
            seed: A whole number below ``2**64``.
        """
        begin, end = self.colptr[nodes], self.colptr[nodes + 1]
        if until is not None and self.time is not None:
            end = first_above(self.time, begin, end, until)
        num = end - begin
        replace = replace and count >= 0 and not last
        if replace:
            num = num.clamp(max=1) * count
        elif count >= 0:
            num = num.clamp(max=count)
        if last:
            begin = end - num
        position = choose_edges(
            begin,
            end,
            num,
            key=key,
            weight_before=self.weight_before,
            replace=replace,
            seed=seed,
        )
        # Brackets would take several times as long as `index_select`.
        edge = position if self.perm is None else self.perm.index_select(0, position).long()
        return ChosenEdges(self.row.index_select(0, position).long(), edge, num)


def whole_weights(weight: Tensor, destination: Tensor) -> Tensor:
    """Return whole numbers in proportion to the weights of the edges to each destination.

    Their sums are exact, so an edge is chosen in proportion to its weight however many edges there
    are. The largest weight of a destination has 40 bits, or fewer if the graph has more than some
    million edges.

    Args:
        weight: Positive weights. Shape: ``[E]``.
        destination: The destination of each edge, ascending. Shape: ``[E]``.
    """
    bits = min(MOST_WEIGHT_BITS, SUM_BITS - weight.numel().bit_length())
    largest = weight.new_zeros(int(destination[-1]) + 1 if destination.numel() else 0)
    largest = largest.double().scatter_reduce_(0, destination, weight.double(), 'amax')
    return (weight.double() / largest[destination] * 2**bits).round().long().clamp(min=1)


def _small(ids: Tensor, num: int) -> Tensor:
    return ids.to(torch.int32 if num <= torch.iinfo(torch.int32).max else torch.int64)
