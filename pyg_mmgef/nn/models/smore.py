from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, ModuleList, Parameter, Sequential, Tanh
from torch_geometric.data import HeteroData

from pyg_mmgef.graph.weights import union_graphs
from pyg_mmgef.nn.models._gated_views import GatedViewsModel
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import item_graph
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_fraction

__all__ = ['SMORE']


class SMORE(GatedViewsModel):
    r"""Features filtered and fused by a Fourier transform; they gate what item graphs propagate.

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

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        num_layers: int = 3,
        num_item_layers: int = 1,
        dropout: float = 0.0,
        contrast_weight: float = 1e-2,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(
            num_users,
            num_items,
            in_channels=in_channels,
            embedding_dim=embedding_dim,
            num_layers=num_layers,
            num_item_layers=num_item_layers,
            contrast_weight=contrast_weight,
            temperature=temperature,
        )
        check_fraction('dropout', dropout, '[0, 1)')
        self.dropout = dropout
        num_views = len(in_channels) + 1  # The fused view is the last.
        # Real and imaginary parts: a complex parameter would not follow ``model.double()``.
        self.filter = Parameter(torch.empty(num_views, embedding_dim // 2 + 1, 2))
        self.gate = _linears(num_views, embedding_dim)
        self.query = ModuleList(_query(embedding_dim) for _ in in_channels)
        self.preference = _linears(num_views, embedding_dim)
        self._fused_graph = TensorCache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graphs."""
        super().reset_parameters()
        torch.nn.init.normal_(self.filter)
        self._fused_graph.clear()

    def _views(self, data: HeteroData) -> list[Tensor]:
        r"""Return :math:`\mathbf{H}^v` of all items for each modality, then of the fused view."""
        graphs = [*self.graphs(data), self._max_graph(data)]
        return self._propagated(data, self._filtered(data), graphs)

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

    def _fuse(self, views: list[Tensor], content: Tensor) -> Tensor:
        r"""Return :math:`\mathbf{f}`."""
        *own, fused = views
        chosen = [
            query(fused).softmax(dim=-1) * h for query, h in zip(self.query, own, strict=True)
        ]
        weighted = [
            F.dropout(lin(content).sigmoid(), self.dropout, self.training) * h
            for lin, h in zip(self.preference, (*chosen, fused), strict=True)
        ]
        return torch.stack(weighted).mean(dim=0)


def _linears(number: int, channels: int) -> ModuleList:
    return ModuleList(Linear(channels, channels) for _ in range(number))


def _query(channels: int) -> Sequential:
    return Sequential(Linear(channels, channels), Tanh(), Linear(channels, channels, bias=False))
