from abc import ABC, abstractmethod
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import HeteroData

from pyg_mmgef.schema import num_users_items
from pyg_mmgef.validate import check_positive

__all__ = ['Recommender']

Model = TypeVar('Model', bound='Recommender')


class Recommender(Module, ABC):
    r"""What every model is: a map from a graph to embeddings of its users and items.

    The score of an item for a user is :math:`\mathbf{z}_u^{\top} \mathbf{z}_i`, so evaluation,
    recommendation and export need nothing else. A model implements :meth:`forward`,
    :meth:`reset_parameters` and ``from_data``, which builds it for a graph. What else it needs has
    one place each: what is due before an epoch is in :meth:`start_epoch`, what its paper adds to
    the loss in :meth:`loss`.

    Args:
        num_users: Number of users.
        num_items: Number of items.

    Raises:
        ValueError: If a number isn't positive.
    """

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__()
        check_positive('num_users', num_users)
        check_positive('num_items', num_items)
        self.num_users = num_users
        self.num_items = num_items

    @classmethod
    def from_data(cls: type[Model], data: HeteroData, **kwargs: Any) -> Model:
        """Build the model for :obj:`data`; keyword arguments are those of the constructor."""
        return cls(*num_users_items(data), **kwargs)

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw new parameters, and forget what was built from data or earlier parameters."""

    @abstractmethod
    def forward(
        self, data: HeteroData, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and items, or of those that are asked for.

        Args:
            data: The train graph.
            users: User ids, repeated or not; :obj:`None` means all, in order. Shape: ``[*]``.
                (default: :obj:`None`)
            items: Item ids, repeated or not; :obj:`None` means all, in order. Shape: ``[*]``.
                (default: :obj:`None`)

        Returns:
            ``z_user`` of shape ``[num_users, channels]`` or ``[*users.shape, channels]``, and
            ``z_item`` likewise.
        """

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Do what is due before a training epoch; by default nothing.

        Args:
            data: The train graph.
            epoch: The epoch that starts, counted from 0.
        """

    def loss(
        self, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor, loss_fn: Module
    ) -> Tensor:
        """Return the loss of a batch of triplets, with the model's own terms if it has any.

        Args:
            data: The train graph.
            users: User ids. Shape: ``[B]``.
            items: Items they have taken. Shape: ``[B]``.
            negatives: Items they have not. Shape: ``[B]``, ``[B, N]``, or, shared by all users,
                ``[1, N]``.
            loss_fn: Called with the embeddings of users, items and negatives, such as
                :class:`~pyg_mmgef.nn.BPRLoss`.

        Returns:
            A scalar.
        """
        return loss_fn(*self.triplets(data, users, items, negatives))

    def triplets(
        self, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings of a batch, as a ranking loss takes them.

        The arguments are those of :meth:`loss`; the embeddings have a further dimension.
        """
        z_user, z_item = self(data, users, torch.cat([items, negatives.flatten()]))
        z_item, z_negative = z_item.split([items.numel(), negatives.numel()])
        return z_user, z_item, z_negative.view(*negatives.shape, z_user.size(-1))

    def check_sizes(self, data: HeteroData) -> None:
        """Raise a :class:`ValueError` unless the data has the users and items of the model."""
        size = num_users_items(data)
        if size != (self.num_users, self.num_items):
            raise ValueError(
                f"'data' has {size[0]} users and {size[1]} items, but the model was built for "
                f'{self.num_users} and {self.num_items}'
            )
