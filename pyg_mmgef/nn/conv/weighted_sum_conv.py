from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import OptTensor, SparseTensor
from torch_geometric.utils import is_sparse, spmm, to_edge_index
from torch_geometric.utils.sparse import set_sparse_value

from pyg_mmgef.sparse._matmul import HALF
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_edge_index, check_edge_weight

__all__ = ['WeightedSumConv']


class WeightedSumConv(MessagePassing):
    r"""Base class of the linear convolutions: a weighted sum over every layout of a graph.

    Subclasses say how weights are normalised (:meth:`normalize_weight`); all that depends on the
    layout of the graph is here. A sorted :class:`~torch_geometric.EdgeIndex` and a
    :class:`~pyg_mmgef.sparse.CSRPair` take the fast path, one sparse product forward and one with
    the kept transpose backward. The layer builds the pair of an
    :class:`~torch_geometric.EdgeIndex` in the first forward and keeps it, with the graph, until it
    gets another one. An explained layer sends every message.

    The result has the type of :obj:`x`, whatever that of the weights. Half precision is summed in
    float32.

    Args:
        normalize: Whether :meth:`normalize_weight` is applied in each forward.
        **kwargs: Arguments of :class:`~torch_geometric.nn.conv.MessagePassing`; the aggregation
            is always a sum.

    Raises:
        ValueError: If :obj:`kwargs` ask for another aggregation, flow or dimension of nodes.
    """

    def __init__(self, normalize: bool, **kwargs: Any) -> None:
        if kwargs.setdefault('aggr', 'add') not in ('add', 'sum'):
            raise ValueError(f"'aggr' must be 'add', a weighted sum (got {kwargs['aggr']!r})")
        if kwargs.get('flow', 'source_to_target') != 'source_to_target':
            raise ValueError("'flow' must be 'source_to_target'; reverse the edges instead")
        if kwargs.get('node_dim', -2) != -2:
            raise ValueError("'node_dim' must be -2; pass features of shape [*, N, channels]")
        super().__init__(**kwargs)
        self.normalize = normalize
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset the layer, which has no parameters but the kept pair of an ``EdgeIndex``."""
        super().reset_parameters()
        self._kept: tuple[EdgeIndex, int, CSRPair] | None = None

    def normalize_weight(
        self,
        edge_index: Tensor,
        edge_weight: OptTensor,
        size: tuple[int, int],
        dtype: torch.dtype,
    ) -> Tensor:
        """Return the normalised edge weights, of a type. Shape: ``[E]``."""
        raise NotImplementedError

    def forward(
        self,
        x: Tensor | tuple[Tensor, OptTensor],
        edge_index: Tensor | SparseTensor | CSRPair,
        edge_weight: OptTensor = None,
        size: tuple[int | None, int | None] | None = None,
    ) -> Tensor:
        """Propagate :obj:`x` once along the edges.

        Args:
            x: Node features, or a pair of source and destination features of which the second
                may be :obj:`None`. Shape: ``[N, channels]``, or ``[B, N, channels]`` for several
                sets of features on one graph.
            edge_index: The graph, as an ``edge_index`` tensor of shape ``[2, E]``, an
                :class:`~torch_geometric.EdgeIndex`, a :class:`~pyg_mmgef.sparse.CSRPair`, or the
                *transposed* adjacency matrix (a row per destination) as a
                :class:`torch_sparse.SparseTensor` or a sparse :class:`torch.Tensor`. The ids of a
                plain tensor are checked in each forward, but under :func:`torch.compile` or
                :func:`torch.export` they are not.
            edge_weight: Edge weights, for layouts without values of their own; for a
                :class:`~pyg_mmgef.sparse.CSRPair` they replace its weights. Shape: ``[E]``.
            size: Number of source and destination nodes, :obj:`None` where it is known otherwise;
                needed only for a plain :obj:`edge_index` when the destination features are left
                out.

        Returns:
            Shape: ``[num_destination_nodes, channels]``, or ``[B, num_destination_nodes,
            channels]``.

        Raises:
            ValueError: If sizes, shapes or weights don't fit.
        """
        x_source, x_destination = (x, x) if isinstance(x, Tensor) else x
        num_nodes = _infer_size(x_source, x_destination, edge_index, size)
        out_dtype = x_source.dtype
        # The sum of many small numbers needs more digits than half precision has.
        x_source = x_source.float() if out_dtype in HALF else x_source
        if edge_weight is not None:
            edge_weight = edge_weight.to(x_source.dtype)
        if self.normalize:
            edge_index, edge_weight = self._normalize(
                edge_index, edge_weight, num_nodes, x_source.dtype
            )
        graph, edge_weight = self._prepare(edge_index, edge_weight, num_nodes)
        if isinstance(graph, CSRPair):
            return _fold(lambda x: graph.matmul(x, edge_weight), x_source).to(out_dtype)
        x_pair = (x_source, None)
        out = self.propagate(graph, x=x_pair, edge_weight=edge_weight, size=num_nodes)
        return out.to(out_dtype)

    def message(self, x_j: Tensor, edge_weight: OptTensor) -> Tensor:
        """Scale a neighbour by the weight of its edge."""
        return x_j if edge_weight is None else edge_weight.view(-1, 1) * x_j

    def message_and_aggregate(
        self, adj_t: Tensor | SparseTensor, x: tuple[Tensor, OptTensor]
    ) -> Tensor:
        """Multiply by a sparse matrix, without one row per edge in memory."""
        adj_t = adj_t.to(x[0].dtype)
        return _fold(lambda x: spmm(adj_t, x, reduce='sum'), x[0])

    def _prepare(
        self,
        graph: Tensor | SparseTensor | CSRPair,
        edge_weight: OptTensor,
        size: tuple[int, int],
    ) -> tuple[Tensor | SparseTensor | CSRPair, OptTensor]:
        """Return the graph as it is propagated over, after checking it."""
        if isinstance(graph, CSRPair) and self.explain:
            graph, fixed = graph.edges()
            edge_weight = fixed if edge_weight is None else edge_weight
        if isinstance(graph, CSRPair):
            return graph, edge_weight
        if is_sparse(graph):
            _check_no_weight(edge_weight)
            return graph, None
        if isinstance(graph, EdgeIndex) and graph.is_sorted and not self.explain:
            # PyG's `EdgeIndex.matmul` has no backward for the transpose of a bipartite graph.
            return self._pair_of(graph, size), edge_weight
        if not self.normalize:  # Or the normalisation has checked them.
            check_edge_index('edge_index', graph, size, ('source node', 'destination node'))
            if edge_weight is not None:
                check_edge_weight('edge_weight', edge_weight, graph)
        # torch's gather returns wrong rows for the expanded int32 index of the backward.
        graph = graph.as_subclass(Tensor) if isinstance(graph, EdgeIndex) else graph
        return graph.long(), edge_weight

    def _pair_of(self, graph: EdgeIndex, size: tuple[int, int]) -> CSRPair:
        if graph.is_inference():  # It has no version that would show a change in place.
            return CSRPair(graph, size=size)
        kept = self._kept
        if (
            kept is None
            or kept[0] is not graph
            or kept[1] != graph._version
            or kept[2].size != size
        ):
            with torch.inference_mode(False):  # A later training step may use it as well.
                kept = graph, graph._version, CSRPair(graph, size=size)
            self._kept = kept
        return kept[2]

    def _normalize(
        self,
        graph: Tensor | SparseTensor | CSRPair,
        edge_weight: OptTensor,
        size: tuple[int, int],
        dtype: torch.dtype,
    ) -> tuple[Tensor | SparseTensor, OptTensor]:
        if isinstance(graph, CSRPair):
            raise ValueError(
                "'normalize' must be False for a CSRPair, whose weights are fixed; normalise them "
                'before building it (pyg_mmgef.graph.bipartite_normalize, symmetric_normalize)'
            )
        if not is_sparse(graph):
            return graph, self.normalize_weight(graph, edge_weight, size, dtype)
        _check_no_weight(edge_weight)
        (destination, source), value = to_edge_index(graph)
        value = self.normalize_weight(
            torch.stack([source, destination]), value.to(dtype), size, dtype
        )
        if isinstance(graph, SparseTensor):
            return graph.set_value(value, layout='coo'), None
        return set_sparse_value(graph, value), None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_kept': None}

    def __repr__(self) -> str:
        layers = self.decomposed_layers
        more = f', decomposed_layers={layers}' if layers > 1 else ''
        return f'{self.__class__.__name__}(normalize={self.normalize}{more})'


def _check_no_weight(edge_weight: OptTensor) -> None:
    if edge_weight is not None:
        raise ValueError("'edge_weight' must be None for a sparse layout, which holds its values")


def _fold(product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a product with a matrix to features of shape ``[*, N, channels]``."""
    if x.dim() == 2:
        return product(x)
    out = product(x.movedim(-2, 0).flatten(1))
    return out.unflatten(1, (*x.shape[:-2], x.size(-1))).movedim(0, -2)


