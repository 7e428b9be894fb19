"""Lines of text files that DuckDB can't read, and refuses one by one."""

from pyg_mmgef.tables._engine import Connection
from pyg_mmgef.tables.table import one_row

__all__ = ['IGNORED', 'LONGEST_LINE', 'NOT_DECODED', 'STORED', 'clear', 'num_rejected', 'rejected']

LONGEST_LINE = 2**22
"""Bytes that a row may have."""

_LINES, _SCANS = 'pyg_mmgef_rejected_lines', 'pyg_mmgef_rejecting_scans'
IGNORED = f'ignore_errors=true, max_line_size={LONGEST_LINE}'
"""Options of ``read_csv`` that leave such lines out."""

STORED = (
    f"store_rejects=true, rejects_table='{_LINES}', rejects_scan='{_SCANS}', rejects_limit=0, "
    f'max_line_size={LONGEST_LINE}'
)
"""Options of ``read_csv`` that leave them out and list them."""

NOT_DECODED = "error_type = 'INVALID ENCODING'"
"""Condition of lines that aren't UTF-8."""

# A line with several faults is listed several times, and some with the empty lines before it.
_ROWS = (
    '(SELECT DISTINCT ON (scan_id, file_id, line) line, error_type, '
    f'trim(csv_line, chr(10) || chr(13)) AS csv_line FROM {_LINES})'
)


def clear(connection: Connection) -> None:
    """Forget the lines of an earlier scan."""
    for table in (_LINES, _SCANS):
        connection.execute(f'DROP TABLE IF EXISTS {table}')


def rejected(connection: Connection, condition: str) -> tuple[int, str] | None:
    """Return the number and the text of a line that fulfils a condition, if there is one."""
    found = connection.execute(
        f'SELECT line, csv_line FROM {_ROWS} WHERE {condition} ORDER BY line LIMIT 1'
    ).fetchall()
    return found[0] if found else None


def num_rejected(connection: Connection) -> int:
    """Return the number of lines, of which a row that couldn't be parsed may have several.

    Raises:
        ValueError: If a line is too long.
    """
    too_long = rejected(connection, "error_type = 'LINE SIZE OVER MAXIMUM'")
    if too_long is not None:
        raise ValueError(
            f'the row in line {too_long[0]} has more than {LONGEST_LINE:,} bytes; a quote that is '
            'never closed may be the cause'
        )
    lines = "1 + length(csv_line) - length(replace(csv_line, chr(10), ''))"
    (number,) = one_row(connection, f'SELECT coalesce(sum({lines}), 0) FROM {_ROWS}')
    return int(number)
