"""Whether the ids of two tables meet, and what would make them."""

from pyg_mmgef.tables._engine import Connection
from pyg_mmgef.tables._numbering import IdColumn
from pyg_mmgef.tables.table import Table, count

__all__ = ['check_meeting']

_LEAST = 0.05
"""Share of the smaller table's ids that must be in the other one."""

_NUM_ROWS = 1000
"""Rows of the items in which other columns are looked at."""

_CHANGES = {
    'without leading zeros': r"regexp_replace(id, '^0+(.)', '\1')",
    'in lower case': 'lower(id)',
    "without '.0' at their ends": r"regexp_replace(id, '\.0+$', '')",
    'of their letters and digits alone': r"regexp_replace(lower(id), '[^\p{L}\p{N}]', '', 'g')",
    'of their digits alone, without leading zeros': r"regexp_replace(id, '[^0-9]|^0+', '', 'g')",
}


def check_meeting(
    connection: Connection, columns: list[IdColumn], items: Table, item_id: str
) -> None:
    """Raise an error if hardly an item of the interactions is in the table of items.

    Args:
        connection: The connection, with the tables ``items_0`` and ``items_1`` of the ids.
        columns: Both columns.
        items: The table of items.
        item_id: Its column of ids.

    Raises:
        ValueError: If so; it shows ids of both sides, and names a change by which they would meet,
            or another column of the items.
    """
    sizes = [count(connection, f'(SELECT DISTINCT row FROM items_{i})') for i in (0, 1)]
    num_meeting = _num_meeting(connection, 'row')
    if num_meeting >= _LEAST * min(sizes):
        return
    examples = [
        ', '.join(
            repr(value)
            for (value,) in connection.execute(
                f'SELECT id FROM items_{i} ANTI JOIN items_{1 - i} USING (row) ORDER BY row LIMIT 3'
            ).fetchall()
        )
        for i in (0, 1)
    ]
    numbers = {change: _num_meeting(connection, sql) for change, sql in _CHANGES.items()}
    best = max(numbers, key=numbers.__getitem__)
    if numbers[best] > max(num_meeting, _LEAST * min(sizes)):
        hint = f'; {numbers[best]:,} would meet if you wrote the ids of both tables {best}'
    else:
        hint = _other_column(connection, items, item_id)
    raise ValueError(
        f'of {sizes[0]:,} items in {columns[0].where} (such as {examples[0]}), {num_meeting:,} are '
        f'among the {sizes[1]:,} in {columns[1].where} (such as {examples[1]}); name '
        f'the columns that hold the same ids{hint}'
    )


def _num_meeting(connection: Connection, key: str) -> int:
    key = key.replace('id', 'id::VARCHAR')
    parts = [f'SELECT DISTINCT {key} AS key FROM items_{i}' for i in (0, 1)]
    return count(connection, f'({" INTERSECT ".join(parts)})', "key::VARCHAR <> ''")


def _other_column(connection: Connection, items: Table, item_id: str) -> str:
    """Return a hint at the column of the items that holds most ids of the interactions."""
    ids = {str(value) for (value,) in connection.execute('SELECT id FROM items_0').fetchall()}
    rows = items.sample(_NUM_ROWS)
    numbers = {
        column: sum(str(row[column]).strip() in ids for row in rows)
        for column in items.columns
        if column != item_id
    }
    best = max(numbers, key=numbers.__getitem__, default='')
    if numbers.get(best, 0) <= _LEAST * len(rows):
        return ''
    return (
        f'; column {best!r} of {items.name} holds ids of the interactions in {numbers[best]:,} of '
        f'its first {len(rows):,} rows'
    )
