from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, Module
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts
from pyg_mmgef.nn.parts.modality_linear import ModalityLinear
from pyg_mmgef.validate import check_fraction, check_not_negative

__all__ = ['BM3']


class BM3(Recommender):
    r"""LightGCN and item features, trained to match perturbed copies; needs no negatives.

    .. math::
        \mathbf{h}_u = \mathbf{z}^{\mathrm{LightGCN}}_u, \qquad
        \mathbf{h}_i = \mathbf{z}^{\mathrm{LightGCN}}_i + \mathbf{z}^{(0)}_i, \qquad
        \mathbf{h}^m_i = \mathbf{W}^m \mathbf{x}^m_i + \mathbf{b}^m, \qquad
        \mathbf{z} = \mathbf{W} \mathbf{h} + \mathbf{b}

    from `"Bootstrap Latent Representations for Multi-modal Recommendation"
    <https://arxiv.org/abs/2207.05969>`_. The last map is the *predictor*, one for users, items
    and modalities; its outputs score. A *target* :math:`\dot{\mathbf{h}}` is a copy of
    :math:`\mathbf{h}` under dropout that no gradient flows into, and the loss asks the predictor
    for it. With the distance :math:`\delta(\mathbf{a}, \mathbf{b}) = 1 - \cos(\mathbf{a},
    \mathbf{b})`, averaged over the interactions :math:`(u, i)` of a batch,

    .. math::
        \mathcal{L} = \; & \delta(\mathbf{z}_u, \dot{\mathbf{h}}_i) +
        \delta(\mathbf{z}_i, \dot{\mathbf{h}}_u)
        & \text{(reconstruction)} \\
        + \, & \beta \textstyle\sum_m \left[ \delta(\mathbf{z}^m_i, \dot{\mathbf{h}}_i) +
        \delta(\mathbf{z}^m_i, \dot{\mathbf{h}}^m_i) \right]
        & \text{(alignment between and within modalities)} \\
        + \, & \tfrac{\lambda}{|\mathcal{I}|} \left( \lVert \mathbf{H}_{\mathcal{U}} \rVert +
        \lVert \mathbf{H}_{\mathcal{I}} \rVert \right)
        & \text{(Frobenius norms over all users and all items)}

    So :meth:`loss` **reads neither the negatives nor** ``loss_fn``: a loader need not sample any,
    and the weight of the penalty is an argument of the model. Features act through the loss alone.

    The penalty is that of the authors' code, where norms aren't squared. The paper squares those of
    a batch; on the synthetic shop, with one layer and a learning rate of 1e-3, the model learned
    more slowly with that, whatever its weight. A step computes all nodes for it.

    **Deviations.** The authors' code draws one dropout mask per node and step, here each
    interaction has its own; it fine-tunes the features, which are fixed here; and it draws the
    weights of its linear maps wider than :class:`torch.nn.Linear`, which draws them here. An item
    that lacks a modality is left out of that modality's terms. A cold item, one without train
    interactions, has :math:`\mathbf{h}_i = \mathbf{0}`, since its id embedding is random; all cold
    items score alike.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        embedding_dim: Channels of the embeddings. (default: ``64``)
        num_layers: Layers of LightGCN. (default: ``1``)
        dropout: Share of the channels that a target loses in training. (default: ``0.5``)
        alignment_weight: The weight :math:`\beta`, 2 in the authors' code. (default: ``2.0``)
        norm_weight: The weight :math:`\lambda`, of norms that aren't squared, so no L2 penalty;
            0.1 or 0.01 in the authors' code. (default: ``0.1``)

    Raises:
        ValueError: If a number is out of range, or the data doesn't fit the model.
    """

    paper = 'https://arxiv.org/abs/2207.05969'
    year = 2023

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        num_layers: int = 1,
        dropout: float = 0.5,
        alignment_weight: float = 2.0,
        norm_weight: float = 0.1,
    ) -> None:
        super().__init__(num_users, num_items)
        check_fraction('dropout', dropout, '[0, 1)')
        check_not_negative('alignment_weight', alignment_weight)
        check_not_negative('norm_weight', norm_weight)
        self.in_channels = dict(in_channels)
        self.embedding_dim, self.num_layers = embedding_dim, num_layers
        self.dropout = dropout
        self.alignment_weight = alignment_weight
        self.norm_weight = norm_weight
        self.light_gcn = LightGCN(
            num_users, num_items, embedding_dim=embedding_dim, num_layers=num_layers
        )
        self.lin = ModalityLinear(in_channels, embedding_dim)
        self.predictor = Linear(embedding_dim, embedding_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graph."""
        for module in (self.light_gcn, self.lin, self.predictor):
            module.reset_parameters()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the predictor's outputs."""
        h_user, h_item = self._backbone(data, users, items)
        return self.predictor(h_user), self.predictor(h_item)

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return the parts of LightGCN, mapped by the predictor, and its bias."""
        weight, bias = self.predictor.weight, self.predictor.bias
        parts = self.light_gcn.split_user(data, user)
        return parts.mapped(lambda rows: rows @ weight.t(), constant=bias)

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return what interactions say, and the predictor's bias."""
        _, h_item = self._backbone(data, items[:0], items)
        return [
            ItemPart.of_rows('collaborative', h_item @ self.predictor.weight.t()),
            ItemPart.of_all('average', self.predictor.bias, items.numel()),
        ]

    def _backbone(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\mathbf{h}`, the predictor's input."""
        h_user, z_item, *_ = self.light_gcn.embed(data, users, items)
        h_item = z_item + select(self.light_gcn.item_embedding.weight, items)
        return h_user, self.zero_cold(data, h_item, items)

    def loss(
        self, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor, loss_fn: Module
    ) -> Tensor:
        """Return the loss of a batch of interactions.

        Args:
            data: The train graph, with the item features the model was built for.
            users: User ids. Shape: ``[B]``.
            items: Positives, items that they interacted with. Shape: ``[B]``.
            negatives: Not read.
            loss_fn: Not read.

        Returns:
            A scalar.
        """
        batch = self._start_step(data, users, items, items[:0])
        h_users, h_items = self._backbone(data, None, None)
        h_user, h_item = select(h_users, users), select(h_items, items)
        target_user, target_item = self._target(h_user), self._target(h_item)
        loss = (
            _distance(self.predictor(h_user), target_item).mean()
            + _distance(self.predictor(h_item), target_user).mean()
            + self.norm_weight * (h_users.norm() + h_items.norm()) / self.num_items
        )
        for rows in self.lin(data, batch.item_rows):
            (h, _), (has, _) = (batch.of_items(x) for x in rows)
            z, has = self.predictor(h), has[:, 0]
            distance = _distance(z, target_item) + _distance(z, self._target(h))
            loss = loss + self.alignment_weight * (distance * has).sum() / has.sum().clamp(min=1)
        return loss

    def _target(self, h: Tensor) -> Tensor:
        return F.dropout(h.detach(), self.dropout, self.training)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(a, b, dim=-1)
