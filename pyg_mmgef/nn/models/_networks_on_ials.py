from collections.abc import Mapping

from torch_geometric.nn.inits import reset

from pyg_mmgef.nn.models._preferences import Preferences
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._standard_content import StandardContent
from pyg_mmgef.validate import check_positive

__all__ = ['NetworksOnIALS']


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

    def reset_parameters(self) -> None:
        """Initialise the networks anew, and clear embeddings of IALS and features."""
        for module in self.children():
            reset(module)
        self.content.clear()
