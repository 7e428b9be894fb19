from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.index import index2ptr
from torch_geometric.utils import cumsum

from pyg_mmgef.distributed._exchange import (
    Group,
    owner_of,
    place_in,
    return_rows,
    send_rows,
    starts_of,
)
from pyg_mmgef.loader._choose import ranges
from pyg_mmgef.loader._neighbor_lists import ChosenEdges, NeighborLists

__all__ = ['ShardedLists']


class ShardedLists(NeighborLists):
    """Neighbour lists of which each process holds those of its own destinations.

    What is chosen for a node is what :class:`NeighborLists` of one process choose, if the edges to
    it are in the same order there.

    Args:
        edge_index: The edges to the destinations of this process, sources and destinations
            numbered over all processes. Shape: ``[2, E]``.
        num_sources: Number of sources of all processes.
        starts: Where the destinations of each process begin, and the end.
        group: The processes.
        values: A number for each edge, such as its weight. Shape: ``[E]``.
    """

    def __init__(
        self,
        edge_index: Tensor,
        num_sources: int,
        starts: Sequence[int],
        group: Group,
        values: Tensor | None = None,
    ) -> None:
        self.group, self.starts = group, starts
        rank, self.size = place_in(group)
        self.first = starts[rank]
        destination = edge_index[1] - self.first
        order = destination.argsort(stable=True)
        colptr = index2ptr(destination[order], starts[rank + 1] - self.first)
        super().__init__(colptr, edge_index[0][order], None, num_sources)
        self.edge_starts = starts_of(len(order), edge_index.device, group)
        self.first_edge = self.edge_starts[rank]
        self.values = None if values is None else values[order]

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
        """Choose edges to nodes of any process.

        All processes must call it together. Edges are numbered over all processes.
        """
        assert until is None, 'the edges have no times'
        (asked, keys), order, received = send_rows(
            owner_of(nodes, self.starts), [nodes, key], self.group
        )
        chosen = super().choose(
            asked - self.first, count, key=keys, until=None, last=False, replace=replace, seed=seed
        )
        (num,) = return_rows([chosen.num], order, received, self.group)
        who = torch.arange(self.size).repeat_interleave(torch.tensor(received))
        columns = [chosen.source, chosen.edge + self.first_edge]
        (source, edge), _, _ = send_rows(who.repeat_interleave(chosen.num), columns, self.group)
        # They come in the order of the processes, in which the nodes were sent.
        begin = torch.empty_like(num)
        begin[order] = cumsum(num[order])[:-1]
        place = ranges(begin, num)
        return ChosenEdges(source[place], edge[place], num)
