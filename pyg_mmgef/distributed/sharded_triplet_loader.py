from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mmgef.distributed._exchange import gather, gather_rows, place_in
from pyg_mmgef.distributed._together import raise_together
from pyg_mmgef.distributed.sharded_data import ShardedData
from pyg_mmgef.loader._expand import expansions_of, hops_of
from pyg_mmgef.loader._negatives import NegativeSampler
from pyg_mmgef.loader._subgraph_batches import as_seeds, set_triplets
from pyg_mmgef.schema import ITEM
from pyg_mmgef.validate import check_not_negative, check_positive

__all__ = ['ShardedTripletLoader']


class ShardedTripletLoader:
    r"""Batches of training triplets from a shop that is spread over processes.

    Each batch is what :class:`~pyg_mmgef.loader.TripletNeighborLoader` yields: triplets, and the
    sampled subgraph around them. A process's triplets are those of its own users; neighbours,
    features and degrees of other processes are fetched from there, hop by hop. So all processes
    must iterate together, and there are no workers. Each interaction appears once an epoch, its
    negatives sampled from the warm items that its user has not interacted with.

    Of a batch, process :math:`p` has a share in proportion to its interactions, so that all end
    together, however unequal they are. :meth:`loss_weight` makes the mean of the processes' losses
    that of the batch.

    What a node's neighbours are depends on :obj:`seed`, the epoch, the number of the batch and the
    node, not on the number of processes.

    Args:
        data: The shop.
        num_neighbors: The number of sampled interactions of a node for each hop, see
            :class:`~pyg_mmgef.loader.InteractionNeighborSampler`.
        batch_size: Number of triplets per batch, of all processes together. (default: ``2048``)
        shuffle: Visit the interactions of each process in a new order each epoch.
            (default: :obj:`False`)
        num_item_layers: Hops in the item graphs, in which all neighbours are included.
            (default: ``1``)
        replace: Sample interactions with replacement. (default: :obj:`False`)
        num_negatives: Negatives per positive. (default: ``1``)
        seed: Seed of all random numbers. (default: ``0``)

    Raises:
        ValueError: If a process has no interactions, a user has interacted with all warm items, or
            an argument is out of range.

    Example:
        >>> from pyg_mmgef.distributed import InteractionShard
        >>> edges = torch.tensor([[0, 1], [0, 2]])
        >>> data = ShardedData(InteractionShard(range(2), 2, 4, edges, None))
        >>> batch = next(iter(ShardedTripletLoader(data, [-1], batch_size=2)))
        >>> batch['item'].n_id[batch['item'].dst_neg_index].tolist()  # Items 1 and 3 are cold.
        [2, 0]
    """

    def __init__(
        self,
        data: ShardedData,
        num_neighbors: Sequence[int] | Mapping[EdgeType, Sequence[int]],
        batch_size: int = 2048,
        shuffle: bool = False,
        *,
        num_item_layers: int = 1,
        replace: bool = False,
        num_negatives: int = 1,
        seed: int = 0,
    ) -> None:
        check_positive('batch_size', batch_size)
        check_not_negative('num_item_layers', num_item_layers, integer=True)
        check_positive('num_negatives', num_negatives)
        check_not_negative('seed', seed, integer=True)
        self._expansions = expansions_of(num_neighbors, num_item_layers, data.relations)
        self.data, self.num_neighbors = data, num_neighbors
        self.batch_size, self.shuffle, self.replace = batch_size, shuffle, replace
        self.num_negatives, self.seed, self.epoch = num_negatives, seed, 0
        self.rank, self.num_processes = place_in(data.group)
        self._edges = data.interactions.edge_index.long()
        device = self._edges.device
        count = torch.tensor([self._edges.size(1)], device=device)
        self._counts: list[int] = gather(count, data.group).view(-1).tolist()
        if min(self._counts) == 0:
            raise ValueError(
                f'process {self._counts.index(0)} has no interactions; use fewer processes, or '
                'number the users so that each range has some'
            )
        degree = gather_rows(data.rows[ITEM]['degree'], data.group)
        size = len(data.users), data.num_nodes[ITEM]
        with raise_together(device, data.group):
            self._negatives = NegativeSampler(self._edges, size, 'warm', 0.0, degree)

    def __iter__(self) -> Iterator[HeteroData]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        generator = torch.Generator().manual_seed(self._number(epoch, 1 + self.rank))
        num_own = self._counts[self.rank]
        order = torch.arange(num_own)
        if self.shuffle:
            order = torch.randperm(num_own, generator=generator)
        seed = self._number(epoch, 0)
        for batch in range(len(self)):
            start, stop = self._bounds(num_own, batch)
            users, items = self._edges[:, order[start:stop]]
            size = len(users), self.num_negatives
            number = torch.rand(size, generator=generator, dtype=torch.double)
            negatives = self._negatives(users, number)
            negatives = negatives.squeeze(1) if self.num_negatives == 1 else negatives
            yield self._subgraph(users, items, negatives, (seed + batch * 2**32) % 2**63)

    def _subgraph(self, users: Tensor, items: Tensor, negatives: Tensor, seed: int) -> HeteroData:
        """Return the subgraph around some triplets, whose users are those of this process."""
        seeds, local = as_seeds((users + self.data.users.start, items, negatives))
        batch = self.data.sample(seeds, self._expansions, replace=self.replace, seed=seed)
        batch.set_value_dict('num_hops', hops_of(self._expansions))
        set_triplets(batch, local)
        return batch

    def loss_weight(self, batch: int) -> float:
        """Return what to multiply the mean loss of this process by, for batch number ``batch``.

        It is the number of processes times this one's share of the triplets, so that the mean over
        the processes is that over the triplets.
        """
        sizes = [stop - start for start, stop in (self._bounds(x, batch) for x in self._counts)]
        return self.num_processes * sizes[self.rank] / sum(sizes)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed and the next epoch, alike in all processes."""
        return {'seed': self.seed, 'epoch': self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the epoch of a state, with any number of processes."""
        self.seed, self.epoch = state_dict['seed'], state_dict['epoch']

    def _bounds(self, num_rows: int, batch: int) -> tuple[int, int]:
        """Return which rows belong to a batch, of a process that has some number of rows."""
        return num_rows * batch // len(self), num_rows * (batch + 1) // len(self)

    def _number(self, epoch: int, which: int) -> int:
        """Return a random number of an epoch below ``2**62``."""
        sequence = np.random.SeedSequence([self.seed, epoch, which])
        return int(sequence.generate_state(1, np.uint64)[0]) >> 2

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        # Each process has a triplet of each batch.
        return min(-(-sum(self._counts) // self.batch_size), *self._counts)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({sum(self._counts)} interactions, '
            f'batch_size={self.batch_size}, num_neighbors={self.num_neighbors})'
        )
