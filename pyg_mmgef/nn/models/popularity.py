from collections.abc import Mapping

import numpy as np
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.utils import coalesce

from pyg_mmgef.catalog.fold_in import LinearFoldIn
from pyg_mmgef.nn.models._solved import SolvedRecommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts
from pyg_mmgef.schema import interactions

__all__ = ['Popularity']


class Popularity(SolvedRecommender[Tensor]):
    r"""Recommends the items with the most users to everybody; a baseline.

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

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return a one for every user and the popularity of every item."""
        z_item = select(self._solution(data), items).to(self.dtype)[:, None]
        return z_item.new_ones(self.num_users if users is None else users.numel(), 1), z_item

    def fold_in(self, data: HeteroData) -> LinearFoldIn:
        """Return what embeds new users: a one for each, whatever they like."""
        self.check_sizes(data)
        return LinearFoldIn(np.zeros((self.num_items, 1), np.float32), np.ones(1, np.float32))

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return a one."""
        return UserParts.without_items(popularity=self._empty.new_ones(1))

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the popularity of the items."""
        return [ItemPart.of_rows('popularity', self.embed(data, items[:0], items)[1])]

    def _solve(self, data: HeteroData) -> Tensor:
        distinct = coalesce(interactions(data))
        return distinct[1].bincount(minlength=self.num_items)

    def _pack(self, solution: Tensor) -> dict[str, Tensor]:
        return {'count': solution}

    def _unpack(self, data: HeteroData, tensors: Mapping[str, Tensor]) -> Tensor:
        return tensors['count']

    def _packed_shapes(self) -> dict[str, tuple[int | None, ...]]:
        return {'count': (self.num_items,)}
