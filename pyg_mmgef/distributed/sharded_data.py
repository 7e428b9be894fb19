from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType, NodeType

from pyg_mmgef.distributed._exchange import (
    Group,
    check_own,
    even_starts,
    fetch_rows,
    owner_of,
    place_in,
    send_rows,
    sum_over,
)
from pyg_mmgef.distributed._sharded_lists import ShardedLists
from pyg_mmgef.distributed._together import raise_together
from pyg_mmgef.distributed.partition import FeatureShard, InteractionShard
from pyg_mmgef.loader._expand import Expansion, Seeds, expand
from pyg_mmgef.schema import INTERACTS, ITEM, REV_INTERACTS, USER
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_edge_index, check_edge_weight

__all__ = ['ShardedData']


class ShardedData:
    r"""A shop of which each process holds a range of users and a range of items.

    It is what :func:`read_interactions`, :func:`read_features` and the functions for item graphs
    return, put together to sample batches from: of its users a process holds the interactions and
    degrees; of its items the interactions, degrees, features and the edges of item graphs into
    them. With ``P`` processes, process ``p`` has the users from ``num_users * p // P`` to
    ``num_users * (p + 1) // P``, and likewise the items. All processes make it together.

    Args:
        interactions: The train interactions.
        features: Features of the items by modality, which become ``x_<modality>`` and
            ``has_<modality>`` of a batch. (default: none)
        item_graphs: The edges of each item graph into the items of this process, normalised, by
            relation: ``('item', relation, 'item')``. (default: none)
        group: The processes; :obj:`None` means all. (default: :obj:`None`)

    Raises:
        ValueError: If features or edges don't fit the interactions.

    Example:
        >>> users = InteractionShard(range(2), 2, 3, torch.tensor([[0, 1, 1], [0, 0, 2]]), None)
        >>> ShardedData(users)
        ShardedData(users=2 of 2, items=3 of 3, interactions=3)
    """

    num_nodes: dict[NodeType, int]
    """The numbers of users and of items of all processes."""
    starts: dict[NodeType, list[int]]
    """Where the users and the items of each process begin, and the end."""
    users: range
    """The users of this process."""
    items: range
    """The items of this process."""

    def __init__(
        self,
        interactions: InteractionShard,
        features: Mapping[str, FeatureShard] | None = None,
        item_graphs: Mapping[str, WeightedGraph] | None = None,
        *,
        group: Group = None,
    ) -> None:
        self.group = group
        self.interactions = interactions
        rank, size = place_in(group)
        self.num_nodes = {USER: interactions.num_users, ITEM: interactions.num_items}
        self.starts = {key: even_starts(number, size) for key, number in self.num_nodes.items()}
        self.users, self.items = (
            range(starts[rank], starts[rank + 1]) for starts in self.starts.values()
        )
        with raise_together(interactions.edge_index.device, group):
            self._check(features or {}, item_graphs or {})
        user, item = interactions.edge_index.long()
        degree = sum_over(item.bincount(minlength=self.num_nodes[ITEM]), group)
        self.rows: dict[NodeType, dict[str, Tensor]] = {
            USER: {'degree': user.bincount(minlength=len(self.users))},
            ITEM: {'degree': degree[self.items.start : self.items.stop].clone()},
        }
        for name, shard in (features or {}).items():
            self.rows[ITEM] |= {f'x_{name}': shard.x, f'has_{name}': shard.has}
        user = user + self.users.start
        ends, _, _ = send_rows(owner_of(item, self.starts[ITEM]), [user, item], group)
        self.lists = {
            INTERACTS: self._lists(INTERACTS, torch.stack(ends)),
            REV_INTERACTS: self._lists(REV_INTERACTS, torch.stack([item, user])),
        }
        for relation, (edge_index, edge_weight) in (item_graphs or {}).items():
            edge_type = (ITEM, relation, ITEM)
            self.lists[edge_type] = self._lists(edge_type, edge_index, edge_weight)

    def _check(
        self, features: Mapping[str, FeatureShard], item_graphs: Mapping[str, WeightedGraph]
    ) -> None:
        if self.interactions.users != self.users:
            raise ValueError(
                f"'interactions' must be of the users {self.users} (got those of "
                f'{self.interactions.users}); read_interactions splits them so'
            )
        size = len(self.users), self.num_nodes[ITEM]
        check_edge_index('interactions', self.interactions.edge_index, size, (USER, ITEM))
        for name, shard in features.items():
            if shard.items != self.items:
                raise ValueError(
                    f'the features {name!r} must be of the items {self.items} (got those of '
                    f'{shard.items}); read_features splits them so, with the same num_items'
                )
        for relation, (edge_index, edge_weight) in item_graphs.items():
            sizes = self.num_nodes[ITEM], self.num_nodes[ITEM]
            check_edge_index(relation, edge_index, sizes, (ITEM, ITEM))
            check_edge_weight(relation, edge_weight, edge_index)
            check_own(relation, edge_index[1], self.items)

    def _lists(
        self, edge_type: EdgeType, edge_index: Tensor, values: Tensor | None = None
    ) -> ShardedLists:
        source, _, destination = edge_type
        return ShardedLists(
            edge_index, self.num_nodes[source], self.starts[destination], self.group, values
        )

    @property
    def relations(self) -> list[str]:
        """The relations of the item graphs."""
        return [relation for source, relation, end in self.lists if source == end]

    def sample(
        self,
        seeds: Mapping[NodeType, Tensor],
        expansions: Sequence[Expansion],
        *,
        replace: bool = False,
        seed: int = 0,
    ) -> HeteroData:
        """Return the subgraph around some users and items, with its attributes, of any process.

        All processes must call it together, each with seeds of its own.

        Args:
            seeds: Distinct users and items, numbered over all processes.
            expansions: How many neighbours each hop has along each edge type.
            replace: Whether a neighbour may be sampled repeatedly. (default: :obj:`False`)
            seed: What the sample depends on. (default: ``0``)
        """
        sample = expand(
            self.lists,
            self.num_nodes,
            Seeds(seeds),
            expansions,
            last=False,
            replace=replace,
            seed=seed,
        )
        batch = HeteroData()
        for node_type, rows in self.rows.items():
            ids = sample.node[node_type]
            batch[node_type].n_id = ids
            for name, own in rows.items():
                batch[node_type][name] = fetch_rows(own, ids, self.starts[node_type], self.group)
        for edge_type, edge in sample.edge.items():
            store = batch[edge_type]
            store.edge_index = torch.stack([sample.row[edge_type], sample.col[edge_type]])
            lists = self.lists[edge_type]
            if lists.values is not None:
                store.edge_weight = fetch_rows(lists.values, edge, lists.edge_starts, self.group)
        return batch

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(users={len(self.users)} of {self.num_nodes[USER]}, '
            f'items={len(self.items)} of {self.num_nodes[ITEM]}, '
            f'interactions={self.interactions.edge_index.size(1)})'
        )
