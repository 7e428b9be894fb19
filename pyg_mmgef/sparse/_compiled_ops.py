"""The products of a :class:`~pyg_mmgef.sparse.CSRPair` as operators for :func:`torch.compile`.

Dynamo traces no sparse tensors and no compiled extension. These operators take the plain tensors of
a pair and hide both from it. Eager code doesn't use them: their dispatch would cost more than it
hides.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyg_mmgef.sparse._csr import csr_tensor
from pyg_mmgef.sparse._matmul import multiply, sample
from pyg_mmgef.sparse._row_sparse import RowSparse

__all__ = ['Parts', 'edge_products', 'matrix_of', 'propagate', 'transposed']

Parts = Sequence[Tensor]
"""Row pointer, column index, values and the order of the edges, then the same transposed."""


def transposed(parts: Parts) -> Parts:
    """Return the parts of the reversed graph."""
    return [*parts[4:], *parts[:4]]


def matrix_of(parts: Parts, dtype: torch.dtype, edge_weight: Tensor | None = None) -> Tensor:
    """Return the sparse CSR matrix of a pair, with its own weights or others in edge order."""
    pointer, index, values, perm, pointer_t, *_ = parts
    values = values if edge_weight is None else edge_weight.detach()[perm]
    shape = pointer.numel() - 1, pointer_t.numel() - 1
    return csr_tensor(pointer, index, values.to(dtype), shape)


@torch.library.custom_op(
    'pyg_mmgef::propagate',
    mutates_args=(),
    schema=(
        '(Tensor[] parts, Tensor x, Tensor? edge_weight, Tensor? rows, Tensor? x_rows) -> Tensor'
    ),
)
def propagate(
    parts: Parts,
    x: Tensor,
    edge_weight: Tensor | None,
    rows: Tensor | None,
    x_rows: Tensor | None,
) -> Tensor:
    """Return the product with the matrix, see :meth:`CSRPair.matmul`.

    Args:
        parts: The pair.
        x: The rows of the dense matrix. Shape: ``[N, channels]``.
        edge_weight: Weights in edge order, or :obj:`None` for those of the pair. Shape: ``[E]``.
        rows: The rows to compute; :obj:`None` computes all.
        x_rows: The ids of the given rows, the others being zero; :obj:`None` if all are given.
    """
    matrix = matrix_of(parts, x.dtype, edge_weight)
    return multiply(matrix, RowSparse(x, x_rows, matrix.size(1)), rows=rows)


@propagate.register_fake
def _(
    parts: Parts,
    x: Tensor,
    edge_weight: Tensor | None,
    rows: Tensor | None,
    x_rows: Tensor | None,
) -> Tensor:
    return x.new_empty(parts[0].numel() - 1 if rows is None else rows.numel(), x.size(1))


@torch.library.custom_op(
    'pyg_mmgef::edge_products',
    mutates_args=(),
    schema='(Tensor[] parts, Tensor x_source, Tensor x_destination, Tensor? rows) -> Tensor',
)
def edge_products(
    parts: Parts, x_source: Tensor, x_destination: Tensor, rows: Tensor | None
) -> Tensor:
    """Return the inner product of both ends of every edge, see :func:`edge_scores`.

    Args:
        parts: The pair.
        x_source: Shape: ``[num_source_nodes, channels]``.
        x_destination: Shape: ``[num_destination_nodes, channels]``, or ``[len(rows), channels]``.
        rows: The destinations that are given; edges to others get zero. :obj:`None` means all.
    """
    by_entry = sample(matrix_of(parts, x_source.dtype), x_destination, x_source, rows=rows)
    out = torch.empty_like(by_entry)
    out[parts[3]] = by_entry
    return out


@edge_products.register_fake
def _(parts: Parts, x_source: Tensor, x_destination: Tensor, rows: Tensor | None) -> Tensor:
    return x_source.new_empty(parts[1].numel())


def _save_propagation(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    parts, x, edge_weight, rows, _ = inputs
    ctx.save_for_backward(*parts, x, edge_weight, rows)


def _propagate_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    *parts, x, edge_weight, rows = ctx.saved_tensors
    grad_x = grad_weight = None
    if ctx.needs_input_grad[1]:
        grad_x = propagate(transposed(parts), grad, edge_weight, None, rows)
    if edge_weight is not None and ctx.needs_input_grad[2]:
        grad_weight = edge_products(parts, x, grad, rows).to(edge_weight.dtype)
    return [None] * len(parts), grad_x, grad_weight, None, None


def _save_products(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    parts, x_source, x_destination, _ = inputs
    ctx.save_for_backward(*parts, x_source, x_destination)


def _products_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    *parts, x_source, x_destination = ctx.saved_tensors
    grad_source = grad_destination = None
    if ctx.needs_input_grad[1]:
        grad_source = propagate(transposed(parts), x_destination, grad, None, None)
    if ctx.needs_input_grad[2]:
        grad_destination = propagate(parts, x_source, grad, None, None)
    return [None] * len(parts), grad_source, grad_destination, None


propagate.register_autograd(_propagate_backward, setup_context=_save_propagation)
edge_products.register_autograd(_products_backward, setup_context=_save_products)
