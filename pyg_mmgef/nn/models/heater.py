from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models._networks_on_ials import NetworksOnIALS
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts._tower import Tower
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.validate import check_fraction, check_not_negative, check_positive

__all__ = ['Heater']


class Heater(NetworksOnIALS):
    r"""Two networks on top of IALS, and a mixture of experts that embeds cold items.

    .. math::
        \mathbf{t}_i = \sum_{k} \tanh(\mathbf{a}_k^{\top} \mathbf{x}_i + b_k)
        \tanh(\mathbf{A}_k \mathbf{x}_i + \mathbf{b}_k), \qquad
        \mathbf{z}_u = f(\mathbf{p}_u), \qquad \mathbf{z}_i = g(m_i \mathbf{q}_i + (1 - m_i)
        \mathbf{t}_i)

    from `"Recommendation for New Users and New Items via Randomized Training and Mixture-of-Experts
    Transformation" <https://doi.org/10.1145/3397271.3401178>`_, with the embeddings
    :math:`\mathbf{p}_u` and :math:`\mathbf{q}_i` of :class:`IALS`, the features
    :math:`\mathbf{x}_i` of all modalities side by side, and networks :math:`f(\mathbf{x}),
    g(\mathbf{x}) = \mathbf{W}_2 \tanh(\mathrm{BN}(\mathbf{W}_1 \mathbf{x})) + \mathbf{b}`. The mask
    :math:`m_i` is one for warm items and zero for cold ones; in training it is zero for a random
    share of the warm items, too. To the loss function of :meth:`loss` comes how far the experts are
    off, over the warm items :math:`\mathcal{B}` of the batch that have features,

    .. math::
        \mathcal{L} = \mathcal{L}_{\mathrm{rank}} + \frac{w}{|\mathcal{B}|} \sum_{i \in \mathcal{B}}
        \lVert \mathbf{t}_i - \mathbf{q}_i \rVert^2.

    **Deviations.** The paper starts from embeddings of BPR and asks for scores of one and zero by
    their squared error, beside a penalty of the weights; here :class:`IALS` is computed once from
    the data, the loss function is any, and the penalty is left to the optimiser. The authors' code
    bounds :math:`\mathbf{t}_i` by a further tanh, which what it is compared with isn't; and it
    counts an item, and masks it, for each pair of the batch anew, here both are once per batch.
    Users have no content, so none is made for them. All channels of the embeddings of IALS, and of
    a modality scaled to unit length, are centred and scaled by one factor; the authors scale each
    channel and compress what is large. Layers start as those of torch, and batch normalisation adds
    1e-5 to variances, in the authors' code 1e-3. An item without any feature has
    :math:`\mathbf{t}_i = \mathbf{0}` and is never masked in training.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        embedding_dim: Channels of the embeddings, of IALS and of the networks. (default: ``64``)
        num_experts: Number of experts :math:`k`. (default: ``5``)
        item_dropout: Share of the items that the experts stand in for in training.
            (default: ``0.5``)
        map_weight: The weight :math:`w`; 0.1 is that of the authors for CiteULike.
            (default: ``0.1``)
        l2: The penalty of :class:`IALS`. (default: ``0.05``)
        unobserved_weight: The weight of pairs that never met, see :class:`IALS`.
            (default: :obj:`None`)

    Raises:
        ValueError: If a number is out of range, or the data doesn't fit the model.
    """

    paper = 'https://doi.org/10.1145/3397271.3401178'
    year = 2020

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        num_experts: int = 5,
        item_dropout: float = 0.5,
        map_weight: float = 0.1,
        l2: float = 0.05,
        unobserved_weight: float | None = None,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, embedding_dim, l2, unobserved_weight)
        check_positive('num_experts', num_experts)
        check_fraction('item_dropout', item_dropout)
        check_not_negative('map_weight', map_weight)
        self.num_experts = num_experts
        self.item_dropout = item_dropout
        self.map_weight = map_weight
        self.gate = Linear(self.content.out_channels, num_experts)
        self.experts = Linear(self.content.out_channels, num_experts * embedding_dim)
        self.user_tower = Tower(embedding_dim, embedding_dim, embedding_dim)
        self.item_tower = Tower(embedding_dim, embedding_dim, embedding_dim)
        self.reset_parameters()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        r"""Return the outputs of both networks, and :math:`\mathbf{t}` of the items."""
        preference_user, preference_item = self.preferences(data)
        is_warm = self.is_warm(data)
        x, has = (select(rows, items) for rows in self.content(data, is_warm, self.dtype))
        made = torch.where(has, self._made(x), 0.0)
        is_given = select(is_warm, items)
        if self.training:
            is_kept = torch.rand(has.shape, device=has.device) >= self.item_dropout
            is_given = is_given & (is_kept | ~has)
        z_item = self.item_tower(torch.where(is_given, select(preference_item, items), made))
        return self.user_tower(select(preference_user, users)), z_item, made

    def _made_of(self, x: Tensor, has: Tensor) -> Tensor:
        out: Tensor = self.item_tower(torch.where(has, self._made(x), 0.0))
        return out

    def _made(self, x: Tensor) -> Tensor:
        """Return what the experts make of features, each weighed by its gate."""
        expert = self.experts(x).tanh().view(-1, self.num_experts, self.embedding_dim)
        return (self.gate(x).tanh()[:, :, None] * expert).sum(dim=1)

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the weighted error of the experts."""
        if self.map_weight == 0:
            return None
        _, _, made = embedded
        is_warm, (_, preference_item) = self.is_warm(data), self.preferences(data)
        _, has = self.content(data, is_warm, self.dtype)
        is_counted = select(is_warm & has, batch.item_rows)
        error = (made - select(preference_item, batch.item_rows)).square()
        total = torch.where(is_counted, error, 0.0).sum()
        return self.map_weight * total / is_counted.sum().clamp(min=1)
