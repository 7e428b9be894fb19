"""Products with a sparse CSR matrix, for all rows or some, by the extension or by torch."""

import torch
from torch import Tensor

from pyg_mmgef._extension import address, load_extension
from pyg_mmgef.sparse._csr import csr_tensor
from pyg_mmgef.sparse._row_sparse import RowSparse

# Without the extension torch computes the same, but for all rows.
_products = load_extension('pyg_mmgef.sparse._products')

__all__ = ['HALF', 'multiply', 'sample', 'with_values']

HALF = torch.float16, torch.bfloat16
"""Types without sparse products on the CPU; callers compute in float32."""


def multiply(
    matrix: Tensor,
    x: Tensor | RowSparse,
    *,
    rows: Tensor | None = None,
    add: Tensor | RowSparse | None = None,
) -> Tensor:
    r"""Return :math:`\mathbf{A} \mathbf{x} + \mathbf{y}`, or some of its rows.

    Args:
        matrix: The matrix :math:`\mathbf{A}` in CSR form, of the type of :obj:`x`.
            Shape: ``[M, N]``.
        x: The dense matrix. Shape: ``[N, channels]``.
        rows: The rows of the result to compute, distinct; :obj:`None` means all.
            (default: :obj:`None`)
        add: The summand :math:`\mathbf{y}`; a :class:`RowSparse` only if all rows are computed.
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
    shape = matrix.size(0), matrix.size(1)
    return csr_tensor(matrix.crow_indices(), matrix.col_indices(), values, shape)


def _is_compiled_for(*tensors: Tensor) -> bool:
    """Return whether the extension can be used: it takes CPU tensors of one type only."""
    dtype = tensors[0].dtype
    return (
        _products is not None
        and dtype in (torch.float32, torch.float64)
        and all(tensor.dtype == dtype and tensor.device.type == 'cpu' for tensor in tensors)
    )


def _row_sparse(x: Tensor | RowSparse) -> RowSparse:
    return x if isinstance(x, RowSparse) else RowSparse(x, None, x.size(0))


def _matrix_addresses(matrix: Tensor, rows: Tensor | None) -> dict[str, int]:
    """Return the addresses of a CSR matrix and of the rows to compute, after checking both."""
    num_rows, num_entries = matrix.size(0), matrix.col_indices().numel()
    return {
        'start': address('start', matrix.crow_indices(), torch.int64, num_rows + 1),
        'source': address('source', matrix.col_indices(), torch.int64, num_entries),
        'rows': 0 if rows is None else address('rows', rows, torch.int64, rows.numel()),
    }


def _row_addresses(x: RowSparse, channels: int, names: tuple[str, str]) -> dict[str, int]:
    """Return the addresses of the stored rows of a matrix and of their positions."""
    padded, place = x.padded, x.place
    num_rows = padded.size(0) if place is not None else x.num_rows
    dtype = torch.int32
    return {
        names[0]: address(names[0], padded, x.x.dtype, num_rows, channels),
        names[1]: 0 if place is None else address(names[1], place, dtype, x.num_rows),
    }


def _multiply_compiled(
    matrix: Tensor, x: RowSparse, rows: Tensor | None, add: RowSparse | None
) -> Tensor:
    assert _products is not None
    rows = None if rows is None else rows.contiguous()
    num_rows, channels = matrix.size(0) if rows is None else rows.numel(), x.x.size(1)
    _check_rows('x', x, matrix.size(1))
    summand = {'add': 0, 'place_to_add': 0}
    if add is not None:
        _check_rows('add', add, num_rows)
        summand = _row_addresses(add, channels, ('add', 'place_to_add'))
    out = x.x.new_empty(num_rows, channels)
    _products.multiply(
        **_matrix_addresses(matrix, rows),
        **_row_addresses(x, channels, ('x', 'place')),
        **summand,
        weight=address('weight', matrix.values(), out.dtype, matrix.col_indices().numel()),
        out=out.data_ptr(),
        num_rows=num_rows,
        channels=channels,
        in_double=out.dtype == torch.float64,
        num_threads=torch.get_num_threads(),
    )
    return out


def _check_rows(name: str, x: RowSparse, num_rows: int) -> None:
    if x.num_rows != num_rows:
        raise ValueError(
            f"'{name}' must have {num_rows} rows, to fit the matrix (got {x.num_rows})"
        )


def _sample_compiled(matrix: Tensor, left: Tensor, right: Tensor, rows: Tensor | None) -> Tensor:
    assert _products is not None
    rows = None if rows is None else rows.contiguous()
    num_rows, channels = matrix.size(0) if rows is None else rows.numel(), right.size(1)
    num_entries = matrix.col_indices().numel()
    out = left.new_empty(num_entries) if rows is None else left.new_zeros(num_entries)
    _products.sample(
        **_matrix_addresses(matrix, rows),
        left=address('left', left, out.dtype, num_rows, channels),
        right=address('right', right, out.dtype, matrix.size(1), channels),
        out=out.data_ptr(),
        num_rows=num_rows,
        channels=channels,
        in_double=out.dtype == torch.float64,
        num_threads=torch.get_num_threads(),
    )
    return out
