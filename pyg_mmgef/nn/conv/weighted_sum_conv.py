from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.typing import OptTensor, SparseTensor
from torch_geometric.utils import is_sparse, spmm, to_edge_index
from torch_geometric.utils.sparse import set_sparse_value

from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_edge_index, check_edge_weight

__all__ = ['WeightedSumConv']


class WeightedSumConv(MessagePassing):
    r"""What the linear convolutions of this package share: a weighted sum over every layout.

    Subclasses say how weights are normalised (:meth:`normalize_weight`); all that depends on the
    layout of the graph is here. A sorted :class:`~torch_geometric.EdgeIndex` and a
    :class:`~pyg_mmgef.sparse.CSRPair` take the fast path, one sparse product forward and one with
    the kept transpose backward.

    Args:
        normalize: Whether :meth:`normalize_weight` is applied in each forward.
        **kwargs: Arguments of :class:`~torch_geometric.nn.conv.MessagePassing`; the aggregation
            is always a sum.

    Raises:
        ValueError: If :obj:`kwargs` ask for another aggregation or flow.
    """

    def __init__(self, normalize: bool, **kwargs: Any) -> None:
        if kwargs.setdefault('aggr', 'add') not in ('add', 'sum'):
            raise ValueError(f"'aggr' must be 'add', a weighted sum (got {kwargs['aggr']!r})")
        if kwargs.get('flow', 'source_to_target') != 'source_to_target':
            raise ValueError("'flow' must be 'source_to_target'; reverse the edges instead")
        super().__init__(**kwargs)
        self.normalize = normalize
        self.reset_parameters()

    def normalize_weight(
        self, edge_index: Tensor, edge_weight: OptTensor, size: tuple[int, int]
    ) -> Tensor:
        """Return the normalised edge weights. Shape: ``[E]``."""
        raise NotImplementedError

    def forward(
        self,
        x: Tensor | tuple[Tensor, OptTensor],
        edge_index: Tensor | SparseTensor | CSRPair,
        edge_weight: OptTensor = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Propagate :obj:`x` once along the edges.

        Args:
            x: Node features, or a pair of source and destination features of which the second
                may be :obj:`None`. Shape: ``[N, channels]``.
            edge_index: The graph, as an ``edge_index`` tensor of shape ``[2, E]``, an
                :class:`~torch_geometric.EdgeIndex`, a :class:`~pyg_mmgef.sparse.CSRPair`, or the
                *transposed* adjacency matrix (a row per destination) as a
                :class:`torch_sparse.SparseTensor` or a sparse :class:`torch.Tensor`.
            edge_weight: Edge weights, for layouts without values of their own; for a
                :class:`~pyg_mmgef.sparse.CSRPair` they replace its weights. Shape: ``[E]``.
            size: Number of source and destination nodes; needed only for a plain
                :obj:`edge_index` when the destination features are left out.

        Returns:
            Shape: ``[num_destination_nodes, channels]``.

        Raises:
            ValueError: If sizes, shapes or weights don't fit.
        """
        x_pair = (x, x) if isinstance(x, Tensor) else x
        size = _infer_size(x_pair, edge_index, size)
        if self.normalize:
            edge_index, edge_weight = self._normalize(edge_index, edge_weight, size)
        if isinstance(edge_index, EdgeIndex) and edge_index.is_sorted:
            # PyG's `EdgeIndex.matmul` has no backward for the transpose of a bipartite graph.
            edge_index = CSRPair(edge_index, size=size)
        if isinstance(edge_index, CSRPair):
            return edge_index.matmul(x_pair[0], edge_weight)
        if is_sparse(edge_index):
            _check_no_weight(edge_weight)
        else:
            check_edge_index('edge_index', edge_index, size, ('source node', 'destination node'))
            if edge_weight is not None:
                check_edge_weight('edge_weight', edge_weight, edge_index)
            # torch's gather returns wrong rows for the expanded int32 index of the backward.
            edge_index = edge_index.as_subclass(Tensor).long()
        return self.propagate(edge_index, x=x_pair, edge_weight=edge_weight, size=size)

    def message(self, x_j: Tensor, edge_weight: OptTensor) -> Tensor:
        """Scale a neighbour by the weight of its edge."""
        return x_j if edge_weight is None else edge_weight.view(-1, 1) * x_j

    def message_and_aggregate(
        self, adj_t: Tensor | SparseTensor, x: tuple[Tensor, OptTensor]
    ) -> Tensor:
        """Multiply by a sparse matrix, without one row per edge in memory."""
        return spmm(adj_t, x[0], reduce='sum')

    def _normalize(
        self,
        edge_index: Tensor | SparseTensor | CSRPair,
        edge_weight: OptTensor,
        size: tuple[int, int],
    ) -> tuple[Tensor | SparseTensor, OptTensor]:
        if isinstance(edge_index, CSRPair):
            raise ValueError(
                "'normalize' must be False for a CSRPair, whose weights are fixed; normalise them "
                'before building it (pyg_mmgef.graph.bipartite_normalize, symmetric_normalize)'
            )
        if not is_sparse(edge_index):
            return edge_index, self.normalize_weight(edge_index, edge_weight, size)
        _check_no_weight(edge_weight)
        (destination, source), value = to_edge_index(edge_index)
        value = self.normalize_weight(torch.stack([source, destination]), value, size)
        if isinstance(edge_index, SparseTensor):
            return edge_index.set_value(value, layout='coo'), None
        return set_sparse_value(edge_index, value), None

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(normalize={self.normalize})'


def _check_no_weight(edge_weight: OptTensor) -> None:
    if edge_weight is not None:
        raise ValueError("'edge_weight' must be None for a sparse layout, which holds its values")


def _infer_size(
    x: tuple[Tensor, OptTensor],
    edge_index: Tensor | SparseTensor | CSRPair,
    size: tuple[int, int] | None,
) -> tuple[int, int]:
    """Return the number of sources and destinations, after checking that all sizes agree."""
    known = [tuple(size)] if size is not None else []
    if isinstance(edge_index, CSRPair):
        known.append(edge_index.size)
    elif is_sparse(edge_index):
        known.append((edge_index.size(1), edge_index.size(0)))
    if x[1] is not None:
        known.append((x[0].size(0), x[1].size(0)))
    elif not known and isinstance(edge_index, EdgeIndex):
        known.append((x[0].size(0), edge_index.get_sparse_size(1)))
    if not known:
        raise ValueError(
            "'size' is missing: without destination features the number of destination nodes is "
            'unknown; pass size=(num_source_nodes, num_destination_nodes)'
        )
    if len(set(known)) > 1 or known[0][0] != x[0].size(0):
        raise ValueError(
            f"'x' and 'size' don't fit the graph, or each other: {x[0].size(0)} source rows for a "
            f'graph of (source, destination) nodes {sorted(set(known))}'
        )
    return known[0][0], known[0][1]
