"""Reader of the interaction table, in batches, with a count of every row."""

from collections import Counter
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.datasets.tables._columns import read_ids, read_numbers, read_times
from pyg_mmgef.datasets.tables._filters import in_k_core, is_kept_of_pair
from pyg_mmgef.datasets.tables._ids import IdEncoder
from pyg_mmgef.datasets.tables._source import TableSource

__all__ = ['InteractionRows', 'filter_rows', 'read_values']


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


class Values(NamedTuple):
    """Ratings and times of the rows, and counts for the report."""

    rating: NDArray[np.float32] | None
    time: NDArray[np.int64] | None
    report: dict[str, int]


def read_values(
    source: TableSource,
    columns: dict[str, str],
    users: IdEncoder,
    items: IdEncoder,
) -> Values:
    """Read the complete rows, and add their ids to the encoders.

    Args:
        source: The table.
        columns: The columns to read: ``user``, ``item`` and optionally ``rating`` and ``time``.
        users: Numbers the users.
        items: Numbers the items.
    """
    count: Counter[str] = Counter()
    kept: dict[str, list[NDArray[Any]]] = {key: [] for key in ('rating', 'time') if key in columns}
    where = {key: f'column {column!r} of {source.name}' for key, column in columns.items()}
    for batch in source.read(list(columns.values())):
        count['rows read'] += batch.num_rows + batch.num_malformed
        count['rows that could not be parsed'] += batch.num_malformed
        if not batch.num_rows:
            continue
        arrays = {key: batch.columns[column] for key, column in columns.items()}
        user, distinct_users = read_ids(arrays['user'], where['user'])
        item, distinct_items = read_ids(arrays['item'], where['item'])
        valid = [('rows without a user id', user >= 0), ('rows without an item id', item >= 0)]
        values: dict[str, NDArray[Any]] = {}
        if 'rating' in columns:
            values['rating'], is_rating = read_numbers(arrays['rating'], where['rating'])
            is_rating &= np.abs(np.where(is_rating, values['rating'], 0)) <= _LARGEST
            valid.append(('rows without a valid rating', is_rating))
        if 'time' in columns:
            values['time'], is_time = read_times(arrays['time'], where['time'])
            valid.append(('rows without a valid time', is_time))
        complete = np.ones(batch.num_rows, bool)
        for reason, is_valid in valid:
            count[reason] += int((complete & ~is_valid).sum())
            complete &= is_valid
        users.add(user[complete], distinct_users)
        items.add(item[complete], distinct_items)
        for key, column in values.items():
            dtype = np.float32 if key == 'rating' else np.int64
            kept[key].append(column[complete].astype(dtype, copy=False))
    dtypes = {'rating': np.float32, 'time': np.int64}
    joined = {k: np.concatenate([np.zeros(0, dtypes[k]), *v]) for k, v in kept.items()}
    names = ['rows read', 'rows that could not be parsed', *dict.fromkeys(_reasons(columns))]
    return Values(joined.get('rating'), joined.get('time'), {name: count[name] for name in names})


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


_LARGEST = float(np.finfo(np.float32).max)


def _reasons(columns: dict[str, str]) -> list[str]:
    reasons = ['rows without a user id', 'rows without an item id']
    if 'rating' in columns:
        reasons.append('rows without a valid rating')
    if 'time' in columns:
        reasons.append('rows without a valid time')
    return reasons
