from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Linear, Module
from torch_geometric.data import HeteroData

from pyg_mmgef.nn.loss.info_nce import info_nce
from pyg_mmgef.nn.models.latent_recommender import LatentRecommender
from pyg_mmgef.nn.parts._distinct import distinct, restore
from pyg_mmgef.schema import ITEM, USER

__all__ = ['MICRO']


class MICRO(LatentRecommender):
    r"""LATTICE's item graphs, one at a time: their results attend to each other and agree.

    .. math::
        \mathbf{h}^{m,(l+1)} &= \mathbf{A}^m \mathbf{h}^{m,(l)}, \qquad
        \mathbf{h}^m = \mathbf{h}^{m,(L')} \\
        \mathbf{h}_i &= \textstyle\sum_m \alpha^m_i \mathbf{h}^m_i, \qquad
        \boldsymbol{\alpha}_i = \mathrm{softmax}_m \left( \mathbf{q}^{\top} \tanh \left(
        \mathbf{W} \mathbf{h}^m_i + \mathbf{b} \right) \right) \\
        \mathbf{z}_u &= \mathbf{z}^{\mathrm{LightGCN}}_u, \qquad
        \mathbf{z}_i = \mathbf{z}^{\mathrm{LightGCN}}_i +
        \mathbf{h}_i / \lVert \mathbf{h}_i \rVert

    from `"Latent Structure Mining with Contrastive Modality Fusion for Multimedia Recommendation"
    <https://arxiv.org/abs/2111.00678>`_, where :math:`\mathbf{A}^m` is the graph of a modality as
    in :class:`LATTICE`, and :math:`\mathbf{h}^{m,(0)}` are the id embeddings of the items. The
    loss draws each modality to what is merged from all,

    .. math::
        \mathcal{L} = \mathcal{L}_{\mathrm{rank}} + \beta \sum_m \mathrm{InfoNCE} \left(
        \mathbf{h}^m, \mathbf{h}; \tau \right)

    with :func:`~pyg_mmgef.nn.loss.info_nce` and :math:`\mathcal{L}_{\mathrm{rank}}` the loss that
    is handed in, in the paper BPR. Call :meth:`start_epoch` before every training epoch.

    **Deviations.** The contrastive terms are over the distinct items of a batch, taken and not,
    and an item's negatives are the merged embeddings of the others; the authors' code goes over
    all items in each step, and counts the others' embeddings in the same modality as negatives
    too. The gradient of the learned graphs, fixed features, items that lack a modality and cold
    items are as in :class:`LATTICE`. An item that no neighbour reaches in a modality has
    :math:`\mathbf{h}^m_i = 0` there, which changes neither the direction of :math:`\mathbf{h}_i`
    nor a gradient.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``; :obj:`None` for
            given :obj:`item_graphs` and ``skip_weight=1``. (default: :obj:`None`)
        item_graphs: Relations of frozen graphs that the data has, as in ``data['item', relation,
            'item']``, one for each modality; :obj:`None` builds them from the features.
            (default: :obj:`None`)
        embedding_dim: Channels of the embeddings, and of the projected features.
            (default: ``64``)
        num_layers: Layers of LightGCN. (default: ``2``)
        num_item_layers: Convolutions :math:`L'` over each item graph. (default: ``1``)
        skip_weight: The weight :math:`\lambda` of the frozen graphs; 1 learns none, and reads the
            features only to build the frozen ones. (default: ``0.9``)
        rebuild_every: Epochs between two choices of the learned neighbours. (default: ``1``)
        k: Neighbours per item, itself among them as with the authors. (default: ``10``)
        temperature: The temperature :math:`\tau`. (default: ``0.5``)
        contrastive_weight: The weight :math:`\beta`. (default: ``0.03``)

    Raises:
        ValueError: If an argument is out of range or doesn't fit another, or the data doesn't fit
            the model.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int] | None = None,
        *,
        item_graphs: Sequence[str] | None = None,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_item_layers: int = 1,
        skip_weight: float = 0.9,
        rebuild_every: int = 1,
        k: int = 10,
        temperature: float = 0.5,
        contrastive_weight: float = 0.03,
    ) -> None:
        super().__init__(
            num_users,
            num_items,
            in_channels,
            item_graphs,
            embedding_dim,
            num_layers,
            num_item_layers,
            skip_weight,
            rebuild_every,
            k,
        )
        if not 0 < temperature < float('inf'):
            raise ValueError(f"'temperature' must be positive and finite (got {temperature})")
        if not 0 <= contrastive_weight < float('inf'):
            raise ValueError(
                f"'contrastive_weight' must be finite and not negative (got {contrastive_weight})"
            )
        self.temperature = temperature
        self.contrastive_weight = contrastive_weight
        self.lin = Linear(embedding_dim, embedding_dim)
        self.query = Linear(embedding_dim, 1, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters; forget the graphs."""
        super().reset_parameters()
        self.lin.reset_parameters()
        self.query.reset_parameters()

    def item_part(self, data: HeteroData, items: Tensor | None) -> Tensor:
        r"""Return :math:`\mathbf{h}` of increasing items, or of all for :obj:`None`."""
        return self._merged(self._views(data, items))

    def _views(self, data: HeteroData, items: Tensor | None) -> Tensor:
        r"""Return all :math:`\mathbf{h}^m` of some items. Shape: ``[num_modalities, I, F]``."""
        embedding, views = self.item_embedding(data), []
        for graph in self.graphs(data):
            h = embedding
            for layer in range(self.num_item_layers):
                h = graph.matmul(h, rows=items if layer == self.num_item_layers - 1 else None)
            views.append(h)
        return torch.stack(views)

    def _merged(self, views: Tensor) -> Tensor:
        alpha = self.query(self.lin(views).tanh()).softmax(dim=0)
        return (alpha * views).sum(dim=0)

    def loss(
        self, data: HeteroData, users: Tensor, items: Tensor, negatives: Tensor, loss_fn: Module
    ) -> Tensor:
        """Return the loss of a batch of triplets, the contrastive terms included.

        See :meth:`Recommender.loss` for the arguments.
        """
        batch = torch.cat([items, negatives.flatten()])
        user_rows, place_of_user = distinct('users', users, self.num_users, USER)
        item_rows, place_of_item = distinct('items', batch, self.num_items, ITEM)
        z_user, z_item = self.light_gcn.embed(data, user_rows, item_rows)
        views = self._views(data, item_rows)
        h = self._merged(views)
        z_item = restore(self.with_item_part(data, z_item, h, item_rows), place_of_item)
        z_item, z_negative = z_item.split([items.numel(), negatives.numel()])
        z_negative = z_negative.view(*negatives.shape, z_item.size(-1))
        loss: Tensor = loss_fn(restore(z_user, place_of_user), z_item, z_negative)
        contrast = torch.stack([info_nce(view, h, self.temperature) for view in views])
        return loss + self.contrastive_weight * contrast.sum()
