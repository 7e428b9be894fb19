from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Dropout, Linear, ModuleList, Parameter, Sequential, Tanh
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef.graph.weights import union_graphs
from pyg_mmgef.nn.loss.info_nce import repeated_info_nce
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.item_graph_encoder import convolve
from pyg_mmgef.nn.parts.item_graphs import ItemGraphs
from pyg_mmgef.nn.parts.modality_linear import ModalityLinear
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.schema import item_graph
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_fraction, check_not_negative, check_positive

__all__ = ['SMORE']


class SMORE(Recommender):
    r"""Features filtered and fused in their spectrum, as gates of what item graphs propagate.

    From `"Spectrum-based Modality Representation Fusion Graph Convolutional Network for Multimodal
    Recommendation" <https://arxiv.org/abs/2412.14978>`_, in three steps. The **spectrum** of the
    projected features, by the Fourier transform :math:`\mathcal{F}` over their channels, is
    filtered by learned complex weights; the product of all spectra is a further view, the fused
    one. Each view gates the id embedding of an item:

    .. math::
        \mathbf{s}^m_i &= \mathcal{F}(\mathbf{W}^m_1 \mathbf{x}^m_i + \mathbf{b}^m_1), \qquad
        \mathbf{r}^m_i = \mathcal{F}^{-1}(\mathbf{c}^m \odot \mathbf{s}^m_i), \qquad
        \mathbf{r}^f_i = \mathcal{F}^{-1}(\mathbf{c}^f \odot \textstyle\bigodot_m
        \mathbf{s}^m_i) \\
        \mathbf{p}^v_i &= \mathbf{e}_i \odot \sigma (\mathbf{W}^v_2 \mathbf{r}^v_i +
        \mathbf{b}^v_2), \qquad v \in \{1, \dots, M, f\}

    The **graphs** are LightGCN, whose embeddings of users and items are the content
    :math:`\mathbf{c}`, the frozen kNN graph :math:`\mathbf{A}^m` of each modality, and the fused
    graph :math:`\mathbf{A}^f = \max_m \mathbf{A}^m`, edge by edge; users gather what their items
    have, over the normalised interactions :math:`\hat{\mathbf{R}}`:

    .. math::
        \mathbf{H}^v_{\mathcal{I}} = (\mathbf{A}^v)^{L'} \mathbf{P}^v, \qquad
        \mathbf{H}^v_{\mathcal{U}} = \hat{\mathbf{R}} \mathbf{H}^v_{\mathcal{I}}

    The **preference** module lets the fused view choose among the channels of each modality, and
    the behaviour weigh all views, for users and items :math:`n` alike:

    .. math::
        \mathbf{g}^m_n &= \operatorname{softmax} \left( \mathbf{W}^m_4 \tanh(\mathbf{W}^m_3
        \mathbf{h}^f_n + \mathbf{b}^m_3) \right) \odot \mathbf{h}^m_n, \qquad
        \mathbf{g}^f_n = \mathbf{h}^f_n \\
        \mathbf{f}_n &= \tfrac{1}{M + 1} \textstyle\sum_v \sigma (\mathbf{W}^v_5 \mathbf{c}_n +
        \mathbf{b}^v_5) \odot \mathbf{g}^v_n, \qquad \mathbf{z}_n = \mathbf{c}_n + \mathbf{f}_n

    The loss adds :func:`~pyg_mmgef.nn.loss.info_nce` between :math:`\mathbf{f}` and
    :math:`\mathbf{c}`, once for the users of a batch and once for the positives.

    **Deviations.** The paper has two modalities; here are as many as the data has. The graphs are
    those of the data, as normalised there; the authors' code keeps the item itself among its
    neighbours. It fine-tunes the features, which are fixed here. An item that lacks a modality
    sends nothing in that view, and its spectrum counts as one in the product; an item without any
    sends nothing in the fused view. A cold item, one without train interactions, has no content,
    :math:`\mathbf{c}_i = \mathbf{0}`, and sends nothing, since its id embedding is random.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``. Its kNN graph is
            ``data['item', 'similar_<modality>', 'item']``.
        embedding_dim: Channels of the embeddings. (default: ``64``)
        num_layers: Layers of LightGCN. (default: ``3``)
        num_item_layers: Layers :math:`L'` over the item graphs. (default: ``1``)
        dropout: Share of the behaviour's weights that training drops. (default: ``0.0``)
        contrast_weight: The weight of the added loss. (default: ``1e-2``)
        temperature: The temperature of the added loss. (default: ``0.2``)

    Raises:
        ValueError: If a number is out of range, or the data doesn't fit the model.
    """

    paper = 'https://arxiv.org/abs/2412.14978'
    year = 2025
    needs_features = True
    reads_graphs = ('similar_<modality>',)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        in_channels: Mapping[str, int],
        *,
        embedding_dim: int = 64,
        num_layers: int = 3,
        num_item_layers: int = 1,
        dropout: float = 0.0,
        contrast_weight: float = 1e-2,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('num_item_layers', num_item_layers)
        check_fraction('dropout', dropout, '[0, 1)')
        check_not_negative('contrast_weight', contrast_weight)
        check_positive('temperature', temperature, integer=False)
        self.num_item_layers = num_item_layers
        self.contrast_weight = contrast_weight
        self.temperature = temperature
        self.light_gcn = LightGCN(num_users, num_items, embedding_dim, num_layers)
        self.lin = ModalityLinear(in_channels, embedding_dim)
        num_views = len(in_channels) + 1  # The fused view is the last.
        # Real and imaginary parts: a complex parameter would not follow ``model.double()``.
        self.filter = Parameter(torch.empty(num_views, embedding_dim // 2 + 1, 2))
        self.gate = _linears(num_views, embedding_dim)
        self.query = ModuleList(_query(embedding_dim) for _ in in_channels)
        self.preference = _linears(num_views, embedding_dim)
        self.dropout = Dropout(dropout)
        self.graphs = ItemGraphs(num_items, [_relation(name) for name in in_channels])
        self._fused_graph = TensorCache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graphs."""
        for module in (self.light_gcn, self.lin, self.gate, self.query, self.preference):
            reset(module)
        torch.nn.init.normal_(self.filter)
        self.graphs.reset_parameters()
        self._fused_graph.clear()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, ...]:
        r"""Return the embeddings, and :math:`\mathbf{c}` and :math:`\mathbf{f}` of both sides."""
        content_user, content_item = self.light_gcn.embed(data, users, items)
        content_item = self.zero_cold(data, content_item, items)
        views = self._views(data)
        to_users = self.light_gcn.interaction_graph(data).t()
        side_user = self._prefer([to_users.matmul(h, rows=users) for h in views], content_user)
        side_item = self._prefer([select(h, items) for h in views], content_item)
        z_user, z_item = content_user + side_user, content_item + side_item
        return z_user, z_item, content_user, side_user, content_item, side_item

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the contrast between content and side features, of users and of positives."""
        *_, content_user, side_user, content_item, side_item = embedded
        # The batch repeats ids; comparing each once takes a fraction of the time.
        count_user, count_item = batch.counts()
        contrast = repeated_info_nce(side_user, content_user, self.temperature, count_user)
        contrast = contrast + repeated_info_nce(
            side_item, content_item, self.temperature, count_item
        )
        return self.contrast_weight * contrast

    def _views(self, data: HeteroData) -> list[Tensor]:
        r"""Return :math:`\mathbf{H}^v` of all items for each modality, then of the fused view."""
        embedding = self.zero_cold(data, self.light_gcn.item_embedding.weight)
        graphs = [*self.graphs(data), self._max_graph(data)]
        views = []
        for (r, has), gate, graph in zip(self._filtered(data), self.gate, graphs, strict=True):
            h = torch.where(has, embedding * gate(r).sigmoid(), 0.0)
            views.append(convolve(graph, h, self.num_item_layers))
        return views

    def _filtered(self, data: HeteroData) -> list[tuple[Tensor, Tensor]]:
        r"""Return :math:`\mathbf{r}^v` of all items for each view, and which items have it."""
        x, has = zip(*self.lin(data), strict=True)
        # There is no Fourier transform of half precision on a CPU.
        wide = torch.promote_types(self.dtype, torch.float32)
        spectra = [torch.fft.rfft(row.to(wide), norm='ortho') for row in x]
        fused = torch.stack(
            [torch.where(mask, s, 1.0) for s, mask in zip(spectra, has, strict=True)]
        ).prod(dim=0)
        filters = torch.view_as_complex(self.filter.to(wide))
        has_any = torch.stack(has).any(dim=0)
        return [
            (torch.fft.irfft(c * s, n=x[0].size(1), norm='ortho').to(self.dtype), mask)
            for c, s, mask in zip(filters, (*spectra, fused), (*has, has_any), strict=True)
        ]

    def _max_graph(self, data: HeteroData) -> CSRPair:
        """Return the fused graph, in which an edge has the largest weight that it has in any."""

        def build() -> CSRPair:
            graphs = [item_graph(data, relation) for relation in self.graphs.relations]
            edge_index, edge_attr = union_graphs(graphs, self.num_items)
            return CSRPair(edge_index, edge_attr.amax(dim=1), (self.num_items, self.num_items))

        return self._fused_graph.get(self.graphs.tensors(data), build)

    def _prefer(self, views: list[Tensor], content: Tensor) -> Tensor:
        r"""Return :math:`\mathbf{f}`."""
        *own, fused = views
        chosen = [
            query(fused).softmax(dim=-1) * h for query, h in zip(self.query, own, strict=True)
        ]
        weighted = [
            self.dropout(lin(content).sigmoid()) * h
            for lin, h in zip(self.preference, (*chosen, fused), strict=True)
        ]
        return torch.stack(weighted).mean(dim=0)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_users}, {self.num_items}, '
            f'{self.lin.in_channels}, embedding_dim={self.light_gcn.embedding_dim})'
        )


def _linears(number: int, channels: int) -> ModuleList:
    return ModuleList(Linear(channels, channels) for _ in range(number))


def _query(channels: int) -> Sequential:
    return Sequential(Linear(channels, channels), Tanh(), Linear(channels, channels, bias=False))


def _relation(modality: str) -> str:
    return f'similar_{modality}'
