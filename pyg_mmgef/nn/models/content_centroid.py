from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.catalog.content_weights import ContentWeights
from pyg_mmgef.catalog.fold_in import LinearFoldIn
from pyg_mmgef.nn._unit_length import inverse_length, unit_length
from pyg_mmgef.nn.models._solved import SolvedRecommender
from pyg_mmgef.nn.parts._fold_in import as_array
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.content_features import Content
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts
from pyg_mmgef.nn.parts.histories import histories
from pyg_mmgef.nn.parts.modality_features import feature_channels
from pyg_mmgef.schema import item_modalities

__all__ = ['ContentCentroid']


class ContentCentroid(SolvedRecommender[tuple[Tensor, Tensor]]):
    r"""Ranks items by the cosine of their features with the mean of the user's items.

    .. math::
        \mathbf{z}_i = \frac{\mathbf{x}_i}{\lVert \mathbf{x}_i \rVert}, \qquad
        \mathbf{c}_u = \frac{1}{|\mathcal{N}(u)|} \sum_{i \in \mathcal{N}(u)} \mathbf{z}_i, \qquad
        \mathbf{z}_u = \frac{\mathbf{c}_u}{\lVert \mathbf{c}_u \rVert}

    with the features :math:`\mathbf{x}_i` of all modalities side by side, see
    :class:`~pyg_mmgef.nn.parts.Content`. A score is the cosine of an item and the user's centroid,
    so a user's items are ranked by their mean cosine with the history. There is nothing to train,
    and an item's own interactions don't enter its score: warm and cold items are ranked alike. It
    says how much of a cold ranking is due to the features, and what a model learns beyond them.

    It is the user profile of content-based recommenders (`"Content-Based Recommendation Systems"
    <https://doi.org/10.1007/978-3-540-72079-9_10>`_, 2007), Rocchio's with relevant items alone.

    **Deviations.** There the features are weighted words; here they are the encoders', each
    modality scaled to unit length, minus its mean over warm items, so that a modality in which
    items differ more counts more. A repeated interaction counts once.

    An item without content, or a user without a history, has a zero vector.

    Args:
        num_users: Number of users.
        num_items: Number of items.

    Raises:
        ValueError: If a number isn't positive, or the data passed to :meth:`forward` has no item
            features, or other numbers of users and items.

    Example:
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 4
        >>> data['item'].x_text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9]])
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1], [0, 1]])
        >>> z_user, z_item = ContentCentroid.from_data(data)(data)
        >>> (z_user @ z_item.t()).argsort(descending=True)
        tensor([[0, 2, 3, 1],
                [1, 3, 2, 0]])
    """

    paper = 'https://doi.org/10.1007/978-3-540-72079-9_10'
    year = 2007

    def __init__(self, num_users: int, num_items: int) -> None:
        super().__init__(num_users, num_items)
        self.content_map = None  # The features of cold items are their embeddings.

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the centroids of users, and the features of items."""
        z_user, z_item = self._solution(data)
        return select(z_user, users).to(self.dtype), select(z_item, items).to(self.dtype)

    @torch.no_grad()
    def embed_items(
        self,
        data: HeteroData,
        x: Mapping[str, Tensor],
        has: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the embeddings of items that aren't in the data, from their features.

        See :meth:`Recommender.embed_items`; here they are the features themselves.
        """
        return self.cold_scale * unit_length(self._content(data).of(x, has)).to(self.dtype)

    def content_weights(self, data: HeteroData, *, history: bool = False) -> ContentWeights:
        """Raise a :class:`ValueError`: unit length isn't affine."""
        raise ValueError(
            'ContentCentroid scales features to unit length, which no matrix does; embed new items '
            "by 'embed_items'"
        )

    def fold_in(self, data: HeteroData) -> LinearFoldIn:
        """Return what embeds new users: the direction of the sum of their items."""
        self.check_sizes(data)
        return LinearFoldIn(as_array(self._solution(data)[1]), normalise='unit')

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return the features of the user's items, as they count in the mean."""
        pair = histories(data)
        items = select(pair.matrix(self.dtype), torch.tensor([user], device=pair.device))
        own = self._solution(data)[1][items.col_indices()]
        scale = inverse_length(own.sum(dim=0)).to(own.dtype)
        return UserParts(items.col_indices(), (scale * own).to(self.dtype))

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the features of each modality."""
        z_item = self._solution(data)[1][items].to(self.dtype)
        rows = self._content(data).by_modality(z_item)
        return [ItemPart.of_rows('modality', row, name) for name, row in rows.items()]

    def _content(self, data: HeteroData) -> Content:
        feature_channels(data, self.__class__.__name__)  # Raises where there are none.
        content = self._content_of(data, self.is_warm(data))
        assert content is not None
        return content

    def _sources(self, data: HeteroData) -> list[Tensor]:
        x, has = item_modalities(data)
        return [*super()._sources(data), *x.values(), *has.values()]

    @torch.no_grad()
    def _solve(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        z_item = unit_length(self._content(data).of(*item_modalities(data)))
        # The sum has the direction of the mean.
        return unit_length(histories(data).matmul(z_item)), z_item

    def _pack(self, solution: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return dict(zip(('z_user', 'z_item'), solution, strict=True))

    def _unpack(self, data: HeteroData, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        return tensors['z_user'], tensors['z_item']

    def _packed_shapes(self) -> dict[str, tuple[int | None, ...]]:
        channels = None
        return {'z_user': (self.num_users, channels), 'z_item': (self.num_items, channels)}
