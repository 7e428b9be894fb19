from typing import Any

import torch
from torch import Tensor
from torch.nn import Embedding
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._distinct import distinct, restore, select
from pyg_mmgef.schema import ITEM, USER, num_users_items
from pyg_mmgef.validate import check_positive

__all__ = ['MF']


class MF(Recommender):
    r"""Matrix factorisation: an embedding for every user and every item.

    .. math::
        \hat{x}_{ui} = \mathbf{z}_u^{\top} \mathbf{z}_i

    Trained with :class:`~pyg_mmgef.nn.BPRLoss` it is BPR-MF of `"BPR: Bayesian Personalized Ranking
    from Implicit Feedback" <https://arxiv.org/abs/1205.2618>`_ (Sec. 4.3.1). Of the data a step
    reads nothing but the batch; an item without interactions keeps the embedding it was drawn
    with, moved only where it was a negative.

    **Deviations.** Embeddings start Xavier-uniform, as those of :class:`LightGCN`, so that the
    propagation is all that differs between the two. The squared lengths of the embeddings have one
    weight in the loss, where the paper has one for users and two for items.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        embedding_dim: Channels of the embeddings. (default: ``64``)

    Raises:
        ValueError: If a size isn't positive, or the data passed to :meth:`forward` has other
            numbers of users and items.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> z_user, z_item = MF.from_data(data, embedding_dim=8)(data)
        >>> z_user.shape, z_item.shape
        (torch.Size([2, 8]), torch.Size([3, 8]))
    """

    def __init__(self, num_users: int, num_items: int, embedding_dim: int = 64) -> None:
        super().__init__(num_users, num_items)
        check_positive('embedding_dim', embedding_dim)
        self.embedding_dim = embedding_dim
        self.user_embedding = Embedding(num_users, embedding_dim)
        self.item_embedding = Embedding(num_items, embedding_dim)
        self.reset_parameters()

    @classmethod
    def from_data(cls, data: HeteroData, **kwargs: Any) -> 'MF':
        """Build the model for :obj:`data`; keyword arguments are those of the constructor."""
        return cls(*num_users_items(data), **kwargs)

    def reset_parameters(self) -> None:
        """Draw new embeddings."""
        torch.nn.init.xavier_uniform_(self.user_embedding.weight)
        torch.nn.init.xavier_uniform_(self.item_embedding.weight)

    def forward(
        self, data: HeteroData, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and items, or of those that are asked for.

        Args:
            data: The graph, of which only the numbers of users and items are read.
            users: User ids; :obj:`None` means all. Shape: ``[*]``. (default: :obj:`None`)
            items: Item ids; :obj:`None` means all. Shape: ``[*]``. (default: :obj:`None`)

        Returns:
            ``z_user`` of shape ``[num_users, embedding_dim]`` or ``[*users.shape,
            embedding_dim]``, and ``z_item`` likewise.
        """
        self.check_sizes(data)
        users, place_of_user = distinct('users', users, self.num_users, USER)
        items, place_of_item = distinct('items', items, self.num_items, ITEM)
        return (
            restore(select(self.user_embedding.weight, users), place_of_user),
            restore(select(self.item_embedding.weight, items), place_of_item),
        )

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_users}, {self.num_items}, '
            f'embedding_dim={self.embedding_dim})'
        )
