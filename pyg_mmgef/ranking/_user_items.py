"""The items of each user, such as those that a ranking leaves out."""

import torch
from torch import Tensor

__all__ = ['UserItems']


class UserItems:
    """Interactions in CSR form: a row per user, a column per item to score.

    Args:
        key: Interactions, from :func:`pair_keys`. Shape: ``[E]``.
        num_users: Number of users.
        num_items: Number of items.
        columns: The item of each column; interactions with other items are dropped.
            Shape: ``[C]``.
    """

    def __init__(self, key: Tensor, num_users: int, num_items: int, columns: Tensor) -> None:
        place = torch.full((num_items,), -1, dtype=torch.long, device=key.device)
        place[columns] = torch.arange(columns.numel(), dtype=torch.int64, device=key.device)
        column = place[key % num_items]
        kept = column >= 0
        first = torch.arange(num_users + 1, dtype=torch.int64, device=key.device) * num_items
        self._start = torch.searchsorted(key[kept], first)
        self._column = column[kept]

    def of(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Return the position in :obj:`users` and the column of each of their interactions."""
        start = self._start[users]
        degree = self._start[users + 1] - start
        row = torch.arange(users.numel(), dtype=torch.int64, device=users.device)
        row = row.repeat_interleave(degree)
        shift = start - (degree.cumsum(0) - degree)
        entry = torch.arange(row.numel(), dtype=torch.int64, device=users.device)
        return row, self._column[entry + shift[row]]
