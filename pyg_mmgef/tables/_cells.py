"""Cells as ids, numbers, times and texts: SQL that is null where a cell has none."""

from typing import NamedTuple

from pyg_mmgef.tables._arrow_table import HALF, UNREADABLE
from pyg_mmgef.tables._engine import literal
from pyg_mmgef.tables.table import Table

__all__ = [
    'MISSING',
    'UNDECODED',
    'IdCell',
    'event_cell',
    'id_cell',
    'is_json',
    'number_cell',
    'text_cell',
    'tidy_ids',
    'time_cell',
    'time_of_text',
    'where',
]

MISSING = ('', 'nan', 'NaN', 'NAN', 'None', 'null', 'NULL', '<NA>', 'NaT')
"""Strings that programs write for a missing value."""

UNDECODED = '\ufffd'
"""What stands for bytes that have no meaning in the encoding of a file."""

_BLANKS = ''.join(letter for letter in map(chr, range(2**16)) if letter.isspace())
_BLANK_ENDS = r'^[\s\pZ\x1c-\x1f\x{85}]|[\s\pZ\x1c-\x1f\x{85}]$'
_INTEGERS = ('TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'UTINYINT', 'USMALLINT', 'UINTEGER')
_WIDE = ('UBIGINT', 'HUGEINT', 'UHUGEINT')
_EXACT = {HALF: 2**11, 'FLOAT': 2**24, 'DOUBLE': 2**53}
"""The size from which on a floating point number skips integers."""

_TIMES = ('DATE', 'TIMESTAMP')
_NO_NUMBERS = ('TIME', 'TIME_NS', 'TIME WITH TIME ZONE', 'INTERVAL', 'UUID', 'BIT')


class IdCell(NamedTuple):
    """SQL of an id, and of a value that can't be one, null elsewhere.

    Args:
        id: The id as it is in the table.
        is_text: Whether it is a string, which :func:`tidy_ids` has to change.
        refused: The value; the empty string if there is none. (default: ``''``)
    """

    id: str
    is_text: bool
    refused: str = ''


def id_cell(table: Table, column: str) -> IdCell:
    """Return the SQL of an id: a number if the column holds integers, else a string.

    Raises:
        ValueError: If the type of the column can't be an id.
    """
    cell, kind = table.cell(column), _kind(table, column)
    if kind in _INTEGERS:
        return IdCell(f'{cell}::BIGINT', is_text=False)
    if kind in _EXACT:
        is_odd = f'NOT isfinite({cell}) OR abs({cell}) >= {_EXACT[kind]} OR {cell} <> trunc({cell})'
        return IdCell(
            f'CASE WHEN NOT isnan({cell}) THEN TRY_CAST({cell} AS BIGINT) END',
            is_text=False,
            refused=f'CASE WHEN NOT isnan({cell}) AND ({is_odd}) THEN {cell}::VARCHAR END',
        )
    if kind == 'JSON':
        # {"$oid": "..."} is how MongoDB writes an id.
        of_mongo = f'json_extract_string({cell}, \'$."$oid"\')'
        kinds = ('OBJECT', 'ARRAY', 'BOOLEAN')
        is_nested = ' OR '.join(f'json_type({cell}) = {literal(name)}' for name in kinds)
        return IdCell(
            f"coalesce({of_mongo}, {cell} ->> '$')",
            is_text=True,
            refused=f'CASE WHEN ({is_nested}) AND {of_mongo} IS NULL THEN {cell}::VARCHAR END',
        )
    if kind == 'BOOLEAN' or _is_nested(kind):
        raise ValueError(f'{where(table, column)} holds {kind}; ids must be strings or integers')
    return IdCell(_as_text(cell, kind), is_text=True)


def tidy_ids(ids: str) -> str:
    """Return the SQL of a table of strings ``id``, with each id as ``text``.

    A text has no blanks around it, and is null if the id is missing.
    """
    # Each step is a query, so that it is computed once. Trimming other blanks than spaces takes
    # long, and hardly an id needs it.
    trimmed = (
        f'SELECT id, CASE WHEN regexp_matches(id, {literal(_BLANK_ENDS)}) '
        f'THEN trim(id, {literal(_BLANKS)}) ELSE id END AS text FROM {ids}'
    )
    missing = ' '.join(f'WHEN {literal(word)} THEN NULL' for word in MISSING)
    known = f'SELECT id, CASE text {missing} ELSE text END AS text FROM ({trimmed})'
    whole = f'CASE WHEN NOT contains(text, {literal(UNDECODED)}) THEN text END'
    return f'(SELECT id, {whole} AS text FROM ({known}))'


def number_cell(table: Table, column: str) -> str:
    """Return the SQL of a number as float32, null where a cell has none.

    Raises:
        ValueError: If the type of the column can't be a number, such as dates.
    """
    cell, kind = table.cell(column), _kind(table, column)
    if kind.startswith(_TIMES) or kind in _NO_NUMBERS or _is_nested(kind):
        raise ValueError(f'{where(table, column)} holds {kind}, not numbers')
    if kind == 'BOOLEAN':
        return f'{cell}::INTEGER::FLOAT'
    if not _is_text(kind):
        return f'TRY_CAST({cell} AS FLOAT)'
    text = _as_text(cell, kind)
    number = text if table.decimal == '.' else f"replace({text}, {literal(table.decimal)}, '.')"
    flag = f"CASE lower(trim({text})) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"
    return f'coalesce(TRY_CAST({number} AS FLOAT), {flag})'


def time_cell(table: Table, column: str) -> str:
    """Return the SQL of a time as an integer, null where a cell has none.

    Numbers are rounded down; dates, also as ISO 8601, become seconds since 1970, in UTC unless
    they name a time zone.

    Raises:
        ValueError: If the type of the column can't be a time.
    """
    cell, kind = table.cell(column), _kind(table, column)
    if kind == 'BOOLEAN' or kind in _NO_NUMBERS or _is_nested(kind):
        raise ValueError(f'{where(table, column)} holds {kind}, not times')
    if kind.startswith(_TIMES):
        return f'TRY_CAST(floor(epoch({cell})) AS BIGINT)'
    if _is_text(kind):
        return time_of_text(_as_text(cell, kind), table.decimal)
    if kind in _INTEGERS or kind in _WIDE:
        return f'TRY_CAST({cell} AS BIGINT)'
    return f'TRY_CAST(floor({cell}) AS BIGINT)'


def time_of_text(text: str, decimal: str = '.') -> str:
    """Return the SQL of a time that is written as a number or a date."""
    number = text if decimal == '.' else f"replace({text}, {literal(decimal)}, '.')"
    # Integers aren't read as floating point numbers, which hold fewer digits.
    integer = f"CASE WHEN NOT contains({number}, '.') THEN TRY_CAST({number} AS BIGINT) END"
    real = f'TRY_CAST(floor(TRY_CAST({number} AS DOUBLE)) AS BIGINT)'
    # Ruby, which shops are written in, leaves a blank before the offset: '12:30:00 +0100'.
    iso = f"regexp_replace(trim({text}), ' ([+-][0-9]{{2}}(:?[0-9]{{2}})?)$', '\\1')"
    date = f'TRY_CAST({iso} AS TIMESTAMPTZ)'
    return f'coalesce({integer}, {real}, TRY_CAST(floor(epoch({date})) AS BIGINT))'


def event_cell(table: Table, column: str) -> str:
    """Return the SQL of the name of a kind of event."""
    return f'trim({_as_text(table.cell(column), _kind(table, column))})'


def text_cell(table: Table, column: str) -> str:
    """Return the SQL of a text, which is JSON if :func:`is_json` says so."""
    cell, kind = table.cell(column), _kind(table, column)
    return f'to_json({cell})::VARCHAR' if is_json(table, column) else _as_text(cell, kind)


def is_json(table: Table, column: str) -> bool:
    """Whether the cells of a column are JSON, or become JSON as they are nested."""
    kind = table.columns[column]
    return kind == 'JSON' or _is_nested(kind)


def _as_text(cell: str, kind: str) -> str:
    if kind == 'BLOB':
        return f'TRY(decode({cell}))'
    return f"({cell} ->> '$')" if kind == 'JSON' else f'{cell}::VARCHAR'


def _kind(table: Table, column: str) -> str:
    kind = table.columns[column]
    if kind.startswith(UNREADABLE):
        raise ValueError(
            f'{where(table, column)} holds {kind.removeprefix(UNREADABLE).strip()}, which cannot '
            'be read; convert it to strings or numbers'
        )
    return kind


def where(table: Table, column: str) -> str:
    """Return how messages call a column."""
    return f'column {column!r} of {table.name}'


def _is_text(kind: str) -> bool:
    return kind in ('VARCHAR', 'JSON', 'BLOB', 'UUID', '"NULL"') or kind.startswith('ENUM')


def _is_nested(kind: str) -> bool:
    return kind.endswith(']') or kind.startswith(('STRUCT', 'MAP', 'UNION'))
