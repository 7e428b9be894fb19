from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models._networks_on_ials import NetworksOnIALS
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts._tower import Tower
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.validate import check_fraction, check_not_negative, check_positive

__all__ = ['GAR']


class GAR(NetworksOnIALS):
    r"""Two networks on top of IALS, trained against a generator of item embeddings.

    .. math::
        \mathbf{t}_i = h(\mathbf{x}_i), \qquad \mathbf{z}_u = f(\mathbf{p}_u), \qquad \mathbf{z}_i =
        \begin{cases} g(\mathbf{q}_i) & \text{if } i \text{ is warm} \\ g(\mathbf{t}_i) & \text{if }
        i \text{ is cold} \end{cases}

    from `"Generative Adversarial Framework for Cold-Start Item Recommendation"
    <https://doi.org/10.1145/3477495.3531897>`_, with the embeddings :math:`\mathbf{p}_u` and
    :math:`\mathbf{q}_i` of :class:`IALS`, the features :math:`\mathbf{x}_i` of all modalities side
    by side, and networks :math:`f, g, h` of the form :math:`\mathbf{W}_2 \tanh(\mathrm{BN}(
    \mathbf{W}_1 \mathbf{x})) + \mathbf{b}`. The recommender :math:`f, g` learns to rank the real
    embedding of a positive above the generated one, and the generator :math:`h` the opposite: with
    :math:`\ell(a) = -\ln \sigma(a)`, averaged over the positives :math:`(u, i)` of a batch,

    .. math::
        \mathcal{L} = \mathcal{L}_{\mathrm{rank}} + w \, \ell(\mathbf{z}_u^{\top} g(\mathbf{q}_i) -
        \mathbf{z}_u^{\top} g(\mathbf{t}_i)) + (1 - s) \, \ell(\mathbf{z}_u^{\top} g(\mathbf{t}_i) -
        \mathbf{z}_u^{\top} g(\mathbf{q}_i)) + s \, \lVert \mathbf{t}_i - \mathbf{q}_i \rVert_1.

    The second term teaches the recommender alone, the last two the generator alone.
    :math:`\mathcal{L}_{\mathrm{rank}}` is the loss function that :meth:`loss` is called with.

    **Deviations.** The paper trains both in turns, here one step trains both; it starts from
    embeddings that are given, here :class:`IALS` is computed once from the data. It has real,
    negative and generated item in one logistic term, :math:`\ell(a - \alpha b - (1 - \alpha) c)`;
    here the ranking loss has a term of its own, so :math:`w` is about :math:`(1 - \alpha) /
    \alpha`. The authors' code takes the mean over the channels in place of :math:`\lVert \cdot
    \rVert_1`, their sum. Of its networks, dropout, penalties and the batch normalisation of the
    recommender's inputs are left out; layers start as those of torch, and batch normalisation adds
    1e-5 to variances, there 1e-3. All channels of the embeddings of IALS, and of a modality scaled
    to unit length, are centred and scaled by one factor. An item without any feature has
    :math:`\mathbf{t}_i = \mathbf{0}` and is left out of the last three terms.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        embedding_dim: Channels of the embeddings and of IALS. (default: ``64``)
        hidden_dim: Channels of the networks between their maps. (default: ``200``)
        fake_weight: The weight :math:`w`. In the authors' code :math:`\alpha` is 0.1, which is
            about 9 here. (default: ``0.1``)
        similarity_weight: The weight :math:`s`; 0.05 of the mean over 200 channels in the authors'
            code, which is about 0.0003 here. (default: ``0.1``)
        l2: The penalty of :class:`IALS`. (default: ``0.05``)
        unobserved_weight: The weight of pairs that never met, see :class:`IALS`.
            (default: :obj:`None`)

    Raises:
        ValueError: If a number is out of range, or the data doesn't fit the model.
    """

    paper = 'https://doi.org/10.1145/3477495.3531897'
    year = 2022

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        hidden_dim: int = 200,
        fake_weight: float = 0.1,
        similarity_weight: float = 0.1,
        l2: float = 0.05,
        unobserved_weight: float | None = None,
    ) -> None:
        super().__init__(num_users, num_items, in_channels, embedding_dim, l2, unobserved_weight)
        check_positive('hidden_dim', hidden_dim)
        check_not_negative('fake_weight', fake_weight)
        check_fraction('similarity_weight', similarity_weight)
        self.hidden_dim = hidden_dim
        self.fake_weight = fake_weight
        self.similarity_weight = similarity_weight
        self.user_tower = Tower(embedding_dim, hidden_dim, embedding_dim)
        self.item_tower = Tower(embedding_dim, hidden_dim, embedding_dim)
        self.generator = Tower(self.content.out_channels, hidden_dim, embedding_dim)
        self.reset_parameters()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        r"""Return :math:`\mathbf{z}`; and of items :math:`g(\mathbf{t})`, the inputs, masks.

        The inputs are :math:`\mathbf{q}` and :math:`\mathbf{t}`. The mask says which items count in
        the terms of the generator: those that are warm and have features.
        """
        preference_user, preference_item = self.preferences(data)
        is_warm = self.is_warm(data)
        x, has = (select(rows, items) for rows in self.content(data, is_warm, self.dtype))
        is_warm, real = select(is_warm, items), select(preference_item, items)
        made = torch.where(has, self.generator(x), 0.0)
        # Together, so that batch normalisation sees what is real and what is generated.
        given = made.detach()
        both = self.item_tower(torch.cat([torch.where(is_warm, real, given), given]))
        z_item, z_made = both.split(real.size(0))
        z_user = self.user_tower(select(preference_user, users))
        return z_user, z_item, z_made, real, made, is_warm & has

    def _made_of(self, x: Tensor, has: Tensor) -> Tensor:
        out: Tensor = self.item_tower(torch.where(has, self.generator(x), 0.0))
        return out

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the terms that real and generated embeddings of the positives add."""
        z_user, *of_items = embedded
        user = batch.of_users(z_user)
        z_real, z_made, real, made, is_counted = (
            select(x, batch.positive_position) for x in of_items
        )
        real_score = (user * z_real).sum(dim=-1)
        made_score = (user * z_made).sum(dim=-1)
        fooling_score = (user.detach() * self.item_tower.frozen(made)).sum(dim=-1)
        loss = (
            self.fake_weight * F.softplus(made_score - real_score)
            + (1 - self.similarity_weight) * F.softplus(real_score.detach() - fooling_score)
            + self.similarity_weight * (made - real).abs().sum(dim=-1)
        )
        is_counted = is_counted[:, 0]
        return torch.where(is_counted, loss, 0.0).sum() / is_counted.sum().clamp(min=1)
