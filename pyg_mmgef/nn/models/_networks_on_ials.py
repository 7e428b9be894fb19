from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef.catalog.fold_in import LeastSquaresFoldIn
from pyg_mmgef.nn.models._preferences import Preferences
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._fold_in import as_array
from pyg_mmgef.nn.parts._standard_content import StandardContent
from pyg_mmgef.nn.parts._tower import Tower
from pyg_mmgef.validate import check_positive

__all__ = ['NetworksOnIALS']

Model = TypeVar('Model', bound='NetworksOnIALS')


class NetworksOnIALS(Recommender):
    """Base of models that put networks on top of IALS, and embed cold items by their features.

    It has what such networks read: :attr:`preferences`, the embeddings of :class:`IALS`, and
    :attr:`content`, the features of all modalities side by side. A model adds its networks.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        embedding_dim: Channels of the embeddings and of IALS.
        l2: The penalty of :class:`IALS`.
        unobserved_weight: The weight of pairs that never met, see :class:`IALS`.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        embedding_dim: int,
        l2: float,
        unobserved_weight: float | None,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('embedding_dim', embedding_dim)
        self.in_channels = dict(in_channels)
        self.embedding_dim = embedding_dim
        self.l2, self.unobserved_weight = l2, unobserved_weight
        self.content_map = None  # The networks embed cold items.
        self.content = StandardContent(in_channels)
        self.preferences = Preferences(num_users, num_items, embedding_dim, l2, unobserved_weight)

    user_tower: Tower
    """The network of the users, which a model adds."""

    @torch.no_grad()
    def fold_in(self, data: HeteroData) -> LeastSquaresFoldIn:
        """Return what embeds new users: :meth:`IALS.fold_in`, through the network of the users."""
        self.check_sizes(data)
        mean, factor = self.preferences.user_scale(data)
        weight_in, bias_in, weight_out, bias_out = self.user_tower.affine()
        head = {
            'mean': mean,
            'weight_in': factor * weight_in,
            'bias_in': bias_in,
            'weight_out': weight_out,
            'bias_out': bias_out,
        }
        arrays = {name: as_array(array) for name, array in head.items()}
        return self.preferences.ials.fold_in(data).with_head(arrays)

    @torch.no_grad()
    def embed_items(
        self,
        data: HeteroData,
        x: Mapping[str, Tensor],
        has: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the embeddings of items that aren't in the data, from their features.

        See :meth:`Recommender.embed_items`; here the network of the items embeds them.
        """
        with self._evaluating():
            is_warm = self.is_warm(data)
            return self.cold_scale * self._made_of(
                *self.content.of(data, is_warm, self.dtype, x, has)
            )

    def grow(self: Model, num_users: int, num_items: int, data: HeteroData | None = None) -> Model:
        """Return a copy with room for new users and items, see :meth:`Recommender.grow`.

        IALS of the copy starts from the items of this model, so that it stays near the embeddings
        which the networks were trained on.
        """
        grown = super().grow(num_users, num_items, data)
        grown.preferences.ials.start_from(self.preferences.ials)
        return grown

    @abstractmethod
    def _made_of(self, x: Tensor, has: Tensor) -> Tensor:
        """Return the embeddings of cold items, by the rows of :attr:`content` and who has any."""

    def reset_parameters(self) -> None:
        """Initialise the networks anew, and clear embeddings of IALS and features."""
        for module in self.children():
            reset(module)
        self.content.clear()
