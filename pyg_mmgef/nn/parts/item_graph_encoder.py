from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, Module
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef._describe import describe
from pyg_mmgef.nn.fusion.soft_edge_fusion import SoftEdgeFusion
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, neighbor_parts
from pyg_mmgef.nn.parts.item_graphs import ItemGraphs
from pyg_mmgef.nn.parts.latent_graphs import LatentGraphs
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import is_sampled
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_choice, check_not_negative, check_positive

__all__ = ['ItemGraphEncoder', 'convolve']

READOUTS = ('last', 'mean')
ALIGNED = 16  # Rows are padded to a multiple of so many channels; uneven rows multiply slower.


class Graph(Protocol):
    """An item graph: a :class:`~pyg_mmgef.sparse.CSRPair`, or a sum of several."""

    def matmul(self, x: Tensor, *, rows: Tensor | None = None) -> Tensor:
        """Return what some items receive from their neighbours, or all for :obj:`None`."""


class ItemGraphEncoder(Module):
    r"""Graph convolution over several item graphs that attention merges into one.

    .. math::
        \mathbf{h}^{(0)}_i &= \mathbf{x}_i + \mathbf{W} \mathbf{e}_i + \mathbf{b} \\
        \mathbf{A} &= \textstyle\sum_g \boldsymbol{\alpha}^g \odot \mathbf{A}^g \\
        \mathbf{h}^{(l+1)} &= \mathbf{A} \mathbf{h}^{(l)}, \qquad
        \mathbf{h} = \mathbf{h}^{(L)} \;\text{ or }\;
        \tfrac{1}{L + 1} \textstyle\sum_{l=0}^{L} \mathbf{h}^{(l)}

    where :math:`\mathbf{x}` are embeddings, :math:`\mathbf{e}` features, and either may be absent.
    It is the item side of :class:`~pyg_mmgef.nn.MMGEF`, :class:`~pyg_mmgef.nn.LATTICE` and
    :class:`~pyg_mmgef.nn.FREEDOM`.

    Only the rows asked for are computed in the last layer. With a single layer, and features that
    don't require a gradient, the order of :math:`\mathbf{W}` and :math:`\mathbf{A}` is exchanged,
    :math:`\mathbf{A} (\mathbf{e} \mathbf{W}^{\top} + \mathbf{1} \mathbf{b}^{\top}) = \mathbf{A}
    [\mathbf{e} \, \Vert \, \mathbf{1}] \, [\mathbf{W} \, \Vert \, \mathbf{b}]^{\top}`: features
    propagate over each graph once, and a step projects the rows asked for alone. What is kept for
    that takes as much memory as the features, for each graph; :obj:`cache_bytes` limits it. Of a
    sampled batch nothing is kept.

    Args:
        graphs: Relations of the item graphs, as in ``data['item', relation, 'item']``; a mapping
            from relations to fixed weights, which makes one graph of them; or a module that returns
            graphs for the data, such as :class:`ItemGraphs` or :class:`LatentGraphs`.
        num_items: Number of items.
        out_channels: Channels of :math:`\mathbf{h}`.
        in_channels: Channels of the features :math:`\mathbf{e}`; :obj:`None` for none.
            (default: :obj:`None`)
        num_layers: Convolutions :math:`L`; 0 propagates nothing. (default: ``1``)
        attention: The mode of :class:`~pyg_mmgef.nn.SoftEdgeFusion`. (default: ``'graph'``)
        readout: Which layers make :math:`\mathbf{h}`: ``'last'`` or their ``'mean'``.
            (default: ``'last'``)
        cache_bytes: Most bytes that propagated features may take. Above, and at 0, each step
            projects the features of all items. (default: ``2**30``)

    Raises:
        ValueError: If an option is unknown or a number out of range.

    Example:
        >>> data = HeteroData()
        >>> data['item'].num_nodes = 3
        >>> data['item', 'similar', 'item'].edge_index = torch.tensor([[0, 1], [2, 2]])
        >>> data['item', 'similar', 'item'].edge_weight = torch.tensor([0.5, 0.25])
        >>> encoder = ItemGraphEncoder(['similar'], num_items=3, out_channels=1)
        >>> encoder(data, torch.tensor([[2.0], [4.0], [8.0]])).view(-1).tolist()
        [0.0, 0.0, 2.0]
    """

    def __init__(
        self,
        graphs: Sequence[str] | Mapping[str, float] | ItemGraphs | LatentGraphs,
        num_items: int,
        out_channels: int,
        in_channels: int | None = None,
        *,
        num_layers: int = 1,
        attention: str = 'graph',
        readout: str = 'last',
        cache_bytes: int = 2**30,
    ) -> None:
        super().__init__()
        check_positive('out_channels', out_channels)
        check_not_negative('num_layers', num_layers, integer=True)
        check_choice('readout', readout, READOUTS)
        check_not_negative('cache_bytes', cache_bytes, integer=True)
        if not isinstance(graphs, ItemGraphs | LatentGraphs):
            graphs = ItemGraphs(num_items, graphs)
        if attention == 'edge' and isinstance(graphs, LatentGraphs):
            raise ValueError("attention='edge' needs item graphs of the data, not LatentGraphs")
        self.graphs: ItemGraphs | LatentGraphs = graphs
        self.num_items = num_items
        self.out_channels, self.in_channels = out_channels, in_channels
        self.num_layers = num_layers if len(self.graphs) > 0 else 0
        self.readout = readout
        self.cache_bytes = cache_bytes
        self.lin = None if in_channels is None else Linear(in_channels, out_channels)
        self.attention: SoftEdgeFusion | None = None
        if self.num_layers > 0:
            self.attention = SoftEdgeFusion(len(self.graphs), attention, out_channels)
        self._cache = TensorCache()  # All parts have initialised themselves.

    def reset_parameters(self) -> None:
        """Initialise the parameters anew, and clear the graphs and what was propagated."""
        reset(self.lin)
        reset(self.attention)
        self.graphs.reset_parameters()
        self._cache.clear()

    def rebuild(self, data: HeteroData, features: Tensor | None = None) -> None:
        r"""Rebuild the learned graphs; nothing to do where none is learned.

        Args:
            data: The train graph.
            features: The features :math:`\mathbf{e}`, which :class:`ItemGraphs` learns from.
        """
        if isinstance(self.graphs, LatentGraphs):
            self.graphs.rebuild(data)
        elif self.graphs.skip_weight < 1:
            with torch.no_grad():
                h = self.input(None, features)
            assert features is not None
            self.graphs.rebuild(h, features.ne(0).any(dim=1, keepdim=True))

    def forward(
        self,
        data: HeteroData,
        x: Tensor | None = None,
        features: Tensor | None = None,
        items: Tensor | None = None,
    ) -> Tensor:
        r"""Return :math:`\mathbf{h}` of some items.

        Args:
            data: The train graph, with the item graphs.
            x: The embeddings :math:`\mathbf{x}`. Shape: ``[num_items, out_channels]``.
                (default: :obj:`None`)
            features: The features :math:`\mathbf{e}`. Shape: ``[num_items, in_channels]``.
                (default: :obj:`None`)
            items: Distinct item ids in increasing order; :obj:`None` means all. Shape: ``[I]``.
                (default: :obj:`None`)

        Returns:
            Shape: ``[I, out_channels]``.

        Raises:
            ValueError: If neither :obj:`x` nor :obj:`features` is given, or the data lacks a graph.
        """
        if self.attention is None:
            return self.input(x, features, items)
        if is_sampled(data):
            return self._convolved(data, x, features, items)
        self._rebuild_if_missing(data, features)
        if features is not None and self.lin is not None and self._propagates_once(features):
            return self._single_layer(data, x, features, items)
        return self._convolved(data, x, features, items)

    def _convolved(
        self, data: HeteroData, x: Tensor | None, features: Tensor | None, items: Tensor | None
    ) -> Tensor:
        h = self.input(x, features)
        return convolve(self.merged(data, h), h, self.num_layers, items, self.readout)

    def mix(self, data: HeteroData, features: Tensor | None = None) -> HeteroData:
        r"""Return the data with the learned graph mixed in, so that batches can be sampled from it.

        Args:
            data: The train graph.
            features: The features :math:`\mathbf{e}`, for a graph that hasn't been learned yet.
                (default: :obj:`None`)
        """
        assert isinstance(self.graphs, ItemGraphs)
        self._rebuild_if_missing(data, features)
        return self.graphs.mix(data)

    def _rebuild_if_missing(self, data: HeteroData, features: Tensor | None) -> None:
        if isinstance(self.graphs, ItemGraphs) and self.graphs.learned is None:
            self.rebuild(data, features)

    def input(
        self, x: Tensor | None, features: Tensor | None, items: Tensor | None = None
    ) -> Tensor:
        r"""Return :math:`\mathbf{h}^{(0)}` of some items; the arguments are those of the layer."""
        if features is None:
            if x is None:
                raise ValueError("'x' and 'features' are both None; give at least one of them")
            return select(x, items)
        if self.lin is None:
            raise ValueError("'features' need a layer that was built with 'in_channels'")
        h = self.lin(select(features, items).to(self.lin.weight.dtype))
        return h if x is None else select(x, items) + h

    def merged(self, data: HeteroData, h: Tensor) -> Graph:
        r"""Return the merged graph :math:`\mathbf{A}`, with attention that reads :obj:`h`."""
        assert self.attention is not None
        if self.attention.mode == 'edge':
            assert isinstance(self.graphs, ItemGraphs)
            pair, edge_index, edge_attr = self.graphs.union(data)
            return _Weighted(pair, self.attention(edge_index, edge_attr, h))
        return _Merged(self.graphs(data), self.attention, h)

    @torch.no_grad()
    def weighted_graphs(
        self, data: HeteroData, x: Tensor | None = None, features: Tensor | None = None
    ) -> list[WeightedGraph]:
        r"""Return the graphs :math:`\boldsymbol{\alpha}^g \odot \mathbf{A}^g`, whose sum is merged.

        They are for those who look at the edges one by one; :meth:`forward` doesn't need them.

        Raises:
            ValueError: If nothing propagates, so that there is no attention.
        """
        alpha = self.alpha(data, x, features)
        assert self.attention is not None
        if self.attention.mode == 'edge':
            assert isinstance(self.graphs, ItemGraphs)
            _, edge_index, edge_attr = self.graphs.union(data)
            weighted = (alpha * edge_attr).unbind(dim=1)
            return [(edge_index[:, w != 0], w[w != 0]) for w in weighted]
        out = []
        for graph, share in zip(self.graphs(data), alpha.unbind(dim=1), strict=True):
            edge_index, edge_weight = graph.edges()
            out.append((edge_index, edge_weight * share.expand(self.num_items)[edge_index[1]]))
        return out

    @torch.no_grad()
    def split(
        self,
        data: HeteroData,
        items: Tensor,
        x: Tensor | None = None,
        features: Tensor | None = None,
        modalities: Mapping[str, Tensor] | None = None,
    ) -> list[ItemPart]:
        r"""Return the terms that :math:`\mathbf{h}` of some items is the sum of.

        With a graph, they are what each neighbour sends in the last layer, for each graph; under
        ``readout='mean'`` in all layers together, and the item's own :math:`\mathbf{h}^{(0)}`.

        Args:
            data: The train graph, with the item graphs.
            items: Distinct items. Shape: ``[I]``.
            x: As in :meth:`forward`. (default: :obj:`None`)
            features: As in :meth:`forward`. (default: :obj:`None`)
            modalities: What each modality adds to the features of these items. Shape of each:
                ``[I, in_channels]``. (default: :obj:`None`)
        """
        own = []
        if x is not None:
            own.append(ItemPart.of_rows('collaborative', x[items]))
        if features is not None and self.lin is not None:
            weight, bias = self.lin.weight, self.lin.bias
            named = {None: features[items]} if modalities is None else modalities
            for name, row in named.items():
                own.append(ItemPart.of_rows('modality', row.to(weight.dtype) @ weight.t(), name))
            own.append(ItemPart.of_all('average', bias, items.numel()))
        if self.attention is None:
            return own
        h = self.input(x, features)
        sends, merged = h, self.merged(data, h)
        for _ in range(self.num_layers - 1):
            h = merged.matmul(h)
            sends = sends + h if self.readout == 'mean' else h
        graphs = self._by_name(data, x, features)
        if self.readout == 'last':
            return neighbor_parts(graphs, sends, items)
        share = torch.ones_like(items).double() / (self.num_layers + 1)
        both = [*own, *neighbor_parts(graphs, sends, items)]
        return [part.scaled(share) for part in both]

    def _by_name(
        self, data: HeteroData, x: Tensor | None, features: Tensor | None
    ) -> dict[str, WeightedGraph]:
        """Return the graphs of :meth:`weighted_graphs` by name, those of one mixture apart."""
        if isinstance(self.graphs, ItemGraphs):
            if self.graphs.weights is not None:  # The attention over a single graph is one.
                return self.graphs.by_name(data)
            names = self.graphs.relations
        else:
            names = self.graphs.names
        return dict(zip(names, self.weighted_graphs(data, x, features), strict=True))

    @torch.no_grad()
    def alpha(
        self, data: HeteroData, x: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        """Return the attention over the item graphs, as :meth:`SoftEdgeFusion.alpha` does.

        Raises:
            ValueError: If nothing propagates, so that there is no attention.
        """
        if self.attention is None:
            raise ValueError('the model fuses no item graphs, so there is no attention')
        if self.attention.mode in ('graph', 'mean'):
            return self.attention.node_alpha()
        h = self.input(x, features)
        if self.attention.mode == 'node':
            return self.attention.node_alpha(h)
        assert isinstance(self.graphs, ItemGraphs)
        return self.attention.alpha(self.graphs.union(data)[1], h)

    def _propagates_once(self, features: Tensor) -> bool:
        """Return whether the propagated features can be kept, within the limit of memory."""
        assert self.attention is not None
        entries = self.num_items * len(self.graphs) * _aligned(features.size(1))
        return (
            self.num_layers == 1
            and self.attention.mode != 'edge'
            and isinstance(self.graphs, ItemGraphs)
            and not features.requires_grad
            and entries * features.element_size() <= self.cache_bytes
        )

    def _single_layer(
        self, data: HeteroData, x: Tensor | None, features: Tensor, items: Tensor | None
    ) -> Tensor:
        """Compute what :meth:`forward` does, projecting what was propagated once."""
        assert self.attention is not None
        assert self.lin is not None
        h0 = None
        if self.attention.mode == 'node' or self.readout == 'mean':
            h0 = self.input(x, features, items)
        alpha = self.attention.node_alpha(h0)
        mixer, propagated = self._propagated(data, features)
        if items is None or alpha.size(0) == 1:
            weight = alpha.expand(self.num_items, -1)
        else:
            weight = alpha.new_zeros(self.num_items, alpha.size(1)).index_copy(0, items, alpha)
        mixed = mixer.matmul(propagated.to(alpha.dtype), weight.flatten(), items)
        both = torch.cat([self.lin.weight, self.lin.bias[:, None]], dim=1)
        h = F.linear(mixed, F.pad(both, (0, mixed.size(1) - both.size(1))))
        if x is not None:
            h = h + _mix(self.graphs(data), x, alpha, items)
        return h if self.readout == 'last' or h0 is None else (h0 + h) / 2

    def _propagated(self, data: HeteroData, features: Tensor) -> tuple[CSRPair, Tensor]:
        """Return the graph from (item, graph) to item, and the features propagated over each."""
        assert isinstance(self.graphs, ItemGraphs)
        num_graphs, width = len(self.graphs), _aligned(features.size(1))

        @torch.no_grad()
        def build() -> tuple[CSRPair, Tensor]:
            x = F.pad(features, (0, width - features.size(1)))
            x[:, features.size(1)] = 1
            out = x.new_empty(self.num_items, num_graphs, width)
            for position, pair in enumerate(self.graphs(data)):  # One at a time: they are large.
                out[:, position] = pair.matmul(x)
            source = torch.arange(self.num_items * num_graphs, device=x.device)
            edge_index = torch.stack([source, source // num_graphs])
            return CSRPair(edge_index, size=(source.numel(), self.num_items)), out.flatten(0, 1)

        return self._cache.get([*self.graphs.tensors(data), features], build)

    def __repr__(self) -> str:
        mode = 'graph' if self.attention is None else self.attention.mode
        return describe(self, attention=mode)


def convolve(
    graph: Graph,
    x: Tensor,
    num_layers: int,
    items: Tensor | None = None,
    readout: str = 'last',
) -> Tensor:
    r"""Propagate over an item graph layer by layer; of the last, compute only some items.

    Args:
        graph: The graph :math:`\mathbf{A}`.
        x: What propagates. Shape: ``[num_items, channels]``.
        num_layers: Number of layers :math:`L`.
        items: Distinct item ids in increasing order; :obj:`None` means all. Shape: ``[I]``.
            (default: :obj:`None`)
        readout: ``'last'`` for :math:`\mathbf{A}^L \mathbf{x}`, ``'mean'`` for the mean over the
            layers :math:`0, \dots, L`. (default: ``'last'``)

    Returns:
        Shape: ``[I, channels]``.
    """
    if num_layers == 0:
        return select(x, items)
    total = select(x, items) if readout == 'mean' else None
    for layer in range(1, num_layers + 1):
        is_last = layer == num_layers
        x = graph.matmul(x, rows=items if is_last else None)
        if total is not None:
            total = total + (x if is_last else select(x, items))
    return x if total is None else total / (num_layers + 1)


@dataclass(frozen=True)
class _Merged:
    """Several graphs, weighted by an attention that is the same for all edges into an item."""

    graphs: Sequence[Graph]
    attention: SoftEdgeFusion
    h: Tensor

    def matmul(self, x: Tensor, *, rows: Tensor | None = None) -> Tensor:
        reads_items = self.attention.mode == 'node'
        alpha = self.attention.node_alpha(select(self.h, rows) if reads_items else None)
        return _mix(self.graphs, x, alpha, rows)


@dataclass(frozen=True)
class _Weighted:
    """A graph with a weight for each edge."""

    pair: CSRPair
    edge_weight: Tensor

    def matmul(self, x: Tensor, *, rows: Tensor | None = None) -> Tensor:
        return self.pair.matmul(x, self.edge_weight, rows)


def _mix(graphs: Sequence[Graph], x: Tensor, alpha: Tensor, rows: Tensor | None) -> Tensor:
    r"""Return :math:`\sum_g \boldsymbol{\alpha}^g \odot \mathbf{A}^g \mathbf{x}` of some items."""
    parts = torch.stack([graph.matmul(x, rows=rows) for graph in graphs], dim=1)
    return (alpha[..., None] * parts).sum(dim=1)


def _aligned(channels: int) -> int:
    """Return a width for the features and at least one more channel."""
    return (channels // ALIGNED + 1) * ALIGNED
