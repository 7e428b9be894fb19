from collections.abc import Iterator
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from torch_geometric.data import HeteroData
from torch_geometric.utils import cumsum

from pyg_mmgef.schema import INTERACTS, interactions, num_users_items
from pyg_mmgef.validate import check_choice, check_edge_index, check_positive

__all__ = ['TripletLoader']

# Negatives are drawn for several batches at once: the operations are few and long, and memory
# stays bounded however large the data.
DRAWS_AT_ONCE = 2**17


class TripletLoader(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    r"""Iterate over (user, item, negative) triplets of the train interactions, in batches.

    Every interaction appears once per epoch. Its negative is uniform over the items that the user
    has not interacted with, by default over the *warm* ones, those with a train interaction: an
    item that nobody could choose says nothing about taste, and an eternal negative is pushed down.
    With an exponent :math:`\beta` as :obj:`popularity`, items are drawn in proportion to
    :math:`d_i^{\beta}`, with their number of users :math:`d_i`. Drawing :math:`r` from
    :math:`\{0, \dots, n_u - 1\}`, with the number or weight :math:`n_u` of what the user doesn't
    have, and taking the :math:`r`-th of it is a binary search over the user's interactions. There
    is no rejection, so a draw always ends, however active the user is.

    With :obj:`shared_negatives`, all triplets of a batch have the same negatives. Scores are then
    one matrix product and a batch reads far fewer items, so there can be many more negatives. They
    are drawn without regard to users, so a negative may be an item that a user has.

    With :obj:`uniform_users`, an epoch has as many triplets, but each has a user drawn uniformly
    from those that have some, and one of this user's interactions, also drawn uniformly, both of
    the triplets' edges. The loss is then in expectation a mean over users, as Recall and NDCG are,
    in place of one over interactions, most of which are those of active users. The code that the
    authors of LightGCN published samples like this (``UniformSample_original_python`` in
    `LightGCN-PyTorch <https://github.com/gusye1234/LightGCN-PyTorch>`_).

    With :obj:`num_replicas` processes, each builds the loader with the same data and arguments and
    its own :obj:`rank`. All draw the same batches and each yields the rows ``[rank::num_replicas]``
    of them, so together they see what one process sees. Where the last batch has fewer rows than
    there are replicas it is joined to the batch before, so all yield equally many, none empty.

    The loader is an iterable of batches and goes into a
    :class:`~torch.utils.data.DataLoader` with ``batch_size=None``. Its worker processes share the
    batches among them, in order; there the random numbers also depend on the generator of the
    :class:`~torch.utils.data.DataLoader`, as a worker has but a copy of this loader's.

    Args:
        data: The train data. The triplets are its ``edge_label_index``, or its ``edge_index``
            where that is missing; no item that a user has in either is a negative of that user.
        batch_size: Number of triplets per batch, of all replicas together. (default: ``2048``)
        shuffle: Visit the interactions in a new order each epoch. (default: :obj:`False`)
        num_negatives: Negatives per positive; zero for a loss that needs none. (default: ``1``)
        shared_negatives: Draw the negatives once per batch, for all its triplets.
            (default: :obj:`False`)
        negatives_from: ``'warm'`` or ``'all'`` items. (default: ``'warm'``)
        popularity: The exponent :math:`\beta`. Zero draws all items alike; word2vec has ``0.75``
            (`arXiv 1310.4546 <https://arxiv.org/abs/1310.4546>`_). Above zero, an item without
            interactions is never drawn. (default: ``0.0``)
        uniform_users: Draw the users of the triplets uniformly, with replacement, rather than visit
            every interaction once. The order is random then, whatever :obj:`shuffle` is.
            (default: :obj:`False`)
        drop_last: Leave out a last batch that isn't full. (default: :obj:`False`)
        generator: Source of all random numbers, a CPU generator; :obj:`None` makes one seeded
            with 0, never torch's global one. Build the loader once, not once per epoch, or every
            epoch draws the same negatives. (default: :obj:`None`)
        num_replicas: Number of processes that share every batch. (default: ``1``)
        rank: Which of them this is. (default: ``0``)

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
        _check_not_negative('num_negatives', num_negatives)
        if shared_negatives and num_negatives == 0:
            raise ValueError("'shared_negatives' needs a positive 'num_negatives' (got 0)")
        check_choice('negatives_from', negatives_from, ('warm', 'all'))
        if not 0 <= popularity < float('inf'):
            raise ValueError(f"'popularity' must be at least 0 and finite (got {popularity})")
        known = interactions(data).long()
        label = data[INTERACTS].get('edge_label_index', known)
        self.num_users, self.num_items = sizes = num_users_items(data)
        check_edge_index('edge_label_index', label, sizes, ('user', 'item'))
        self.edge_index = label.long()
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
        self._user_sampler = _UserSampler(self.edge_index[0]) if uniform_users else None
        self._sampler: _NegativeSampler | None = None
        if num_negatives > 0:
            positives = known if label is known else torch.cat([known, self.edge_index], dim=1)
            self._sampler = _NegativeSampler(positives, sizes, negatives_from, popularity)

    def sample_negatives(self, users: Tensor) -> Tensor:
        """Draw ``num_negatives`` items per user that the user has not interacted with.

        Args:
            users: User ids. Shape: ``[B]``.

        Returns:
            Shape: ``[B]``, or ``[B, num_negatives]`` for another number than one.
        """
        return self._negatives(users, self._draw(users.numel()))

    def _draw(self, num_rows: int) -> Tensor:
        size = num_rows, self.num_negatives
        return torch.rand(size, generator=self.generator, dtype=torch.double)

    def _negatives(self, users: Tensor, draw: Tensor) -> Tensor:
        if self._sampler is None:
            return users.new_empty(users.numel(), 0)
        negatives = self._sampler(users.long(), draw)
        return negatives.squeeze(1) if self.num_negatives == 1 else negatives

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        worker = get_worker_info()
        if worker is not None:
            self._seed_worker(worker.seed - worker.id)
        order = self._order()
        batches = range(len(self))
        draws = self.batch_size * (1 if self.shared_negatives else max(1, self.num_negatives))
        group = max(1, DRAWS_AT_ONCE // max(draws, self.num_negatives))
        for first in batches[::group]:
            rows = [self._rows(batch) for batch in batches[first : first + group]]
            start, stop = rows[0].start, rows[-1].stop
            draw = self._draw(len(rows) if self.shared_negatives else stop - start)
            if worker is not None:
                own = slice((worker.id - first) % worker.num_workers, None, worker.num_workers)
                rows, draw = rows[own], draw[own] if self.shared_negatives else draw
            yield from self._shares(rows, order, draw, start)

    def _order(self) -> Tensor:
        """Return which interactions an epoch visits, in order."""
        size = self.edge_index.size(1)
        drawn = None if self._user_sampler is None else self._user_sampler(size, self.generator)
        if self.shuffle:
            order = torch.randperm(size, generator=self.generator)
        else:
            order = torch.arange(size)
        return order if drawn is None else drawn[order]

    def _seed_worker(self, seed: int) -> None:
        """Mix DataLoader's seed, new whenever it starts its workers, into a worker's generator.

        That is a copy of the one outside, which stays as it was when the workers started.
        """
        own = int(torch.randint(2**62, (), generator=self.generator))
        self.generator.manual_seed((seed + own) % 2**63)

    def _shares(
        self, rows: list[range], order: Tensor, draw: Tensor, start: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield this replica's share of some batches.

        The rows of ``draw`` belong to the batches if they share their negatives, else to the
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
            negatives = self._sampler.shared(draw).split(1)
        else:
            negatives = self._negatives(users, draw[index - start]).split(sizes)
        yield from zip(users.split(sizes), items.split(sizes), negatives, strict=True)

    def _rows(self, batch: int) -> range:
        """Return where a batch lies in the order of the epoch."""
        start = batch * self.batch_size
        takes_the_rest = batch == len(self) - 1 and not self.drop_last
        return range(start, self.edge_index.size(1) if takes_the_rest else start + self.batch_size)

    def loss_weight(self, batch: int) -> float:
        """Return by what to multiply the mean loss over this replica's share of a batch.

        The mean of the products over the replicas, which is what ``DistributedDataParallel`` takes
        of their gradients, is then the mean over the triplets of the batch, also where the shares
        differ by a row.

        Args:
            batch: Number of the batch in the epoch, from 0.
        """
        rows = self._rows(batch)
        return self.num_replicas * len(rows[self.rank :: self.num_replicas]) / len(rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state, to go on from exactly here.

        Take it between two epochs: within one, random numbers are drawn ahead of the batches. With
        worker processes, keep the state of the generator of the
        :class:`~torch.utils.data.DataLoader` instead.
        """
        return {'generator': self.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was called."""
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


class _UserSampler:
    """Interactions of users that are drawn uniformly, each user's uniformly too."""

    def __init__(self, users: Tensor) -> None:
        users, self.by_user = users.cpu().sort(stable=True)
        _, self.degree = users.unique_consecutive(return_counts=True)
        self.start = cumsum(self.degree)[:-1]

    def __call__(self, size: int, generator: torch.Generator) -> Tensor:
        """Return the positions of this many interactions, drawn with replacement."""
        row = torch.randint(self.degree.numel(), (size,), generator=generator)
        draw = torch.rand(size, generator=generator, dtype=torch.double)
        degree = self.degree[row]
        return self.by_user[self.start[row] + (draw * degree).long().clamp(max=degree - 1)]


class _NegativeSampler:
    r"""Items that a user doesn't have, drawn in proportion to ``degree ** popularity``.

    The weights :math:`w_c` of the candidates are whole numbers, so sums of them are exact. With the
    positions :math:`p_0 < p_1 < \dots` of a user's items among the candidates, the negatives before
    :math:`p_t` weigh :math:`k_t = \sum_{c < p_t} w_c - \sum_{s < t} w_{p_s}`. So the user's items
    with :math:`k_t \le r` are those before the negative in which the weight passes :math:`r`, and
    :math:`r` plus their weight is its place in the sum over all candidates.
    """

    def __init__(
        self, positives: Tensor, size: tuple[int, int], negatives_from: str, popularity: float
    ) -> None:
        num_users, num_items = size
        pair = (positives[0] * num_items + positives[1]).unique()
        user, item = pair // num_items, pair % num_items
        everything = torch.arange(num_items, device=item.device)
        self.candidates = item.unique() if negatives_from == 'warm' else everything
        self.uniform = popularity == 0
        degree = torch.bincount(item, minlength=num_items)[self.candidates]
        # The keys of all users fit in 63 bits, and the 53 of a double resolve a single unit.
        total = min(2**50, 2**61 // num_users)
        weight = torch.ones_like(degree) if self.uniform else _weights(degree, popularity, total)
        self.weight_before = cumsum(weight)
        position = torch.searchsorted(self.candidates, item)
        bounds = cumsum(torch.bincount(user, minlength=num_users))
        self.start = bounds[:-1]
        self.owned_before = cumsum(weight[position])
        self.stride = int(weight.sum()) + 1
        self.available = self.stride - 1 - self.owned_before[bounds].diff()
        full = (self.available == 0).nonzero().view(-1)
        if full.numel() > 0:
            raise ValueError(
                f'{full.numel()} users (first: {int(full[0])}) have interacted with all '
                f'{int((weight > 0).sum())} items that negatives are drawn from '
                f'(negatives_from={negatives_from!r}, popularity={popularity}); leave these users '
                "out of the train data, or draw from 'all' items with popularity=0"
            )
        owned_before = self.owned_before[:-1] - self.owned_before[self.start[user]]
        key = user * self.stride + self.weight_before[position] - owned_before
        # The steps of a binary search among as many items as the most active user has, and room
        # for it to look beyond the end.
        most = int(bounds.diff().max())
        self.steps = [1 << bit for bit in reversed(range(most.bit_length()))]
        beyond = key.new_full((sum(self.steps),), torch.iinfo(key.dtype).max)
        self.key = torch.cat([key, beyond])

    def __call__(self, users: Tensor, draw: Tensor) -> Tensor:
        """Return the items that numbers in [0, 1) of shape ``[B, N]`` mean for users ``[B]``."""
        users = users[:, None]
        available = self.available[users]
        passed = (draw.to(users.device) * available).long().clamp(max=available - 1)
        key = users * self.stride + passed
        start = self.start[users]
        end = start.repeat(1, draw.size(1))
        # torch.searchsorted would look for the user first, which takes most of its time.
        for step in self.steps:
            end.add_(self.key.take(end + (step - 1)) <= key, alpha=step)
        if self.uniform:  # Everything weighs one.
            return self._at(passed + end - start)
        return self._at(passed + self.owned_before[end] - self.owned_before[start])

    def shared(self, draw: Tensor) -> Tensor:
        """Return the items that numbers in [0, 1) mean, whatever anybody has."""
        total = self.stride - 1
        return self._at((draw.to(self.candidates.device) * total).long().clamp(max=total - 1))

    def _at(self, passed: Tensor) -> Tensor:
        """Return the candidates in which the sum of weights passes some numbers."""
        if self.uniform:
            return self.candidates[passed]
        return self.candidates[torch.searchsorted(self.weight_before, passed, right=True) - 1]


def _weights(degree: Tensor, popularity: float, total: int) -> Tensor:
    """Return whole numbers of about this sum in proportion to ``degree ** popularity``."""
    weight = (degree.double() / degree.max()) ** popularity
    return (weight * (total / weight.sum())).round().long().maximum((degree > 0).long())


def _check_shares(batch_size: int, num_replicas: int, rank: int) -> None:
    check_positive('batch_size', batch_size)
    check_positive('num_replicas', num_replicas)
    _check_not_negative('rank', rank)
    if rank >= num_replicas:
        raise ValueError(f"'rank' must be less than 'num_replicas', {num_replicas} (got {rank})")
    if batch_size < num_replicas:
        raise ValueError(
            f"'batch_size' must be at least 'num_replicas', {num_replicas}, which share a batch "
            f'(got {batch_size})'
        )


def _check_not_negative(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
        raise ValueError(f"'{name}' must be an integer of at least 0 (got {value!r})")
