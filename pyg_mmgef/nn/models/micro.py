from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.data import HeteroData

from pyg_mmgef.nn._unit_length import inverse_length, unit_length
from pyg_mmgef.nn.loss.info_nce import info_nce
from pyg_mmgef.nn.models._latent_structure import LatentStructureModel
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts, neighbor_parts
from pyg_mmgef.nn.parts.item_graph_encoder import convolve
from pyg_mmgef.nn.parts.latent_graphs import LatentGraphs
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.validate import check_not_negative, check_positive

__all__ = ['MICRO']


class MICRO(LatentStructureModel):
    r"""LATTICE's item graphs one by one, fused by attention and aligned by a contrastive loss.

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
        recall: Share of the true neighbours that must be found; below 1, an index for each
            modality is kept between choices. (default: ``1.0``)
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
        *,
        in_channels: Mapping[str, int] | None = None,
        item_graphs: Sequence[str] | None = None,
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_item_layers: int = 1,
        skip_weight: float = 0.9,
        rebuild_every: int = 1,
        k: int = 10,
        recall: float = 1.0,
        temperature: float = 0.5,
        contrast_weight: float = 0.03,
    ) -> None:
        super().__init__(
            num_users,
            num_items,
            in_channels=in_channels,
            item_graphs=item_graphs,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            num_item_layers=num_item_layers,
            skip_weight=skip_weight,
            rebuild_every=rebuild_every,
            k=k,
            recall=recall,
        )
        check_positive('temperature', temperature, integer=False)
        check_not_negative('contrast_weight', contrast_weight)
        self.temperature = temperature
        self.contrast_weight = contrast_weight
        self.graphs = self._new_graphs()
        self.lin = Linear(embedding_dim, embedding_dim)
        self.query = Linear(embedding_dim, 1, bias=False)
        self.reset_parameters()

    @property
    def latent_graphs(self) -> LatentGraphs:
        """The item graphs, whose results attend to each other."""
        return self.graphs

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        r"""Return the embeddings, all :math:`\mathbf{h}^m`, and :math:`\mathbf{h}`."""
        z_user, z_item, *_ = self.light_gcn.embed(data, users, items)
        x = self.zero_cold(data, self.light_gcn.item_embedding.weight)
        views = torch.stack(
            [convolve(graph, x, self.num_item_layers, items) for graph in self.graphs(data)]
        )
        alpha = self._attention(views)
        h = (alpha * views).sum(dim=0)
        z_item = unit_length(h) + self.zero_cold(data, z_item, items)
        return z_user, z_item, views, h

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return the parts of LightGCN."""
        return self.light_gcn.split_user(data, user)

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the part of LightGCN, and what each neighbour sends."""
        _, z_item, *_ = self.light_gcn.embed(data, items[:0], items)
        x = self.zero_cold(data, self.light_gcn.item_embedding.weight)
        graphs = dict(zip(self.graphs.names, self.graphs(data), strict=True))
        views = [convolve(graph, x, self.num_item_layers, items) for graph in graphs.values()]
        alpha = self._attention(torch.stack(views))
        scale = inverse_length((alpha * torch.stack(views)).sum(dim=0))
        out = [ItemPart.of_rows('collaborative', self.zero_cold(data, z_item, items))]
        for (name, graph), share in zip(graphs.items(), alpha[..., 0], strict=True):
            sent = convolve(graph, x, self.num_item_layers - 1)
            parts = neighbor_parts({name: graph.edges()}, sent, items)
            out += [part.scaled(share * scale) for part in parts]
        return out

    def _attention(self, views: Tensor) -> Tensor:
        r"""Return :math:`\alpha` of each view."""
        return self.query(self.lin(views).tanh()).softmax(dim=0)

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the contrastive terms, over the distinct items of the batch."""
        *_, views, h = embedded
        contrast = torch.stack([info_nce(view, h, self.temperature) for view in views])
        return self.contrast_weight * contrast.sum()
