from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Embedding, LeakyReLU, Linear, Sequential
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.loss._checks import checked_negatives, negative_scores
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts._standard_content import StandardContent
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.validate import check_fraction, check_not_negative, check_positive

__all__ = ['CLCRec']


class CLCRec(Recommender):
    r"""Matrix factorisation, and an encoder of features trained to give the same embeddings.

    .. math::
        \mathbf{f}_i = \mathbf{W}_2 \, \mathrm{LeakyReLU}(\mathbf{W}_1 \mathbf{x}_i + \mathbf{b}_1)
        + \mathbf{b}_2, \qquad
        \mathbf{z}_i = \begin{cases} \mathbf{e}_i & \text{if } i \text{ is warm} \\
        \mathbf{f}_i & \text{if } i \text{ is cold} \end{cases}

    from `"Contrastive Learning for Cold-Start Recommendation" <https://arxiv.org/abs/2107.05315>`_
    (CLCRec), with embeddings :math:`\mathbf{e}_i` and the features :math:`\mathbf{x}_i` of all
    modalities side by side. Two contrasts with the negatives :math:`n` of a batch teach it,

    .. math::
        \mathcal{L} = \mathcal{L}_{UI} - \frac{w}{B} \sum_{(u, i)} \ln
        \frac{\exp(\cos(\mathbf{e}_i, \mathbf{f}_i) / \tau)}{\exp(\cos(\mathbf{e}_i, \mathbf{f}_i) /
        \tau) + \sum_n \exp(\cos(\mathbf{e}_i, \mathbf{f}_n) / \tau)}.

    :math:`\mathcal{L}_{UI}`, that of users and items, is the loss function which :meth:`loss` is
    called with. In training it sees :math:`\mathbf{f}_i` in place of :math:`\mathbf{e}_i` for a
    random share of the items, so users learn to like items by their features, too.

    The paper's :math:`\mathcal{L}_{UI}` is :class:`~pyg_mmgef.nn.SampledSoftmaxLoss` with
    ``normalize=False, in_batch=False`` and the same temperature :math:`\tau`, of 128 or 512
    negatives in the authors' code.

    **Deviations.** The paper weighs both terms by :math:`1 - \lambda` and :math:`\lambda`; here the
    first weighs 1, so :math:`w = \lambda / (1 - \lambda)`. The share is of the distinct items of a
    batch, in the authors' code of their occurrences, chosen with replacement, so that 0.5 there
    replaces 39 %. Its penalty, on lengths that aren't squared, is left to the loss function or the
    optimiser. Features are scaled and centred (over the warm
    items that have the modality), in the authors' code scaled alone. An item without any feature is
    left out of the second contrast, and as a cold item it has zeros.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        embedding_dim: Channels of the embeddings. (default: ``64``)
        hidden_dim: Channels of the encoder between its maps. (default: ``256``)
        contrast_weight: The weight :math:`w`; 1 and 9 in the authors' code. (default: ``1.0``)
        temperature: The temperature :math:`\tau`; 2 and 1 in the authors' code.
            (default: ``1.0``)
        item_dropout: Share of the items whose embedding is that of their features in training.
            (default: ``0.5``)

    Raises:
        ValueError: If a number is out of range, or the data doesn't fit the model.
    """

    paper = 'https://arxiv.org/abs/2107.05315'
    year = 2021
    needs_negatives = True

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        hidden_dim: int = 256,
        contrast_weight: float = 1.0,
        temperature: float = 1.0,
        item_dropout: float = 0.5,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('embedding_dim', embedding_dim)
        check_positive('hidden_dim', hidden_dim)
        check_not_negative('contrast_weight', contrast_weight)
        check_positive('temperature', temperature, integer=False)
        check_fraction('item_dropout', item_dropout)
        self.in_channels = dict(in_channels)
        self.embedding_dim = embedding_dim
        self.hidden_dim = hidden_dim
        self.contrast_weight = contrast_weight
        self.temperature = temperature
        self.item_dropout = item_dropout
        self.content_map = None  # The encoder embeds cold items.
        self.content = StandardContent(in_channels)
        self.user_embedding = Embedding(num_users, embedding_dim)
        self.item_embedding = Embedding(num_items, embedding_dim)
        self.encoder = Sequential(
            Linear(self.content.out_channels, hidden_dim),
            LeakyReLU(),
            Linear(hidden_dim, embedding_dim),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the features."""
        torch.nn.init.xavier_uniform_(self.user_embedding.weight)
        torch.nn.init.xavier_uniform_(self.item_embedding.weight)
        reset(self.encoder)
        self.content.clear()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        r"""Return :math:`\mathbf{z}`; and of items :math:`\mathbf{e}`, :math:`\mathbf{f}`, masks.

        The mask says which items have features.
        """
        is_warm = self.is_warm(data)
        x, has = (select(rows, items) for rows in self.content(data, is_warm, self.dtype))
        own = select(self.item_embedding.weight, items)
        encoded = self._made_of(x, has)
        is_own = select(is_warm, items)
        if self.training:
            is_kept = torch.rand(has.shape, device=has.device) >= self.item_dropout
            is_own = is_own & (is_kept | ~has)
        z_item = torch.where(is_own, own, encoded)
        return select(self.user_embedding.weight, users), z_item, own, encoded, has

    @torch.no_grad()
    def embed_items(
        self,
        data: HeteroData,
        x: Mapping[str, Tensor],
        has: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the embeddings of items that aren't in the data, from their features.

        See :meth:`Recommender.embed_items`; here the encoder embeds them.
        """
        with self._evaluating():
            is_warm = self.is_warm(data)
            return self.cold_scale * self._made_of(
                *self.content.of(data, is_warm, self.dtype, x, has)
            )

    def _made_of(self, x: Tensor, has: Tensor) -> Tensor:
        """Return the embeddings that the encoder makes of features."""
        return torch.where(has, self.encoder(x), 0.0)

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return the user's own embedding."""
        return UserParts.without_items(user=self.user_embedding.weight[user])

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the id embeddings of warm items, and what the encoder makes of cold ones."""
        _, z_item, *_ = self.embed(data, items[:0], items)
        is_warm = self.is_warm(data)[items]
        return [
            ItemPart.of_rows('collaborative', torch.where(is_warm, z_item, 0.0)),
            ItemPart.of_rows('content', torch.where(is_warm, 0.0, z_item)),
        ]

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the weighted contrast of the items' embeddings with those of features."""
        if self.contrast_weight == 0:
            return None
        _, _, own, encoded, has = embedded
        own = select(unit_length(own), batch.positive_position)
        positive, negative = batch.of_items(unit_length(encoded))
        is_used, is_negative = batch.of_items(has)
        negative = checked_negatives(negative, own, at_least=1)
        own = own / self.temperature
        score = (own * positive).sum(dim=-1, keepdim=True)
        others = negative_scores(own, negative)
        others = others.masked_fill(~is_negative.reshape(negative.shape[:2]), -torch.inf)
        contrast = torch.cat([score, others], dim=1).logsumexp(dim=1, keepdim=True) - score
        total = torch.where(is_used, contrast, 0.0).sum()
        return self.contrast_weight * total / is_used.sum().clamp(min=1)