def _infer_size(
    x_source: Tensor,
    x_destination: OptTensor,
    edge_index: Tensor | SparseTensor | CSRPair,
    size: tuple[int | None, int | None] | None,
) -> tuple[int, int]:
    """Return the number of sources and destinations, after checking that all sizes agree."""
    known: list[tuple[int | None, int | None]] = [] if size is None else [tuple(size)]  # type: ignore[list-item]
    if isinstance(edge_index, CSRPair):
        known.append(edge_index.size)
    elif is_sparse(edge_index):
        known.append((edge_index.size(1), edge_index.size(0)))
    if x_destination is not None:
        known.append((None, x_destination.size(-2)))
    num_sources = x_source.size(-2)
    num_destinations = next((n for _, n in known if n is not None), None)
    if num_destinations is None and isinstance(edge_index, EdgeIndex):
        num_destinations = edge_index.get_sparse_size(1)
    if num_destinations is None:
        raise ValueError(
            "'size' is missing: without destination features the number of destination nodes is "
            'unknown; pass size=(num_source_nodes, num_destination_nodes)'
        )
    for sources, destinations in known:
        if (sources is not None and sources != num_sources) or (
            destinations is not None and destinations != num_destinations
        ):
            raise ValueError(
                f"'x' and 'size' don't fit the graph, or each other: {num_sources} source rows for "
                f'a graph of (source, destination) nodes {known}'
            )
    return num_sources, num_destinations
