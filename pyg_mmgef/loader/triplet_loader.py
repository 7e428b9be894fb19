from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from torch_geometric.data import HeteroData

from pyg_mmgef.loader._negatives import NegativeSampler
from pyg_mmgef.loader._users import UserSampler
from pyg_mmgef.schema import interactions, num_users_items, supervision_edges
from pyg_mmgef.validate import check_choice, check_not_negative, check_positive

__all__ = ['TripletLoader']

# Negatives are sampled for several batches at once, in few long operations. The bound keeps memory
# independent of the size of the data.
SAMPLES_AT_ONCE = 2**17


class TripletLoader(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    r"""Iterate over batches of (user, item, negative) triplets of the train interactions.

    Every interaction appears once per epoch. Its negative is uniform over the items that the user
    has not interacted with, by default over the *warm* ones, those with a train interaction: an
    item that could never be a positive says nothing about taste, and would only be pushed down.
    With an exponent :math:`\beta` as :obj:`popularity`, items are sampled in proportion to
    :math:`d_i^{\beta}`, with their number of users :math:`d_i`. A negative is the :math:`r`-th of
    the items that the user has not interacted with, found by a binary search, with :math:`r`
    uniform in :math:`\{0, \dots, n_u - 1\}` and :math:`n_u` their number or weight. Nothing is
    rejected, so sampling always ends, however active the user is.

    With :obj:`shared_negatives`, all triplets of a batch have the same negatives. Scores are then
    one matrix product and a batch reads far fewer items, so there can be many more negatives. They
    are sampled without regard to users, so a negative may be an item that a user interacted with.

    With :obj:`uniform_users`, an epoch has as many triplets, but each has a user sampled uniformly
    from those with an interaction, and one of this user's interactions, also sampled uniformly. The
    loss is then in expectation a mean over users, as Recall and NDCG are, instead of one over
    interactions, most of which are those of active users. The code that the authors of LightGCN
    published samples like this (``UniformSample_original_python`` in
    `LightGCN-PyTorch <https://github.com/gusye1234/LightGCN-PyTorch>`_).

    With :obj:`num_replicas` processes, each builds the loader with the same data and arguments and
    its own :obj:`rank`. All sample the same batches and each yields the rows
    ``[rank::num_replicas]`` of them, so together they see what one process sees. Where the last
    batch has fewer rows than there are replicas it is joined to the batch before, so all yield
    equally many, none empty.

    The loader is an :class:`~torch.utils.data.IterableDataset` of batches and goes into a
    :class:`~torch.utils.data.DataLoader` with ``batch_size=None``. With :math:`n` worker processes,
    each yields every :math:`n`-th batch. Workers hold copies of this loader's generator, so theirs
    are re-seeded from that of the :class:`~torch.utils.data.DataLoader`.

    Args:
        data: The train data. The triplets are those of its ``edge_label_index`` with a positive
            ``edge_label`` (all, if there are no labels), or its ``edge_index`` where that is
            missing; no item that a user has in either is a negative of that user.
        batch_size: Number of triplets per batch, of all replicas together. (default: ``2048``)
        shuffle: Visit the interactions in a new order each epoch. (default: :obj:`False`)
        num_negatives: Negatives per positive; zero for a loss that needs none. (default: ``1``)
        shared_negatives: Sample the negatives once per batch, for all its triplets.
            (default: :obj:`False`)
        negatives_from: ``'warm'`` or ``'all'`` items. (default: ``'warm'``)
        popularity: The exponent :math:`\beta`. Zero samples all items alike; word2vec has ``0.75``
            (`arXiv 1310.4546 <https://arxiv.org/abs/1310.4546>`_). Above zero, an item without
            interactions is never a negative. (default: ``0.0``)
        uniform_users: Sample the users of the triplets uniformly, with replacement, rather than
            visit every interaction once. The order is random then, whatever :obj:`shuffle` is.
            (default: :obj:`False`)
        drop_last: Leave out a last batch that isn't full. (default: :obj:`False`)
        generator: Source of all random numbers, a CPU generator; :obj:`None` makes one seeded
            with 0, never torch's global one. Build the loader once, not once per epoch, or every
            epoch has the same negatives. (default: :obj:`None`)
        num_replicas: Number of processes that share every batch. (default: ``1``)
        rank: The replica that this process is. (default: ``0``)

    Yields:
        ``users`` and ``items`` of shape ``[B]``, and ``negatives`` of shape ``[B]``,
        ``[B, num_negatives]`` for another number than one, or ``[1, num_negatives]`` if they are
        shared.

    Raises:
        ValueError: If the data has no interactions, or fewer than replicas, or a user has
            interacted with all these items, or an argument is out of range.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 0, 1], [0, 1, 2]])
        >>> for users, items, negatives in TripletLoader(data, batch_size=2):
        ...     print(users.tolist(), items.tolist(), negatives.shape)
        [0, 0] [0, 1] torch.Size([2])
        [1] [2] torch.Size([1])
    """

    def __init__(
        self,
        data: HeteroData,
        batch_size: int = 2048,
        shuffle: bool = False,
        *,
        num_negatives: int = 1,
        shared_negatives: bool = False,
        negatives_from: str = 'warm',
        popularity: float = 0.0,
        uniform_users: bool = False,
        drop_last: bool = False,
        generator: torch.Generator | None = None,
        num_replicas: int = 1,
        rank: int = 0,
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
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.num_replicas = num_replicas
        self.rank = rank
        self._user_sampler = UserSampler(self.edge_index[0]) if uniform_users else None
        self._sampler: NegativeSampler | None = None
        if num_negatives > 0:
            is_known = self.edge_index is known
            positives = known if is_known else torch.cat([known, self.edge_index], dim=1)
            self._sampler = NegativeSampler(positives, sizes, negatives_from, popularity)

    def sample_negatives(self, users: Tensor) -> Tensor:
        """Sample ``num_negatives`` items per user that the user has not interacted with.

        Args:
            users: User ids. Shape: ``[B]``.

        Returns:
            Shape: ``[B]``, or ``[B, num_negatives]`` for another number than one.
        """
        return self._negatives(users, self._random(users.numel()))

    def _random(self, num_rows: int) -> Tensor:
        size = num_rows, self.num_negatives
        return torch.rand(size, generator=self.generator, dtype=torch.double)

    def _negatives(self, users: Tensor, number: Tensor) -> Tensor:
        if self._sampler is None:
            return users.new_empty(users.numel(), 0)
        negatives = self._sampler(users.long(), number)
        return negatives.squeeze(1) if self.num_negatives == 1 else negatives

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        worker = get_worker_info()
        if worker is not None:
            self._seed_worker(worker.seed - worker.id)
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
        """Return the positions of the interactions that an epoch visits, in order."""
        size = self.edge_index.size(1)
        sampled = None if self._user_sampler is None else self._user_sampler(size, self.generator)
        if self.shuffle:
            order = torch.randperm(size, generator=self.generator)
        else:
            order = torch.arange(size)
        return order if sampled is None else sampled[order]

    def _seed_worker(self, seed: int) -> None:
        """Re-seed a worker's copy of the generator with the DataLoader's seed mixed in.

        That seed is new each time the workers start; the generator outside doesn't change.
        """
        own = int(torch.randint(2**62, (), generator=self.generator))
        self.generator.manual_seed((seed + own) % 2**63)

    def _shares(
        self, rows: list[range], order: Tensor, number: Tensor, start: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield this replica's share of some batches.

        The rows of ``number`` belong to the batches if they share their negatives, else to the
        interactions in order from ``start`` on.
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
        takes_the_rest = batch == len(self) - 1 and not self.drop_last
        return range(start, self.edge_index.size(1) if takes_the_rest else start + self.batch_size)

    def loss_weight(self, batch: int) -> float:
        """Return the factor for the mean loss over this replica's share of a batch.

        ``DistributedDataParallel`` averages the gradients of the replicas. With this factor that is
        the gradient of the mean over the triplets of the batch, also where the shares differ by a
        row.

        Args:
            batch: Number of the batch in the epoch, from 0.
        """
        rows = self._rows(batch)
        return self.num_replicas * len(rows[self.rank :: self.num_replicas]) / len(rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state, to continue from exactly here.

        Call it between two epochs: within one, the generator is ahead of the batches. With
        worker processes, keep the state of the generator of the
        :class:`~torch.utils.data.DataLoader` instead.
        """
        return {'generator': self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from where :meth:`state_dict` was called."""
        self.generator.set_state(state_dict['generator'])

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        full, rest = divmod(self.edge_index.size(1), self.batch_size)
        return full + int(rest >= self.num_replicas and not self.drop_last)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.edge_index.size(1)} interactions, '
            f'batch_size={self.batch_size})'
        )


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
