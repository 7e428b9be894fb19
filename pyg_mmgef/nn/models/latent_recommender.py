from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._distinct import distinct, restore, select
from pyg_mmgef.nn.parts.latent_graphs import LatentGraphs
from pyg_mmgef.schema import ITEM, USER, item_modalities, item_relations, num_users_items
from pyg_mmgef.validate import check_positive

__all__ = ['LatentRecommender']

Model = TypeVar('Model', bound='LatentRecommender')


class LatentRecommender(Recommender):
    """What LATTICE and MICRO share: LightGCN beside convolutions over latent item graphs.

    A subclass merges the modalities, in :meth:`item_part`. The arguments are those of
    :class:`~pyg_mmgef.nn.LATTICE`.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int] | None,
        item_graphs: Sequence[str] | None,
        embedding_dim: int,
        num_layers: int,
        num_item_layers: int,
        skip_weight: float,
        rebuild_every: int,
        k: int,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('num_item_layers', num_item_layers)
        check_positive('rebuild_every', rebuild_every)
        self.num_item_layers = num_item_layers
        self.rebuild_every = rebuild_every
        self.light_gcn = LightGCN(num_users, num_items, embedding_dim, num_layers)
        self.graphs = LatentGraphs(
            num_items, in_channels, item_graphs, embedding_dim, skip_weight, k
        )

    @classmethod
    def from_data(cls: type[Model], data: HeteroData, **kwargs: Any) -> Model:
        """Build the model for :obj:`data`.

        The modalities are those that :obj:`data` has. If it has an item graph
        ``'similar_<modality>'`` for each, these are the frozen graphs. Without item features the
        graphs of that name are all there is, and ``skip_weight`` defaults to 1.

        Args:
            data: A graph in the schema of this package.
            **kwargs: Arguments of the constructor.

        Raises:
            ValueError: If the data has neither item features nor such graphs.
        """
        x, _ = item_modalities(data)
        given = [name for name in item_relations(data) if name.startswith('similar_')]
        if not x and not given and not kwargs.get('item_graphs'):
            raise ValueError(
                f"'data' has no item features, which {cls.__name__} needs; set "
                "data['item'].x_<modality>, or add item graphs 'similar_<modality>'"
            )
        if x:
            kwargs.setdefault('in_channels', {name: row.size(1) for name, row in x.items()})
            given = [f'similar_{name}' for name in x if f'similar_{name}' in given]
        else:
            kwargs.setdefault('skip_weight', 1.0)
        if given and len(given) >= len(x):
            kwargs.setdefault('item_graphs', tuple(given))
        return cls(*num_users_items(data), **kwargs)

    def reset_parameters(self) -> None:
        """Draw new parameters; forget the graphs."""
        self.light_gcn.reset_parameters()
        self.graphs.reset_parameters()

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Choose new neighbours in the learned graphs, every ``rebuild_every`` epochs.

        Args:
            data: The train graph.
            epoch: The epoch that starts, counted from 0.
        """
        if epoch % self.rebuild_every == 0:
            self.graphs.rebuild(data)

    @abstractmethod
    def item_part(self, data: HeteroData, items: Tensor | None) -> Tensor:
        r"""Return :math:`\mathbf{h}` of increasing items, or of all for :obj:`None`."""

    def forward(
        self, data: HeteroData, users: Tensor | None = None, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and items, or of those that are asked for.

        Args:
            data: The train graph, with the features or item graphs the model was built for.
            users: User ids; :obj:`None` means all, see :meth:`LightGCN.forward`. Shape: ``[*]``.
                (default: :obj:`None`)
            items: Item ids; :obj:`None` means all. Shape: ``[*]``. (default: :obj:`None`)

        Returns:
            ``z_user`` of shape ``[num_users, embedding_dim]`` or ``[*users.shape,
            embedding_dim]``, and ``z_item`` likewise.
        """
        users, place_of_user = distinct('users', users, self.num_users, USER)
        items, place_of_item = distinct('items', items, self.num_items, ITEM)
        z_user, z_item = self.light_gcn.embed(data, users, items)
        z_item = self.with_item_part(data, z_item, self.item_part(data, items), items)
        return restore(z_user, place_of_user), restore(z_item, place_of_item)

    def with_item_part(
        self, data: HeteroData, z_item: Tensor, h: Tensor, items: Tensor | None
    ) -> Tensor:
        """Add the unit vectors of the item part to LightGCN's embeddings of warm items."""
        is_warm = select(self.light_gcn.is_warm(data), items)
        return torch.addcmul(unit_length(h), z_item, is_warm.to(z_item.dtype))

    def item_embedding(self, data: HeteroData) -> Tensor:
        """Return what propagates: the id embeddings, zero for cold items."""
        is_warm = self.light_gcn.is_warm(data)
        return torch.where(is_warm, self.light_gcn.item_embedding.weight, 0.0)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_users}, {self.num_items}, '
            f'embedding_dim={self.light_gcn.embedding_dim}, graphs={self.graphs})'
        )
