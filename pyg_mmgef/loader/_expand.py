from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.sampler import HeteroSamplerOutput
from torch_geometric.typing import EdgeType, NodeType

from pyg_mmgef.loader._neighbor_lists import NeighborLists
from pyg_mmgef.loader._numbering import Numbering
from pyg_mmgef.schema import INTERACTS, ITEM, REV_INTERACTS

__all__ = ['Expansion', 'Seeds', 'expand', 'expansions_of', 'hops_of']

Expansion = Mapping[EdgeType, Sequence[int]]
"""The number of neighbours for each edge type and hop; -1 means all."""


@dataclass
class Seeds:
    """Where a sample begins.

    Args:
        nodes: Ids of each node type, int64. Shape of each: ``[N]``.
        time: The time of each seed. If given, each seed has a subgraph of its own, of edges that
            aren't later. Shapes: as of :obj:`nodes`.
    """

    nodes: Mapping[NodeType, Tensor]
    time: Mapping[NodeType, Tensor] | None = None


def expand(
    lists: Mapping[EdgeType, NeighborLists],
    num_nodes: Mapping[NodeType, int],
    seeds: Seeds,
    expansions: Sequence[Expansion],
    *,
    last: bool,
    replace: bool,
    seed: int,
) -> HeteroSamplerOutput:
    """Sample a subgraph around seeds.

    Each expansion begins at the seeds and follows its own edge types only: a node is expanded by
    those of the expansions that have reached it. All number their nodes together, hop by hop.

    Args:
        lists: The edges of each type.
        num_nodes: The number of nodes of each type.
        seeds: Where the sample begins.
        expansions: The edge types that are followed together.
        last: Choose the latest neighbours.
        replace: Whether a neighbour may be chosen repeatedly.
        seed: A whole number that isn't negative. What is chosen for a node depends on it, the edge
            type, the node's id and, with times, the number of its seed.
    """
    return _Sample(lists, num_nodes, seeds, expansions).expand(last, replace, seed)


def expansions_of(
    num_neighbors: Sequence[int] | Mapping[EdgeType, Sequence[int]],
    num_item_layers: int,
    relations: Sequence[str],
) -> list[Expansion]:
    """Return what is followed from the seeds: the interactions, and the item graphs.

    Args:
        num_neighbors: See :class:`~pyg_mmgef.loader.InteractionNeighborSampler`.
        num_item_layers: Hops in the item graphs.
        relations: The item graphs.

    Raises:
        ValueError: If :obj:`num_neighbors` has another form.
    """
    graphs = [(ITEM, relation, ITEM) for relation in relations]
    return [_by_direction(num_neighbors), dict.fromkeys(graphs, [-1] * num_item_layers)]


def hops_of(expansions: Sequence[Expansion]) -> dict[EdgeType, int]:
    """Return the number of hops along each edge type."""
    return {
        edge_type: len(counts)
        for expansion in expansions
        for edge_type, counts in expansion.items()
    }


def _by_direction(
    num_neighbors: Sequence[int] | Mapping[EdgeType, Sequence[int]],
) -> dict[EdgeType, list[int]]:
    """Return the numbers for each direction of the interactions."""
    by_type = num_neighbors
    if not isinstance(num_neighbors, Mapping):
        by_type = dict.fromkeys((INTERACTS, REV_INTERACTS), num_neighbors)
    assert isinstance(by_type, Mapping)
    if set(by_type) != {INTERACTS, REV_INTERACTS}:
        raise ValueError(
            f"'num_neighbors' must have the keys {INTERACTS} and {REV_INTERACTS} (got "
            f'{list(by_type)}); the item graphs are never sampled'
        )
    for counts in by_type.values():
        if not isinstance(counts, Sequence) or not all(
            isinstance(count, int) and not isinstance(count, bool) and count >= -1
            for count in counts
        ):
            raise ValueError(
                "'num_neighbors' must hold a number for each layer, -1 for all neighbours, such as "
                f'[10, 10] (got {counts!r})'
            )
    return {edge_type: list(by_type[edge_type]) for edge_type in (INTERACTS, REV_INTERACTS)}


