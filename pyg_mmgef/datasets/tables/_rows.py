"""The interactions that are kept."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.datasets.tables._filters import in_k_core, is_kept_of_pair

__all__ = ['InteractionRows', 'filter_rows']


class InteractionRows(NamedTuple):
    """The interactions that are kept; each array has one entry per row."""

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rating: NDArray[np.float32] | None
    time: NDArray[np.int64] | None

    def select(self, mask: NDArray[np.bool_]) -> 'InteractionRows':
        """Return the rows where the mask is true."""
        if mask.all():
            return self
        return InteractionRows(*(None if v is None else v[mask] for v in self))  # type: ignore[arg-type]


def filter_rows(
    rows: InteractionRows,
    num_users: int,
    num_items: int,
    duplicates: str,
    min_rating: float | None,
    k_core: int,
) -> tuple[InteractionRows, NDArray[np.bool_], dict[str, int]]:
    """Keep one row per user-item pair, then rows with a sufficient rating, then the k-core.

    Args:
        rows: The rows to filter.
        num_users: Number of users.
        num_items: Number of items.
        duplicates: ``'last'``, ``'first'`` or ``'max'``, see
            :class:`~pyg_mmgef.datasets.InteractionTables`.
        min_rating: Drop rows rated below this; :obj:`None` drops none.
        k_core: Minimum number of interactions of each user and item; zero drops none.

    Returns:
        The rows that are kept, a mask of the items that the k-core removed, and the number of rows
        that each step removed.
    """
    sizes = [len(rows.user)]
    preference = [rows.rating, rows.time] if duplicates == 'max' else [rows.time]
    known = tuple(values for values in preference if values is not None)
    mask = is_kept_of_pair(rows.user, rows.item, num_items, known, first=duplicates == 'first')
    rows = rows.select(mask)
    sizes.append(len(rows.user))
    if min_rating is not None and rows.rating is not None:
        rows = rows.select(rows.rating >= np.float32(min_rating))
    sizes.append(len(rows.user))
    removed = np.zeros(num_items, bool)
    if k_core > 0:
        removed[rows.item] = True
        rows = rows.select(in_k_core(rows.user, rows.item, num_users, num_items, k_core))
        removed[rows.item] = False
    sizes.append(len(rows.user))
    names = ('repeated user-item pairs', 'rows below min_rating', 'rows outside of the k-core')
    removed_by = (before - after for before, after in pairwise(sizes))
    return rows, removed, dict(zip(names, removed_by, strict=True))
