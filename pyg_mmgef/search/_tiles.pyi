NO_LIMIT: int
"""The limit of a list that is not full."""

def offer(
    *,
    score: int,
    row: int,
    column: int,
    entry: int,
    count: int,
    limit: int,
    busy: int,
    itemsize: int,
    num_rows: int,
    num_columns: int,
    num_lists: int,
    width: int,
    capacity: int,
    exclude_self: bool,
    both: bool,
) -> None:
    """Update the lists with a tile of scores.

    Args:
        score: Address of ``[num_rows, num_columns]`` floats of ``itemsize`` bytes.
        row: Address of ``num_rows`` int32, rows of the tile.
        column: Address of ``num_columns`` int32, ids of its columns, -1 for padding.
        entry: Address of ``[num_lists, capacity]`` int64.
        count: Address of ``num_lists`` int32.
        limit: Address of ``num_lists`` int32.
        busy: Address of ``num_lists`` bytes.
        itemsize: 2 for bfloat16, 4 for float32.
        num_rows: Rows of the tile.
        num_columns: Columns of the tile.
        num_lists: Number of lists; no row may be larger.
        width: Entries that are kept of a list.
        capacity: Room of a list.
        exclude_self: Skip columns whose id is the row's.
        both: Also offer the rows to the lists of the columns.
    """

def best(
    *,
    entry: int,
    count: int,
    num_lists: int,
    width: int,
    capacity: int,
    start: int,
    stop: int,
    score: int,
    column: int,
) -> None:
    """Write the best entries of the lists from ``start`` to ``stop``.

    Args:
        entry: See :func:`offer`.
        count: See :func:`offer`.
        num_lists: See :func:`offer`.
        width: See :func:`offer`.
        capacity: See :func:`offer`.
        start: The first list.
        stop: The list after the last.
        score: Address of ``[stop - start, width]`` float32 to write to.
        column: Address of ``[stop - start, width]`` int64 to write to.
    """
