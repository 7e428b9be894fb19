"""Local numbers of nodes, by a compiled hash table or, equally, by sorting."""

import numpy as np
import torch
from torch import Tensor

from pyg_mmgef._extension import address, load_extension

_neighbors = load_extension('pyg_mmgef.loader._neighbors')

__all__ = ['Numbering']

CAPACITY = 2**10


class Numbering:
    """Number keys from 0 on, in the order in which they first appear.

    Time and memory follow the number of keys, not how large they are.
    """

    def __init__(self) -> None:
        self._keys = torch.empty(CAPACITY, dtype=torch.int64, device='cpu')
        self._table = _empty_table(CAPACITY)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def keys(self) -> Tensor:
        """The distinct keys by their numbers."""
        return self._keys[: self._size]

    def __call__(self, keys: Tensor) -> Tensor:
        """Return the number of each key, new numbers for new keys.

        Args:
            keys: Numbers that are not negative, of int64. Shape: ``[N]``.
        """
        return self._by_sorting(keys) if _neighbors is None else self._by_table(keys)

    def _by_table(self, keys: Tensor) -> Tensor:
        assert _neighbors is not None
        keys = keys.contiguous()
        numbers = torch.empty_like(keys)
        done, (num_keys,) = 0, keys.shape
        progress = torch.empty(2, dtype=torch.int64, device='cpu')
        while done < num_keys:
            if 2 * self._size >= len(self._table):
                self._grow()
            left, rest, size = num_keys - done, keys[done:], self._size
            fresh = torch.empty(min(left, len(self._table)), dtype=torch.int64, device='cpu')
            _neighbors.number(
                keys=address('keys', rest, torch.int64, left),
                table=address('table', self._table, torch.int64, len(self._table), 2),
                numbers=numbers[done:].data_ptr(),
                nodes=fresh.data_ptr(),
                progress=progress.data_ptr(),
                num_keys=left,
                capacity=len(self._table),
                num_nodes=size,
            )
            step, new_size = progress.tolist()
            self._append(fresh[: new_size - size])
            done += step
        return numbers

    def _grow(self) -> None:
        keys, self._size = self.keys.clone(), 0
        self._table = _empty_table(4 * len(self._table))
        self._by_table(keys)

    def _by_sorting(self, keys: Tensor) -> Tensor:
        known, order = np.sort(self.keys.numpy()), np.argsort(self.keys.numpy())
        distinct, first, inverse = np.unique(keys.numpy(), return_index=True, return_inverse=True)
        place = np.minimum(np.searchsorted(known, distinct), max(self._size - 1, 0))
        is_new = known[place] != distinct if self._size else np.ones(len(distinct), dtype=bool)
        numbers = np.empty(len(distinct), dtype=np.int64)
        numbers[~is_new] = order[place[~is_new]]
        appearance = np.argsort(first[is_new])
        numbers[np.flatnonzero(is_new)[appearance]] = self._size + np.arange(len(appearance))
        self._append(torch.from_numpy(distinct[is_new][appearance]))
        return torch.from_numpy(numbers[inverse])

    def _append(self, keys: Tensor) -> None:
        size = self._size + keys.numel()
        if size > self._keys.numel():
            grown = torch.empty(2 * size, dtype=torch.int64, device='cpu')
            grown[: self._size] = self.keys
            self._keys = grown
        self._keys[self._size : size] = keys
        self._size = size


def _empty_table(capacity: int) -> Tensor:
    return torch.full((capacity, 2), -1, dtype=torch.int64, device='cpu')
