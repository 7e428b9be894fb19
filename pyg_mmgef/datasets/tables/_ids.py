"""Numbering of ids that are read in batches, by their rank among all."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.datasets.tables._arrow import arrow

__all__ = ['DistinctIds', 'EncodedIds', 'IdEncoder', 'take_ids']

DistinctIds: TypeAlias = Any
"""Sorted distinct ids: an int64 array of NumPy, or a string array of Arrow."""

_WHOLE_NUMBER = r'^(0|-?[1-9][0-9]{0,17})(\.0+)?$'
_MIN_PENDING = 2**18


class EncodedIds(NamedTuple):
    """The rank of each id, in the order they were added, and the sorted distinct ids."""

    ranks: NDArray[np.int32]
    ids: DistinctIds


class IdEncoder:
    """Numbers ids in bounded memory: it keeps the distinct ids and one int32 per id.

    Each batch has its own distinct ids. They are merged when those of the pending batches outnumber
    the known ones, so the total time is linear in the number of ids.
    """

    def __init__(self) -> None:
        self._pending: list[Any] = []
        self._num_pending = 0
        self._known = arrow().array([], arrow().string())
        self._codes: list[NDArray[np.int32]] = []

    def add(self, indices: NDArray[np.int32], distinct: Any) -> None:
        """Add ids, given as indices into the distinct ids of their batch."""
        pa = arrow()
        self._pending.append(pa.DictionaryArray.from_arrays(indices, distinct, safe=False))
        self._num_pending += len(distinct)
        if self._num_pending >= max(_MIN_PENDING, len(self._known)):
            self._unite()

    def finish(self) -> EncodedIds:
        """Return the ranks: by value if all ids are integers, else by the order of strings."""
        self._unite()
        codes = np.concatenate([np.zeros(0, np.int32), *self._codes])
        self._codes.clear()
        used = np.flatnonzero(np.bincount(codes, minlength=len(self._known)))
        values = self._known.take(arrow().array(used))
        rank_of_used, ids = _rank(values)
        rank = np.zeros(len(self._known), np.int32)
        rank[used] = rank_of_used
        return EncodedIds(rank[codes], ids)

    def _unite(self) -> None:
        if not self._pending:
            return
        pa = arrow()
        empty = np.zeros(0, np.int32)
        known = pa.DictionaryArray.from_arrays(empty, self._known)
        united = pa.chunked_array([known, *self._pending]).unify_dictionaries()
        self._codes.extend(np.asarray(chunk.indices) for chunk in united.chunks[1:])
        self._known = united.chunk(united.num_chunks - 1).dictionary
        self._pending.clear()
        self._num_pending = 0


def take_ids(ids: DistinctIds, kept: NDArray[np.int64]) -> DistinctIds:
    """Return the ids at some positions."""
    return ids[kept] if isinstance(ids, np.ndarray) else ids.take(arrow().array(kept))


def _rank(values: Any) -> tuple[NDArray[np.int32], DistinctIds]:
    pa, pc = arrow(), arrow('compute')
    rank: NDArray[np.int32] = np.empty(len(values), np.int32)
    if len(values) and pc.all(pc.match_substring_regex(values, _WHOLE_NUMBER)).as_py():
        # '3.0' is what pandas writes for 3 in a column with gaps; both are the same id.
        numbers = pc.replace_substring_regex(values, r'\.0+$', '').cast(pa.int64())
        ids, inverse = np.unique(np.asarray(numbers), return_inverse=True)
        rank[:] = inverse.reshape(-1)
        return rank, ids
    order = np.asarray(pc.array_sort_indices(values))
    rank[order] = np.arange(len(values), dtype=np.int32)
    return rank, values.take(pa.array(order))
