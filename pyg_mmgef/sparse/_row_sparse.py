from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['RowSparse']


class RowSparse:
    """A dense matrix that stores some rows; all others are zero.

    Args:
        x: The stored rows. Shape: ``[R, channels]``.
        rows: Their distinct row numbers, or :obj:`None` if all rows are stored. Shape: ``[R]``.
        num_rows: Number of rows of the matrix.
    """

    def __init__(self, x: Tensor, rows: Tensor | None, num_rows: int) -> None:
        self.x = x
        self.rows = rows
        self.num_rows = num_rows

    @cached_property
    def padded(self) -> Tensor:
        """The stored rows, contiguous, followed by a row of zeros unless all rows are stored."""
        return self.x.contiguous() if self.rows is None else F.pad(self.x, (0, 0, 0, 1))

    @cached_property
    def place(self) -> Tensor | None:
        """The position of each row in :attr:`padded`; :obj:`None` if all rows are stored."""
        if self.rows is None:
            return None
        num_given = self.rows.numel()
        place = torch.full((self.num_rows,), num_given, dtype=torch.int32)
        place[self.rows] = torch.arange(num_given, dtype=torch.int32)
        return place

    def dense(self) -> Tensor:
        """Return the matrix as a tensor. Shape: ``[num_rows, channels]``."""
        if self.rows is None:
            return self.x
        return self.x.new_zeros(self.num_rows, self.x.size(1)).index_copy_(0, self.rows, self.x)

    def select(self, rows: Tensor | None) -> Tensor:
        """Return a copy of some rows of the matrix; :obj:`None` means all."""
        dense = self.dense()
        if rows is not None:
            return dense.index_select(0, rows)
        return (
            dense if self.rows is not None else dense.clone(memory_format=torch.contiguous_format)
        )
