from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.loss.info_nce import info_nce
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts.item_graph_encoder import convolve
from pyg_mmgef.nn.parts.latent_graphs import LatentGraphs
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.schema import num_users_items
from pyg_mmgef.validate import check_not_negative, check_positive

__all__ = ['MICRO']


class MICRO(Recommender):
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

    **Deviations.** The contrastive terms are over the distinct items of a batch, positives and
    negatives, and each is contrasted with the merged embeddings of the others; the authors' code
    goes over all items in each step, and contrasts with the others in the same modality too. The
    gradient of the learned graphs, fixed features, items that lack a modality and cold items are as
    in :class:`LATTICE`. An item that no neighbour reaches in a modality has
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
        contrast_weight: The weight :math:`\beta`. (default: ``0.03``)

    Raises:
        ValueError: If an argument is out of range or doesn't fit another, or the data doesn't fit
            the model.
    """

    paper = 'https://arxiv.org/abs/2111.00678'
    year = 2022

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
        contrast_weight: float = 0.03,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('num_item_layers', num_item_layers)
        check_positive('rebuild_every', rebuild_every)
        check_positive('temperature', temperature, integer=False)
        check_not_negative('contrast_weight', contrast_weight)
        self.num_item_layers = num_item_layers
        self.rebuild_every = rebuild_every
        self.temperature = temperature
        self.contrast_weight = contrast_weight
        self.light_gcn = LightGCN(num_users, num_items, embedding_dim, num_layers)
        self.graphs = LatentGraphs(
            num_items, in_channels, item_graphs, embedding_dim, skip_weight, k
        )
        self.lin = Linear(embedding_dim, embedding_dim)
        self.query = Linear(embedding_dim, 1, bias=False)
        self.reset_parameters()

    @classmethod
    def from_data(cls, data: HeteroData, **kwargs: Any) -> 'MICRO':
        """Build the model for :obj:`data`, see :meth:`LatentGraphs.options` for the defaults."""
        return cls(*num_users_items(data), **LatentGraphs.options(data, cls.__name__, kwargs))

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graphs."""
        for module in (self.light_gcn, self.graphs, self.lin, self.query):
            reset(module)

    @property
    def changes_with_epoch(self) -> bool:
        """Whether graphs are learned."""
        return self.graphs.skip_weight < 1

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Choose the learned neighbours anew, every ``rebuild_every`` epochs."""
        super().start_epoch(data, epoch)
        if epoch % self.rebuild_every == 0:
            self.graphs.rebuild(data)

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        r"""Return the embeddings, all :math:`\mathbf{h}^m`, and :math:`\mathbf{h}`."""
        z_user, z_item = self.light_gcn.embed(data, users, items)
        x = self.zero_cold(data, self.light_gcn.item_embedding.weight)
        views = torch.stack(
            [convolve(graph, x, self.num_item_layers, items) for graph in self.graphs(data)]
        )
        alpha = self.query(self.lin(views).tanh()).softmax(dim=0)
        h = (alpha * views).sum(dim=0)
        z_item = unit_length(h) + self.zero_cold(data, z_item, items)
        return z_user, z_item, views, h

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the contrastive terms, over the distinct items of the batch."""
        *_, views, h = embedded
        contrast = torch.stack([info_nce(view, h, self.temperature) for view in views])
        return self.contrast_weight * contrast.sum()

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_users}, {self.num_items}, '
            f'embedding_dim={self.light_gcn.embedding_dim}, graphs={self.graphs})'
        )
