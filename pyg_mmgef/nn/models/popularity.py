from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.parameter_free import ParameterFree
from pyg_mmgef.nn.parts._distinct import distinct, restore, select
from pyg_mmgef.schema import ITEM, USER, interaction_edges, num_users_items

__all__ = ['Popularity']


class Popularity(ParameterFree):
    r"""Everybody is recommended what most users have taken: the least a model must beat.

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

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__(num_users, num_items)
        self.reset_parameters()

    @classmethod
    def from_data(cls, data: HeteroData) -> 'Popularity':
        """Build the model for :obj:`data`."""
        return cls(*num_users_items(data))

    def forward(
        self, data: HeteroData, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return a one for every user and the popularity of every item.

        Args:
            data: The train graph; only ``data['user', 'interacts', 'item'].edge_index`` is read.
            users: User ids; :obj:`None` means all. Shape: ``[*]``. (default: :obj:`None`)
            items: Item ids; :obj:`None` means all. Shape: ``[*]``. (default: :obj:`None`)

        Returns:
            ``z_user`` of shape ``[num_users, 1]`` or ``[*users.shape, 1]``, and ``z_item``
            likewise.
        """
        self.check_sizes(data)
        users, place_of_user = distinct('users', users, self.num_users, USER)
        items, place_of_item = distinct('items', items, self.num_items, ITEM)
        count = self._cache.get([interaction_edges(data)], lambda: self._count(data))
        z_item = count.to(self.dtype)[:, None]
        z_user = z_item.new_ones(self.num_users, 1)
        return (
            restore(select(z_user, users), place_of_user),
            restore(select(z_item, items), place_of_item),
        )

    def _count(self, data: HeteroData) -> Tensor:
        return self.distinct_interactions(data)[1].bincount(minlength=self.num_items)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.num_users}, {self.num_items})'
