import torch
from torch import Tensor
from torch.nn import Embedding
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts
from pyg_mmgef.nn.parts.sampled_batch import rows_of
from pyg_mmgef.schema import ITEM, USER
from pyg_mmgef.validate import check_positive

__all__ = ['MF']


class MF(Recommender):
    r"""Matrix factorisation: an embedding for every user and every item.

    .. math::
        \hat{x}_{ui} = \mathbf{z}_u^{\top} \mathbf{z}_i

    Trained with :class:`~pyg_mmgef.nn.BPRLoss` it is BPR-MF of `"BPR: Bayesian Personalized Ranking
    from Implicit Feedback" <https://arxiv.org/abs/1205.2618>`_ (Sec. 4.3.1). Of the data a step
    reads nothing but the batch; an item without interactions keeps its initial embedding, changed
    only where it was a negative.

    **Deviations.** Embeddings start Xavier-uniform, as those of :class:`LightGCN`, so that the
    propagation is all that differs between the two. The squared lengths of the embeddings have one
    weight in the loss, where the paper has one for users and two for items.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        embedding_dim: Channels of the embeddings. (default: ``64``)
        sparse: Whether the embeddings get sparse gradients from sampled batches, see
            :class:`LightGCN`. (default: :obj:`False`)

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

    paper = 'https://arxiv.org/abs/1205.2618'
    year = 2009
    takes_batches = True

    def __init__(
        self, num_users: int, num_items: int, *, embedding_dim: int = 64, sparse: bool = False
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('embedding_dim', embedding_dim)
        self.embedding_dim = embedding_dim
        self.sparse = sparse
        self.user_embedding = Embedding(num_users, embedding_dim, sparse=sparse)
        self.item_embedding = Embedding(num_items, embedding_dim, sparse=sparse)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the embeddings anew."""
        torch.nn.init.xavier_uniform_(self.user_embedding.weight)
        torch.nn.init.xavier_uniform_(self.item_embedding.weight)

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the rows of both tables."""
        z_user = rows_of(self.user_embedding, data[USER], users)
        return z_user, rows_of(self.item_embedding, data[ITEM], items)

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return the user's own embedding."""
        return UserParts.without_items(user=self.user_embedding.weight[user])

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the items' own embeddings."""
        return [ItemPart.of_rows('collaborative', self.item_embedding.weight[items])]
