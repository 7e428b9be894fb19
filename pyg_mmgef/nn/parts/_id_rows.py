"""Rows of distinct ids: computed once each, then repeated as often as their id was asked for."""

import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from pyg_mmgef.sparse._csr import csr_tensor
from pyg_mmgef.validate import check_ids

__all__ = ['distinct', 'restore', 'select']


def distinct(
    name: str, ids: Tensor | None, num_nodes: int, end: str
) -> tuple[Tensor | None, Tensor | None]:
    """Return the distinct ids in increasing order, and the position of every id among them.

    Args:
        name: The argument's name, for the message.
        ids: Node ids of any shape; :obj:`None`, for all nodes, stays :obj:`None`.
        num_nodes: Number of nodes.
        end: The kind of node, such as ``'user'``, for the message.

    Raises:
        ValueError: If :obj:`ids` are no integers or out of range.
    """
    if ids is None:
        return None, None
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
        found = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise ValueError(f"'{name}' must be a tensor of {end} ids (got {found})")
    ids = ids.long()
    check_ids(name, ids.reshape(-1), num_nodes, end)
    # Marking the nodes takes a quarter of the time of torch.unique, which sorts the ids.
    is_asked = torch.zeros(num_nodes, dtype=torch.bool, device=ids.device)
    is_asked[ids] = True
    rows = is_asked.nonzero().view(-1)
    position = torch.empty(num_nodes, dtype=torch.long, device=ids.device)
    position[rows] = torch.arange(rows.numel(), device=ids.device)
    return rows, position[ids]


def restore(z: Tensor, position: Tensor | None) -> Tensor:
    """Return the row of every id, in the shape of the ids.

    Raises:
        ValueError: If the rows are sparse and the ids no vector.
    """
    if position is None:
        return z
    if z.layout == torch.sparse_csr:
        if position.dim() != 1:
            raise ValueError(
                'the embeddings are sparse matrices, so ids must be a vector '
                f'(got ids of shape {list(position.shape)})'
            )
        return select(z, position)
    # Its gradient adds up in one order, whatever the number of threads; that of `z[position]`
    # doesn't.
    return select(z, position.reshape(-1)).view(*position.shape, z.size(1))


def select(x: Tensor, rows: Tensor | None) -> Tensor:
    """Return some rows of a dense or sparse CSR matrix, or all for :obj:`None`."""
    if rows is None:
        return x
    return _csr_rows(x, rows) if x.layout == torch.sparse_csr else x.index_select(0, rows)


def _csr_rows(matrix: Tensor, rows: Tensor) -> Tensor:
    start = matrix.crow_indices()[rows]
    degree = matrix.crow_indices()[rows + 1] - start
    pointer = cumsum(degree)
    entry = torch.arange(int(pointer[-1]), device=matrix.device)
    entry += (start - pointer[:-1]).repeat_interleave(degree)
    shape = rows.numel(), matrix.size(1)
    return csr_tensor(pointer, matrix.col_indices()[entry], matrix.values()[entry], shape)
