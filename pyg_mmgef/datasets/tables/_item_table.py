"""Reader of the item table: the cells of some columns."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.datasets.tables._arrow import arrow
from pyg_mmgef.datasets.tables._columns import read_ids, read_texts
from pyg_mmgef.datasets.tables._ids import IdEncoder
from pyg_mmgef.datasets.tables._source import TableSource

__all__ = ['ItemRows', 'align', 'read_item_rows']


class ItemRows(NamedTuple):
    """The cells of the rows that have an id, by column, and counts for the report."""

    fields: dict[str, list[str | None]]
    report: dict[str, int]


def read_item_rows(
    source: TableSource, id_column: str, columns: Sequence[str], encoder: IdEncoder
) -> ItemRows:
    """Read columns of the items; lists become JSON.

    Args:
        source: The table.
        id_column: Column of the ids, which are added to the encoder.
        columns: The columns.
        encoder: Numbers the items.
    """
    out: dict[str, list[str | None]] = {column: [] for column in columns}
    num_read = num_malformed = num_without_id = num_broken = 0
    for batch in source.read([id_column, *columns]):
        num_read += batch.num_rows + batch.num_malformed
        num_malformed += batch.num_malformed
        if not batch.num_rows:
            continue
        where = f'column {id_column!r} of {source.name}'
        indices, distinct = read_ids(batch.columns[id_column], where)
        has_id = indices >= 0
        num_without_id += int((~has_id).sum())
        encoder.add(indices[has_id], distinct)
        rows = np.flatnonzero(has_id).tolist()
        for column, cells in out.items():
            where = f'column {column!r} of {source.name}'
            texts, broken = _read_cells(batch.columns[column], where)
            num_broken += broken
            cells.extend(texts[row] for row in rows)
    report = {
        'item rows read': num_read,
        'item rows that could not be parsed': num_malformed,
        'item rows without an id': num_without_id,
        'texts with invalid characters': num_broken,
    }
    return ItemRows(out, report)


def align(
    values: list[str | None], item_of_row: NDArray[np.int32], num_items: int
) -> list[str | None]:
    """Return the value of each item's first row.

    Args:
        values: One value per row of the table.
        item_of_row: The item of each row, ``-1`` for items that were dropped.
        num_items: Number of items.
    """
    stays = item_of_row >= 0
    items, first = np.unique(item_of_row[stays], return_index=True)
    out: list[str | None] = [None] * num_items
    rows = np.flatnonzero(stays)[first]
    for item, row in zip(items.tolist(), rows.tolist(), strict=True):
        out[item] = values[row]
    return out


def _read_cells(array: Any, where: str) -> tuple[list[str | None], int]:
    pa = arrow()
    if not pa.types.is_nested(array.type) or pa.types.is_dictionary(array.type):
        return read_texts(array, where)
    dumps = partial(json.dumps, ensure_ascii=False, default=str)
    return [None if value is None else dumps(value) for value in array.to_pylist()], 0
