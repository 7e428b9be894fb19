from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.loss._checks import checked_negatives, negative_scores
from pyg_mmgef.nn.models._networks_on_ials import NetworksOnIALS
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts._tower import Tower
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.validate import check_fraction, check_not_negative, check_positive

__all__ = ['DropoutNet']


class DropoutNet(NetworksOnIALS):
    r"""Two networks on top of IALS; that of items is trained to work without interactions.

    .. math::
        \mathbf{z}_u = f(\mathbf{p}_u), \qquad \mathbf{z}_i = g(m_i \mathbf{q}_i \,\Vert\,
        \mathbf{x}_i), \qquad f(\mathbf{x}), g(\mathbf{x}) = \mathbf{W}_2 \tanh(\mathrm{BN}(
        \mathbf{W}_1 \mathbf{x})) + \mathbf{b}

    from `"DropoutNet: Addressing Cold Start in Recommender Systems"
    <https://papers.nips.cc/paper/7081>`_, with the preferences :math:`\mathbf{p}_u` and
    :math:`\mathbf{q}_i`, the embeddings of :class:`IALS`, and the features :math:`\mathbf{x}_i` of
    all modalities side by side. In training the mask :math:`m_i` is zero for a random share of the
    items, otherwise one; cold items have :math:`\mathbf{q}_i = \mathbf{0}`. The loss asks for the
    scores of IALS,

    .. math::
        \mathcal{L} = \mathcal{L}_{\mathrm{rank}} + \frac{w}{B} \sum_{(u, i)} \left[ (
        \mathbf{z}_u^{\top} \mathbf{z}_i - s_{ui})^2 + \frac{1}{N} \sum_n (\mathbf{z}_u^{\top}
        \mathbf{z}_n - s_{un})^2 \right].

    **Deviations.** The paper has the second term alone, over the best items of a user by IALS and
    random ones. Here it is over the positives and negatives of the batch, beside the loss function
    which :meth:`loss` is called with; the larger :math:`w`, the nearer to the paper. The
    preferences are computed once from the data; the authors have them from an older form of IALS.
    Users have no content, so their preference is never masked. An item is masked once per batch, in
    the authors' code for each pair anew. All channels of the preferences, and of a modality scaled
    to unit length, are centred and scaled by one factor; the authors scale each channel and
    compress what is large. Layers start as those of torch, and batch normalisation adds 1e-5 to
    variances, in the authors' code 1e-3.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        embedding_dim: Channels of the embeddings and of IALS. (default: ``64``)
        hidden_dim: Channels of both networks between their maps. (default: ``200``)
        item_dropout: Share of the items whose preference is masked in training. (default: ``0.5``)
        target_weight: The weight :math:`w`. (default: ``1.0``)
        l2: The penalty of :class:`IALS`. (default: ``0.05``)
        unobserved_weight: The weight of pairs that never met, see :class:`IALS`.
            (default: :obj:`None`)

    Raises:
        ValueError: If a number is out of range, or the data doesn't fit the model.
    """

    paper = 'https://papers.nips.cc/paper/7081'
    year = 2017
    needs_negatives = True

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        hidden_dim: int = 200,
        item_dropout: float = 0.5,
        target_weight: float = 1.0,
        l2: float = 0.05,
        unobserved_weight: float | None = None,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, embedding_dim, l2, unobserved_weight)
        check_positive('hidden_dim', hidden_dim)
        check_fraction('item_dropout', item_dropout)
        check_not_negative('target_weight', target_weight)
        self.hidden_dim = hidden_dim
        self.item_dropout = item_dropout
        self.target_weight = target_weight
        self.user_tower = Tower(embedding_dim, hidden_dim, embedding_dim)
        item_channels = embedding_dim + self.content.out_channels
        self.item_tower = Tower(item_channels, hidden_dim, embedding_dim)
        self.reset_parameters()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs of both networks."""
        preference_user, preference_item = self.preferences(data)
        preference = select(preference_item, items)
        if self.training:
            random = torch.rand(preference.size(0), 1, device=preference.device)
            preference = torch.where(random >= self.item_dropout, preference, 0.0)
        x, _ = self.content(data, self.is_warm(data), self.dtype)
        z_item = self.item_tower(torch.cat([preference, select(x, items)], dim=1))
        return self.user_tower(select(preference_user, users)), z_item

    def _made_of(self, x: Tensor, has: Tensor) -> Tensor:
        preference = x.new_zeros(x.size(0), self.embedding_dim)
        out: Tensor = self.item_tower(torch.cat([preference, x], dim=1))
        return out

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the weighted error in the scores of IALS."""
        if self.target_weight == 0:
            return None
        ials = self.preferences.ials
        target = _scores(batch, *ials.embed(data, batch.user_rows, batch.item_rows))
        found = _scores(batch, *embedded)
        errors = [(a - b).square().mean() for a, b in zip(found, target, strict=True)]
        return self.target_weight * torch.stack(errors).sum()


def _scores(batch: TripletBatch, z_user: Tensor, z_item: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores of positives, shape ``[B]``, and of negatives, shape ``[B, N]``."""
    user, positive, negative = batch.triplets(z_user, z_item)
    negative = checked_negatives(negative, user, at_least=1)
    return (user * positive).sum(dim=-1), negative_scores(user, negative)
