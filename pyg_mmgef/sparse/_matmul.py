"""Products of a sparse CSR matrix, of all its rows or of some: compiled, or by torch."""

import torch
from torch import Tensor

from pyg_mmgef.sparse._row_sparse import RowSparse

try:
    import pyg_mmgef.sparse._products as _products
except ImportError:  # Not compiled; torch computes the same, and what isn't read as well.
    _products = None  # type: ignore[assignment]

__all__ = ['HALF', 'multiply', 'sample', 'with_values']

HALF = torch.float16, torch.bfloat16
"""Types that no sparse product on the CPU has: compute in float32."""


def multiply(
    matrix: Tensor,
    x: Tensor | RowSparse,
    *,
    rows: Tensor | None = None,
    add: Tensor | RowSparse | None = None,
) -> Tensor:
    r"""Return :math:`\mathbf{A} \mathbf{x} + \mathbf{y}`, or only what is asked for of it.

    Args:
        matrix: The matrix :math:`\mathbf{A}` in CSR form, of the type of :obj:`x`.
            Shape: ``[M, N]``.
        x: The dense matrix. Shape: ``[N, channels]``.
        rows: The rows of the result to compute, distinct; :obj:`None` means all.
            (default: :obj:`None`)
        add: The summand :math:`\mathbf{y}`; :class:`RowSparse` only where all rows are computed.
            Shape: that of the result. (default: :obj:`None`)

    Returns:
        Shape: ``[M, channels]`` or ``[len(rows), channels]``.
    """
    x = _row_sparse(x)
    add = None if add is None else _row_sparse(add)
    if _is_compiled_for(matrix, x.x, x.x if add is None else add.x):
        return _multiply_compiled(matrix, x, rows, add)
    dense = x.dense()
    # `matrix @ x` would fill the result with zeros and copy it first, which costs as much again.
    out = dense.new_empty(matrix.size(0), dense.size(1))
    with torch.autocast(dense.device.type, enabled=False):
        torch.addmm(out, matrix, dense, beta=0, out=out)
    out = out if rows is None else out.index_select(0, rows)
    return out if add is None else out.add_(add.dense())


def sample(matrix: Tensor, left: Tensor, right: Tensor, *, rows: Tensor | None = None) -> Tensor:
    r"""Return :math:`\mathbf{left} \, \mathbf{right}^{\top}` where the matrix has entries.

    Args:
        matrix: A matrix in CSR form, of which only the structure is read. Shape: ``[M, N]``.
        left: Shape: ``[M, channels]``, or ``[len(rows), channels]``.
        right: Shape: ``[N, channels]``.
        rows: The rows that :obj:`left` holds, distinct; the entries of other rows are zero.
            :obj:`None` means all. (default: :obj:`None`)

    Returns:
        One number per entry, in the order of the matrix. Shape: ``[num_entries]``.
    """
    if _is_compiled_for(left, right) and matrix.device == left.device:
        return _sample_compiled(matrix, left.contiguous(), right.contiguous(), rows)
    num_rows, num_columns = matrix.shape
    num_entries = matrix.col_indices().numel()
    if rows is not None:
        left = left.new_zeros(num_rows, left.size(1)).index_copy_(0, rows, left)
    if num_entries > num_rows * num_columns:  # Repeated entries, which torch refuses.
        row = torch.repeat_interleave(matrix.crow_indices().diff())
        return (left[row] * right[matrix.col_indices()]).sum(dim=-1)
    zeros = with_values(matrix, left.new_zeros(num_entries))
    with torch.autocast(left.device.type, enabled=False):
        return torch.sparse.sampled_addmm(zeros, left.contiguous(), right.t(), beta=0.0).values()


def with_values(matrix: Tensor, values: Tensor) -> Tensor:
    """Return the CSR matrix with other values, which require no gradient."""
    # The structure is right by construction, so torch need not check it at every step.
    return torch.sparse_csr_tensor(
        matrix.crow_indices(),
        matrix.col_indices(),
        values,
        tuple(matrix.shape),
        check_invariants=False,
    )


def _is_compiled_for(*tensors: Tensor) -> bool:
    """Return whether all are of one type and on the CPU; compiled code trusts that they are."""
    dtype = tensors[0].dtype
    return (
        _products is not None
        and dtype in (torch.float32, torch.float64)
        and all(tensor.dtype == dtype and tensor.device.type == 'cpu' for tensor in tensors)
    )


def _row_sparse(x: Tensor | RowSparse) -> RowSparse:
    return x if isinstance(x, RowSparse) else RowSparse(x, None, x.size(0))


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _multiply_compiled(
    matrix: Tensor, x: RowSparse, rows: Tensor | None, add: RowSparse | None
) -> Tensor:
    rows = None if rows is None else rows.contiguous()
    num_rows = matrix.size(0) if rows is None else rows.numel()
    out = x.x.new_empty(num_rows, x.x.size(1))
    _products.multiply(
        matrix.crow_indices().data_ptr(),
        matrix.col_indices().data_ptr(),
        matrix.values().data_ptr(),
        x.padded.data_ptr(),
        _address(x.place),
        0 if add is None else add.padded.data_ptr(),
        0 if add is None else _address(add.place),
        _address(rows),
        out.data_ptr(),
        num_rows,
        out.size(1),
        out.dtype == torch.float64,
        torch.get_num_threads(),
    )
    return out


def _sample_compiled(matrix: Tensor, left: Tensor, right: Tensor, rows: Tensor | None) -> Tensor:
    rows = None if rows is None else rows.contiguous()
    num_entries = matrix.col_indices().numel()
    out = left.new_empty(num_entries) if rows is None else left.new_zeros(num_entries)
    _products.sample(
        matrix.crow_indices().data_ptr(),
        matrix.col_indices().data_ptr(),
        left.data_ptr(),
        right.data_ptr(),
        out.data_ptr(),
        _address(rows),
        left.size(0),
        left.size(1),
        left.dtype == torch.float64,
        torch.get_num_threads(),
    )
    return out