class _Sample:
    def __init__(
        self,
        lists: Mapping[EdgeType, NeighborLists],
        num_nodes: Mapping[NodeType, int],
        seeds: Seeds,
        expansions: Sequence[Expansion],
    ) -> None:
        self.lists, self.num_nodes, self.expansions = lists, num_nodes, expansions
        self.time = None
        if seeds.time is not None:
            self.time = torch.cat([seeds.time[node_type] for node_type in seeds.nodes])
        self.numbering = {node_type: Numbering() for node_type in num_nodes}
        self.num_sampled_nodes: dict[NodeType, list[int]] = {key: [] for key in num_nodes}
        self._number(seeds)
        self._count_nodes()
        edge_types = [edge_type for expansion in expansions for edge_type in expansion]
        self.row, self.col, self.edge = (
            {edge_type: [_no_ids()] for edge_type in edge_types} for _ in range(3)
        )
        self.num_sampled_edges: dict[EdgeType, list[int]] = {key: [] for key in edge_types}

    def _number(self, seeds: Seeds) -> None:
        tree = 0  # With times, a node is known by its seed and its id.
        for node_type, nodes in seeds.nodes.items():
            key = nodes
            if self.time is not None:
                key = torch.arange(tree, tree + nodes.numel()) * self.num_nodes[node_type] + nodes
            self.numbering[node_type](key)
            tree += nodes.numel()

    def _count_nodes(self) -> None:
        for node_type, counts in self.num_sampled_nodes.items():
            counts.append(len(self.numbering[node_type]) - sum(counts))

    def expand(self, last: bool, replace: bool, seed: int) -> HeteroSamplerOutput:
        frontiers = [_Frontier(self.numbering) for _ in self.expansions]
        hops = [len(counts) for expansion in self.expansions for counts in expansion.values()]
        for hop in range(max(hops, default=0)):
            for expansion, frontier in zip(self.expansions, frontiers, strict=True):
                for edge_type, counts in expansion.items():
                    count = counts[hop] if hop < len(counts) else 0
                    # The hop doesn't matter: a node is expanded once along each edge type.
                    own = (seed + list(self.lists).index(edge_type)) % 2**64
                    self._follow(edge_type, count, frontier, last, replace, own)
                frontier.advance(self.numbering)
            self._count_nodes()
        return self._output()

    def _follow(
        self,
        edge_type: EdgeType,
        count: int,
        frontier: '_Frontier',
        last: bool,
        replace: bool,
        seed: int,
    ) -> None:
        """Sample the neighbours of a frontier along one edge type."""
        source_type, _, node_type = edge_type
        local = frontier.nodes[node_type]
        if count == 0:
            self.num_sampled_edges[edge_type].append(0)
            return
        node = key = self.numbering[node_type].keys[local]
        tree = until = None
        if self.time is not None:
            tree, node = key // self.num_nodes[node_type], key % self.num_nodes[node_type]
            until = self.time[tree]
        chosen = self.lists[edge_type].choose(
            node, count, key=key, until=until, last=last, replace=replace, seed=seed
        )
        source = chosen.source
        if tree is not None:
            source = tree.repeat_interleave(chosen.num) * self.num_nodes[source_type] + source
        row = self.numbering[source_type](source)
        frontier.reach(source_type, row)
        self.row[edge_type].append(row)
        self.col[edge_type].append(local.repeat_interleave(chosen.num))
        self.edge[edge_type].append(chosen.edge)
        self.num_sampled_edges[edge_type].append(row.numel())

    def _output(self) -> HeteroSamplerOutput:
        keys = {node_type: numbering.keys for node_type, numbering in self.numbering.items()}
        node = {key: ids.clone() for key, ids in keys.items()}  # Without the buffer's free places.
        batch = None
        if self.time is not None:
            node = {key: ids % self.num_nodes[key] for key, ids in keys.items()}
            batch = {key: ids // self.num_nodes[key] for key, ids in keys.items()}
        row, col, edge = (
            {edge_type: torch.cat(parts) for edge_type, parts in column.items()}
            for column in (self.row, self.col, self.edge)
        )
        return HeteroSamplerOutput(
            node=node,
            row=row,
            col=col,
            edge=edge,
            batch=batch,
            num_sampled_nodes=self.num_sampled_nodes,
            num_sampled_edges=self.num_sampled_edges,
        )


class _Frontier:
    """The nodes, by their local numbers, that an expansion reached first in the last hop."""

    def __init__(self, seeds: Mapping[NodeType, Numbering]) -> None:
        self.nodes = {key: torch.arange(len(numbering)) for key, numbering in seeds.items()}
        self._known = {key: torch.ones_like(ids) > 0 for key, ids in self.nodes.items()}
        self._reached: dict[NodeType, list[Tensor]] = {key: [] for key in seeds}

    def reach(self, node_type: NodeType, local: Tensor) -> None:
        """Add nodes to those that are reached in this hop."""
        self._reached[node_type].append(local)

    def advance(self, numbering: Mapping[NodeType, Numbering]) -> None:
        """Go on to the nodes that were reached in this hop, and in none before."""
        for node_type, reached in self._reached.items():
            known = self._known[node_type]
            is_new = torch.zeros(len(numbering[node_type]), dtype=torch.bool)
            for local in reached:
                is_new[local] = True
            is_new[: known.numel()] &= ~known
            self.nodes[node_type] = is_new.nonzero().view(-1)
            is_new[: known.numel()] |= known
            self._known[node_type] = is_new
            reached.clear()


def _no_ids() -> Tensor:
    return torch.empty(0, dtype=torch.int64, device='cpu')
