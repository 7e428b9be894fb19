from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['RowSparse']


class RowSparse:
    """A matrix of which some rows are given and all others are zero.

    Args:
        x: The rows. Shape: ``[R, channels]``.
        rows: Their distinct ids, or :obj:`None` if all are given. Shape: ``[R]``.
        num_rows: The number of rows of the matrix.
    """

    def __init__(self, x: Tensor, rows: Tensor | None, num_rows: int) -> None:
        self.x = x
        self.rows = rows
        self.num_rows = num_rows

    @cached_property
    def padded(self) -> Tensor:
        """The rows in one piece of memory, and below them a row of zeros if not all are given."""
        return self.x.contiguous() if self.rows is None else F.pad(self.x, (0, 0, 0, 1))

    @cached_property
    def place(self) -> Tensor | None:
        """The row of :attr:`padded` for every row, or :obj:`None` if all are given."""
        if self.rows is None:
            return None
        num_given = self.rows.numel()
        place = torch.full((self.num_rows,), num_given, dtype=torch.int32)
        place[self.rows] = torch.arange(num_given, dtype=torch.int32)
        return place

    def dense(self) -> Tensor:
        """Return the matrix."""
        if self.rows is None:
            return self.x
        return self.x.new_zeros(self.num_rows, self.x.size(1)).index_copy_(0, self.rows, self.x)

    def take(self, rows: Tensor | None) -> Tensor:
        """Return a copy of some rows of the matrix, or of all."""
        dense = self.dense()
        if rows is not None:
            return dense.index_select(0, rows)
        return (
            dense if self.rows is not None else dense.clone(memory_format=torch.contiguous_format)
        )
