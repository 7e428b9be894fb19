from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.utils import coalesce

from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import interaction_edges, interactions

__all__ = ['Popularity']


class Popularity(Recommender):
    r"""Recommends the items with the most users to everybody: the least a model must beat.

    .. math::
        \mathbf{z}_u = [1], \qquad \mathbf{z}_i = [\, |\{u : (u, i) \in \mathcal{R}\}| \,]

    over the train interactions :math:`\mathcal{R}`; a repeated interaction counts once. There is
    nothing to train. Counts above :math:`2^{24}` are rounded in float32.

    Args:
        num_users: Number of users.
        num_items: Number of items.

    Raises:
        ValueError: If a number isn't positive, or the data passed to :meth:`forward` has other
            numbers of users and items.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1, 1], [0, 0, 2]])
        >>> Popularity.from_data(data)(data)[1].view(-1)
        tensor([2., 0., 1.])
    """

    is_trained = False

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__(num_users, num_items)
        self._cache = TensorCache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Clear the counts; there are no parameters."""
        self._cache.clear()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return a one for every user and the popularity of every item."""
        count = self._cache.get([interaction_edges(data)], lambda: self._count(data))
        z_item = select(count, items).to(self.dtype)[:, None]
        return z_item.new_ones(self.num_users if users is None else users.numel(), 1), z_item

    def _count(self, data: HeteroData) -> Tensor:
        distinct = coalesce(interactions(data))
        return distinct[1].bincount(minlength=self.num_items)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.num_users}, {self.num_items})'
