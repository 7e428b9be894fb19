from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from torch.utils.data._utils.worker import WorkerInfo
from torch_geometric.data import HeteroData

from pyg_mmgef.loader._negatives import NegativeSampler
from pyg_mmgef.loader._users import UserSampler
from pyg_mmgef.schema import interactions, num_users_items, supervision_edges
from pyg_mmgef.validate import check_choice, check_not_negative, check_positive

__all__ = ['TripletBatches', 'Triplets', 'as_it_is']

# Negatives are sampled for several batches at once, in few long operations. The bound keeps memory
# independent of the size of the data.
SAMPLES_AT_ONCE = 2**17

Triplets = tuple[Tensor, Tensor, Tensor]
"""A batch: users, items and negatives."""

Batch = TypeVar('Batch')


class TripletBatches(IterableDataset[Triplets]):
    """The batches of a :class:`~pyg_mmgef.loader.TripletLoader`, which documents the arguments.

    A worker process of the loader yields every :math:`n`-th batch, of :math:`n` workers. It holds a
    copy of the generator, which it re-seeds from the seed that the loader gives its workers.
    """

    def __init__(
        self,
        data: HeteroData,
        batch_size: int,
        shuffle: bool,
        *,
        num_negatives: int,
        shared_negatives: bool,
        negatives_from: str,
        popularity: float,
        uniform_users: bool,
        drop_last: bool,
        generator: torch.Generator,
        num_replicas: int,
        rank: int,
    ) -> None:
        _check_shares(batch_size, num_replicas, rank)
        check_not_negative('num_negatives', num_negatives, integer=True)
        if shared_negatives and num_negatives == 0:
            raise ValueError("'shared_negatives' needs a positive 'num_negatives' (got 0)")
        check_choice('negatives_from', negatives_from, ('warm', 'all'))
        check_not_negative('popularity', popularity)
        known = interactions(data).long()
        self.num_users, self.num_items = sizes = num_users_items(data)
        self.edge_index = supervision_edges(data).long()
        if self.edge_index.size(1) == 0:
            raise ValueError("'data' has no train interactions; there is nothing to learn from")
        if self.edge_index.size(1) < num_replicas:
            raise ValueError(
                f"'data' has {self.edge_index.size(1)} train interactions, fewer than "
                f"'num_replicas', {num_replicas}; use fewer processes"
            )
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.num_negatives = num_negatives
        self.shared_negatives = shared_negatives
        self.negatives_from = negatives_from
        self.popularity = popularity
        self.uniform_users = uniform_users
        self.drop_last = drop_last
        self.generator = generator
        self.num_replicas = num_replicas
        self.rank = rank
        self._user_sampler = UserSampler(self.edge_index[0]) if uniform_users else None
        self._sampler: NegativeSampler | None = None
        if num_negatives > 0:
            is_known = self.edge_index is known
            positives = known if is_known else torch.cat([known, self.edge_index], dim=1)
            self._sampler = NegativeSampler(positives, sizes, negatives_from, popularity)

    def sample_negatives(self, users: Tensor) -> Tensor:
        """See :meth:`~pyg_mmgef.loader.TripletLoader.sample_negatives`."""
        return self._negatives(users, self._random(users.numel()))

    def _random(self, num_rows: int) -> Tensor:
        size = num_rows, self.num_negatives
        return torch.rand(size, generator=self.generator, dtype=torch.double)

    def _negatives(self, users: Tensor, number: Tensor) -> Tensor:
        if self._sampler is None:
            return users.new_empty(users.numel(), 0)
        negatives = self._sampler(users.long(), number)
        return negatives.squeeze(1) if self.num_negatives == 1 else negatives

    def __iter__(self) -> Iterator[Triplets]:
        worker = get_worker_info()
        if worker is not None:
            self._seed_worker(worker.seed - worker.id)
        return self._batches(worker)

    def _batches(self, worker: WorkerInfo | None) -> Iterator[Triplets]:
        order = self._order()
        batches = range(len(self))
        samples = self.batch_size * (1 if self.shared_negatives else max(1, self.num_negatives))
        group = max(1, SAMPLES_AT_ONCE // max(samples, self.num_negatives))
        for first in batches[::group]:
            rows = [self._rows(batch) for batch in batches[first : first + group]]
            start, stop = rows[0].start, rows[-1].stop
            number = self._random(len(rows) if self.shared_negatives else stop - start)
            if worker is not None:
                own = slice((worker.id - first) % worker.num_workers, None, worker.num_workers)
                rows, number = rows[own], number[own] if self.shared_negatives else number
            yield from self._shares(rows, order, number, start)

    def _order(self) -> Tensor:
        """Return the positions of an epoch's interactions, in the order in which it visits them."""
        size = self.edge_index.size(1)
        sampled = None if self._user_sampler is None else self._user_sampler(size, self.generator)
        if self.shuffle:
            order = torch.randperm(size, generator=self.generator)
        else:
            order = torch.arange(size)
        return order if sampled is None else sampled[order]

    def _seed_worker(self, seed: int) -> None:
        """Re-seed a worker's copy of the generator, so that each epoch differs.

        The seed of the loader is new each time the workers start.
        """
        own = int(torch.randint(2**62, (), generator=self.generator))
        self.generator.manual_seed((seed + own) % 2**63)

    def _shares(
        self, rows: list[range], order: Tensor, number: Tensor, start: int
    ) -> Iterator[Triplets]:
        """Yield this replica's share of some batches.

        ``number`` has a row per batch if negatives are shared, else one per interaction, in the
        order of the epoch from ``start`` on.
        """
        shares = [batch[self.rank :: self.num_replicas] for batch in rows]
        if not shares:
            return
        index = torch.cat([torch.arange(s.start, s.stop, s.step) for s in shares])
        users, items = self.edge_index[:, order[index].to(self.edge_index.device)]
        sizes = [len(share) for share in shares]
        if self.shared_negatives:
            assert self._sampler is not None
            negatives = self._sampler.shared(number).split(1)
        else:
            negatives = self._negatives(users, number[index - start]).split(sizes)
        yield from zip(users.split(sizes), items.split(sizes), negatives, strict=True)

    def _rows(self, batch: int) -> range:
        """Return the range of a batch in the order of the epoch."""
        start = batch * self.batch_size
        is_last = batch == len(self) - 1 and not self.drop_last
        return range(start, self.edge_index.size(1) if is_last else start + self.batch_size)

    def loss_weight(self, batch: int) -> float:
        """See :meth:`~pyg_mmgef.loader.TripletLoader.loss_weight`."""
        rows = self._rows(batch)
        return self.num_replicas * len(rows[self.rank :: self.num_replicas]) / len(rows)

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        full, rest = divmod(self.edge_index.size(1), self.batch_size)
        return full + int(rest >= self.num_replicas and not self.drop_last)


def _check_shares(batch_size: int, num_replicas: int, rank: int) -> None:
    check_positive('batch_size', batch_size)
    check_positive('num_replicas', num_replicas)
    check_not_negative('rank', rank, integer=True)
    if rank >= num_replicas:
        raise ValueError(f"'rank' must be less than 'num_replicas', {num_replicas} (got {rank})")
    if batch_size < num_replicas:
        raise ValueError(
            f"'batch_size' must be at least 'num_replicas', {num_replicas}, which share a batch "
            f'(got {batch_size})'
        )


def as_it_is(batch: Batch) -> Batch:
    """Return a whole batch, what a loader of them collates it to."""
    return batch
