from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch_geometric import EdgeIndex
from torch_geometric.utils import cumsum

from pyg_mmgef.sparse._compiled_ops import Parts, matrix_of, propagate, transposed
from pyg_mmgef.sparse._matmul import HALF, multiply, sample, with_values
from pyg_mmgef.sparse._row_sparse import RowSparse
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_edge_index, check_edge_weight, check_increasing

__all__ = ['CSRPair']


class CSRPair:
    r"""A sparse matrix in CSR form together with its transpose.

    The matrix :math:`\mathbf{A}` has a row per destination and a column per source node, so that
    ``pair.matmul(x)`` is one step of weighted message passing,

    .. math::
        \mathbf{x}^{\prime}_i = \sum_{j \in \mathcal{N}(i)} w_{j \to i} \, \mathbf{x}_j .

    Both orders are sorted once, when it is built. The backward multiplies by the kept transpose,
    where autograd's own backward of a sparse product transposes anew in every step; the gradient of
    learnable edge weights is a sampled product that never materialises one row per edge. On the CPU
    a compiled extension computes the products, if it was built, elsewhere torch. The convolutions
    of :mod:`pyg_mmgef.nn`, built with ``normalize=False``, accept a :class:`CSRPair` in place of an
    ``edge_index``.

    Ids are checked here, so build the pair before :func:`torch.compile` or :func:`torch.export`
    trace a model. A compiled model takes a pair without a graph break (``fullgraph=True``).
    Gradients are of the first order: a second backward, or a transform of :mod:`torch.func`, raises
    a :class:`RuntimeError`.

    Args:
        edge_index: Edges, source → destination. Shape: ``[2, E]``. An
            :class:`~torch_geometric.EdgeIndex` contributes the orders it has cached.
        edge_weight: Fixed edge weights, or :obj:`None` for ones. Shape: ``[E]``.
        size: Number of source and of destination nodes. May be :obj:`None` only for an
            :class:`~torch_geometric.EdgeIndex` that knows its sparse size.

    Raises:
        ValueError: If ids are out of range, :obj:`edge_weight` has another length, or
            :obj:`size` is missing.
        RuntimeError: If it is built while a model is compiled or exported.

    Example:
        >>> edge_index = torch.tensor([[0, 1, 1], [0, 0, 2]])
        >>> pair = CSRPair(edge_index, size=(2, 3))
        >>> pair.matmul(torch.tensor([[1.0], [10.0]])).view(-1)
        tensor([11.,  0., 10.])
    """

    def __init__(
        self,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        if isinstance(edge_index, EdgeIndex) and size is None:
            num_rows, num_cols = edge_index.get_sparse_size()
            size = (num_rows, num_cols)
        if torch.compiler.is_compiling():
            raise RuntimeError('build a CSRPair before compiling; its ids must be checked')
        if size is None:
            raise ValueError("'size' is missing; pass (num_source_nodes, num_destination_nodes)")
        check_edge_index('edge_index', edge_index, size, ('source node', 'destination node'))
        if edge_weight is None:
            edge_weight = torch.ones(
                edge_index.size(1), dtype=torch.float32, device=edge_index.device
            )  # Ones are exact in every type.
        check_edge_weight('edge_weight', edge_weight, edge_index)
        self.size = size
        (ptr, index), (ptr_t, index_t), perm, perm_t = _both_orders(edge_index, size)
        weight = edge_weight.detach()
        self._set([ptr, index, weight[perm], perm, ptr_t, index_t, weight[perm_t], perm_t])

    def _set(self, parts: Parts) -> None:
        """Keep the parts, which compiled models read, and the matrices that they make."""
        self._parts = tuple(parts)
        self._perm, self._perm_t = parts[3], parts[7]
        dtype = parts[2].dtype
        self._matrix = matrix_of(parts, dtype)
        self._transpose = matrix_of(transposed(parts), dtype)

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return self._perm.numel()

    @property
    def num_incoming(self) -> Tensor:
        """Number of edges that each destination receives. Shape: ``[num_destination_nodes]``."""
        return self._matrix.crow_indices().diff()

    @property
    def device(self) -> torch.device:
        """The device of the matrices."""
        return self._perm.device

    def t(self) -> 'CSRPair':
        """Return the pair of the reversed graph, destination → source; nothing is copied."""
        out = object.__new__(CSRPair)
        out.size = (self.size[1], self.size[0])
        out._matrix, out._transpose = self._transpose, self._matrix
        out._perm, out._perm_t = self._perm_t, self._perm
        out._parts = tuple(transposed(self._parts))
        return out

    def to(
        self,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        non_blocking: bool = False,
    ) -> 'CSRPair':
        """Return the pair on another device, or with fixed weights of another type.

        ``HeteroData.to(device)`` and ``HeteroData.cpu()`` move the pairs among its attributes too.

        Args:
            device: The device; :obj:`None` keeps it. (default: :obj:`None`)
            dtype: The type of the weights; :obj:`None` keeps it. (default: :obj:`None`)
            non_blocking: Copy asynchronously where torch can. (default: :obj:`False`)
        """
        out = object.__new__(CSRPair)
        out.size = self.size
        parts = [part.to(device, non_blocking=non_blocking) for part in self._parts]
        parts[2], parts[6] = parts[2].to(dtype), parts[6].to(dtype)
        out._set(parts)
        return out

    def cpu(self) -> 'CSRPair':
        """Return the pair on the CPU."""
        return self.to('cpu')

    def edges(self) -> WeightedGraph:
        """Return the edges and their fixed weights, in the order the pair was made from."""
        edge_index = self._perm.new_empty(2, self.num_edges)
        edge_index[0, self._perm] = self._matrix.col_indices()
        edge_index[1, self._perm] = torch.repeat_interleave(self.num_incoming)
        edge_weight = torch.empty_like(self._matrix.values())
        edge_weight[self._perm] = self._matrix.values()
        return edge_index, edge_weight

    def matrix(self, dtype: torch.dtype, edge_weight: Tensor | None = None) -> Tensor:
        r"""Return :math:`\mathbf{A}` as a sparse CSR tensor, without gradient.

        Args:
            dtype: The type of its values.
            edge_weight: Weights that replace the fixed ones, in the order of the edges the pair
                was made from. Shape: ``[E]``. (default: :obj:`None`)
        """
        if edge_weight is not None:
            return with_values(self._matrix, edge_weight.detach()[self._perm].to(dtype))
        return self._matrix if self._matrix.dtype == dtype else self._matrix.to(dtype)

    def matmul(
        self, x: Tensor, edge_weight: Tensor | None = None, rows: Tensor | None = None
    ) -> Tensor:
        r"""Return :math:`\mathbf{A} \mathbf{x}`, or some of its rows.

        Args:
            x: Source features. Shape: ``[num_source_nodes, channels]``.
            edge_weight: Weights that replace the fixed ones, in the order of the edges the pair
                was made from. They may require a gradient. Shape: ``[E]``. (default: :obj:`None`)
            rows: Sorted ids of the destinations to compute; :obj:`None` computes all.
                Shape: ``[R]``. (default: :obj:`None`)

        Returns:
            Shape: ``[num_destination_nodes, channels]`` or ``[R, channels]``.

        Raises:
            ValueError: If :obj:`x` or :obj:`edge_weight` has another number of rows, or
                :obj:`rows` are out of range or don't increase.
        """
        if x.dim() != 2 or x.size(0) != self.size[0]:
            raise ValueError(
                f"'x' must have shape [{self.size[0]}, channels], one row per source node "
                f'(got {list(x.shape)})'
            )
        if edge_weight is not None and edge_weight.shape != self._perm.shape:
            raise ValueError(
                f"'edge_weight' must have shape [{self.num_edges}], one weight an edge "
                f'(got {list(edge_weight.shape)})'
            )
        if rows is not None:
            check_increasing('rows', rows, self.size[1], 'destination node')
        wide = x.float() if x.dtype in HALF else x
        if torch.compiler.is_compiling():
            return propagate(self._parts, wide, edge_weight, rows, None).to(x.dtype)
        return _CSRMatmul.apply(wide, edge_weight, rows, self).to(x.dtype)

    def check_ends(self, x_source: Tensor, x_destination: Tensor) -> None:
        """Raise a :class:`ValueError` unless features of both ends fit the graph and each other."""
        sizes = x_source.size(0), x_destination.size(0)
        if sizes != self.size or x_source.shape[1:] != x_destination.shape[1:]:
            raise ValueError(
                f"'x_source' and 'x_destination' must have {self.size[0]} and {self.size[1]} rows "
                f'of the same width (got {list(x_source.shape)} and {list(x_destination.shape)})'
            )
        if x_source.dtype != x_destination.dtype:
            raise ValueError(
                f"'x_source' and 'x_destination' must have one type (got {x_source.dtype} and "
                f'{x_destination.dtype})'
            )

    def __getstate__(self) -> dict[str, Any]:
        return {'size': self.size, 'parts': self._parts}  # The matrices share their memory.

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.size = state['size']
        self._set(state['parts'])

    def __deepcopy__(self, memo: dict[int, Any]) -> 'CSRPair':
        return self  # It never changes, and torch cannot deep-copy sparse CSR tensors.

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(size={self.size}, num_edges={self.num_edges})'


def _both_orders(
    edge_index: Tensor, size: tuple[int, int]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor, Tensor]:
    """Return both compressed forms and the permutations from edge order into each."""
    if isinstance(edge_index, EdgeIndex) and edge_index.is_sorted:
        identity = torch.arange(edge_index.size(1), device=edge_index.device)
        (ptr, index), perm = edge_index.get_csc()
        (ptr_t, index_t), perm_t = edge_index.get_csr()
        perm = identity if perm is None else perm
        perm_t = identity if perm_t is None else perm_t
        form = (_extended(ptr, size[1]), index.long())
        form_t = (_extended(ptr_t, size[0]), index_t.long())
        return form, form_t, perm, perm_t
    source, destination = edge_index.as_subclass(Tensor).long()
    perm = (destination * size[0] + source).argsort(stable=True)
    perm_t = (source * size[1] + destination).argsort(stable=True)
    form = (_pointer(destination, size[1]), source[perm])
    form_t = (_pointer(source, size[0]), destination[perm_t])
    return form, form_t, perm, perm_t


def _extended(pointer: Tensor, num_rows: int) -> Tensor:
    """Return the row pointer of an EdgeIndex for all rows; it may end at the last with an edge."""
    missing = num_rows + 1 - pointer.numel()
    return torch.cat([pointer, pointer[-1:].expand(missing)]).long()


def _pointer(index: Tensor, num_rows: int) -> Tensor:
    return cumsum(torch.bincount(index, minlength=num_rows))


class _CSRMatmul(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, edge_weight: Tensor | None, rows: Tensor | None, pair: CSRPair
    ) -> Tensor:
        ctx.pair, ctx.rows = pair, rows
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, edge_weight)
        return multiply(pair.matrix(x.dtype, edge_weight), x, rows=rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        pair: CSRPair = ctx.pair
        x, edge_weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            transpose = pair.t().matrix(grad.dtype, edge_weight)
            grad_x = multiply(transpose, RowSparse(grad, ctx.rows, pair.size[1]))
        if ctx.needs_input_grad[1]:
            grad_weight = torch.empty_like(edge_weight)
            by_entry = sample(pair.matrix(grad.dtype), grad, x, rows=ctx.rows)
            grad_weight[pair._perm] = by_entry.to(edge_weight.dtype)
        return grad_x, grad_weight, None, None
