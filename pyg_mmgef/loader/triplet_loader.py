from collections.abc import Iterator

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.schema import INTERACTS, interactions, num_users_items
from pyg_mmgef.validate import check_choice, check_edge_index, check_positive

__all__ = ['TripletLoader']


class TripletLoader:
    r"""Iterate over (user, item, negative) triplets of the train interactions, in batches.

    Every interaction appears once per epoch. Its negative is uniform over the items that the user
    has not interacted with, by default over the *warm* ones, those with a train interaction: an
    item that nobody could choose says nothing about taste, and an eternal negative is pushed down.
    Drawing :math:`r` from :math:`\{0, \dots, n_u - 1\}`, with :math:`n_u` such items, and taking
    the :math:`r`-th of them is one binary search over the sorted interactions. There is no
    rejection, so a draw always ends, however active the user is.

    Args:
        data: The train data. The triplets are its ``edge_label_index``, or its ``edge_index``
            where that is missing; no item that a user has in either is a negative of that user.
        batch_size: Number of triplets per batch. (default: ``2048``)
        shuffle: Visit the interactions in a new order each epoch. (default: :obj:`False`)
        num_negatives: Negatives per positive. (default: ``1``)
        negatives_from: ``'warm'`` or ``'all'`` items. (default: ``'warm'``)
        drop_last: Leave out a last batch that isn't full. (default: :obj:`False`)
        generator: Source of all random numbers, a CPU generator; :obj:`None` makes one seeded
            with 0, never torch's global one. Build the loader once, not once per epoch, or every
            epoch draws the same negatives. (default: :obj:`None`)

    Yields:
        ``users`` and ``items`` of shape ``[B]``, and ``negatives`` of shape ``[B]``, or
        ``[B, num_negatives]`` for more than one.

    Raises:
        ValueError: If the data has no interactions, or a user has interacted with all these items.
    """

    def __init__(
        self,
        data: HeteroData,
        batch_size: int = 2048,
        shuffle: bool = False,
        *,
        num_negatives: int = 1,
        negatives_from: str = 'warm',
        drop_last: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        check_positive('batch_size', batch_size)
        check_positive('num_negatives', num_negatives)
        check_choice('negatives_from', negatives_from, ('warm', 'all'))
        known = interactions(data).long()
        self.edge_index = data[INTERACTS].get('edge_label_index', known).long()
        self.num_users, self.num_items = sizes = num_users_items(data)
        check_edge_index('edge_label_index', self.edge_index, sizes, ('user', 'item'))
        if self.edge_index.size(1) == 0:
            raise ValueError("'data' has no train interactions; there is nothing to learn from")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.num_negatives = num_negatives
        self.negatives_from = negatives_from
        self.drop_last = drop_last
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        self._index_positives(torch.cat([known, self.edge_index], dim=1))

    def _index_positives(self, positives: Tensor) -> None:
        r"""Prepare the search for the r-th item that is a negative of a user.

        With the positions :math:`p_0 < p_1 < \dots` of a user's items among the candidates,
        :math:`p_t - t` candidates before :math:`p_t` are negatives, so the r-th negative is
        :math:`r` plus the number of :math:`t` with :math:`p_t - t \le r`.
        """
        pair = (positives[0] * self.num_items + positives[1]).unique()
        user, item = pair // self.num_items, pair % self.num_items
        everything = torch.arange(self.num_items, device=item.device)
        self._candidates = item.unique() if self.negatives_from == 'warm' else everything
        degree = torch.bincount(user, minlength=self.num_users)
        self._start = degree.cumsum(0) - degree
        rank = torch.arange(user.numel(), device=user.device) - self._start[user]
        position = torch.searchsorted(self._candidates, item)
        self._key = user * (self._candidates.numel() + 1) + position - rank
        self._num_negative_items = self._candidates.numel() - degree
        full = (self._num_negative_items == 0).nonzero().view(-1)
        if full.numel() > 0:
            raise ValueError(
                f'{full.numel()} users (first: {int(full[0])}) have interacted with all '
                f'{self._candidates.numel()} items that negatives are drawn from '
                f'(negatives_from={self.negatives_from!r}); leave these users out of the train '
                "data, or draw from 'all' items"
            )

    def sample_negatives(self, users: Tensor) -> Tensor:
        """Draw ``num_negatives`` items per user that the user has not interacted with.

        Args:
            users: User ids. Shape: ``[B]``.

        Returns:
            Shape: ``[B]``, or ``[B, num_negatives]`` for more than one.
        """
        draw = torch.rand(
            users.numel(), self.num_negatives, generator=self.generator, dtype=torch.double
        ).to(users.device)
        available = self._num_negative_items[users][:, None]
        rank = (draw * available).long().clamp(max=available - 1)
        key = users[:, None] * (self._candidates.numel() + 1) + rank
        before = torch.searchsorted(self._key, key, right=True) - self._start[users][:, None]
        negatives = self._candidates[rank + before]
        return negatives.squeeze(1) if self.num_negatives == 1 else negatives

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        edge_index = self.edge_index
        if self.shuffle:
            order = torch.randperm(edge_index.size(1), generator=self.generator)
            edge_index = edge_index[:, order.to(edge_index.device)]
        for batch in range(len(self)):
            start = batch * self.batch_size
            users, items = edge_index[:, start : start + self.batch_size]
            yield users, items, self.sample_negatives(users)

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        full, rest = divmod(self.edge_index.size(1), self.batch_size)
        return full + int(rest > 0 and not self.drop_last)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.edge_index.size(1)} interactions, '
            f'batch_size={self.batch_size})'
        )
