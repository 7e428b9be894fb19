"""Cells of the item table, in the order of the items."""

import numpy as np
from numpy.typing import NDArray

__all__ = ['align']


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
