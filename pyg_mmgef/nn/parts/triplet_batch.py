import torch
from torch import Tensor

from pyg_mmgef.nn.parts._id_rows import distinct, restore
from pyg_mmgef.schema import ITEM, USER

__all__ = ['TripletBatch']


class TripletBatch:
    """A batch of triplets (user, positive, negative), and the distinct ids in it.

    A batch repeats ids. A model computes the embedding of each distinct id once, and
    :meth:`triplets` repeats the rows.

    Args:
        users: User ids. Shape: ``[B]``.
        items: Positives, items that the users interacted with. Shape: ``[B]``.
        negatives: Items that they did not interact with. Shape: ``[B]``, ``[B, N]``, or, shared by
            all users, ``[1, N]``.
        num_users: Number of users.
        num_items: Number of items.

    Raises:
        ValueError: If ids are no integers or out of range.
    """

    def __init__(
        self, users: Tensor, items: Tensor, negatives: Tensor, num_users: int, num_items: int
    ) -> None:
        self.users, self.items, self.negatives = users, items, negatives
        both = torch.cat([items, negatives.flatten()])
        user_rows, user_position = distinct('users', users, num_users, USER)
        item_rows, item_position = distinct('items', both, num_items, ITEM)
        assert user_rows is not None
        assert item_rows is not None
        assert user_position is not None
        assert item_position is not None
        self._user_position: Tensor = user_position
        self._item_position: Tensor = item_position
        self.user_rows: Tensor = user_rows
        """The distinct users, increasing."""
        self.item_rows: Tensor = item_rows
        """The distinct items, positives and negatives, increasing."""

    @property
    def positive_position(self) -> Tensor:
        """Where each positive is among :attr:`item_rows`. Shape: ``[B]``."""
        return self._item_position[: self.items.numel()]

    def counts(self) -> tuple[Tensor, Tensor]:
        """Return how often each distinct user, and each distinct item as a positive, occurs."""
        return (
            self._user_position.bincount(minlength=self.user_rows.numel()),
            self.positive_position.bincount(minlength=self.item_rows.numel()),
        )

    def of_users(self, z_user: Tensor) -> Tensor:
        """Return the row of each triplet's user, from a row for each of :attr:`user_rows`."""
        return restore(z_user, self._user_position)

    def of_items(self, z_item: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of positives and of negatives, from a row for each of :attr:`item_rows`.

        Returns:
            Shapes: ``[B, channels]`` and ``[*negatives.shape, channels]``.
        """
        # One selection for both, so that the gradient is added up once.
        positive, negative = restore(z_item, self._item_position).split(
            [self.items.numel(), self.negatives.numel()]
        )
        return positive, negative.view(*self.negatives.shape, z_item.size(1))

    def triplets(self, z_user: Tensor, z_item: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings of users, positives and negatives, as a loss takes them."""
        return self.of_users(z_user), *self.of_items(z_item)
