"""Numbering of ids by their rank among all, also of two tables."""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.tables._engine import Connection
from pyg_mmgef.tables.table import count, create

__all__ = ['DistinctIds', 'Side', 'number_ids']

DistinctIds: TypeAlias = NDArray[np.int64] | list[str]
"""The sorted distinct ids: integers, or strings."""

_INTEGER = '(0|-?[1-9][0-9]{0,17})'
_SCIENTIFIC = r'[0-9][.,][0-9]+[eE]\+[0-9]{2,}'


class Side(NamedTuple):
    """A column of ids: its table and name in the connection, and its name in messages."""

    table: str
    column: str
    where: str


def number_ids(connection: Connection, name: str, sides: list[Side]) -> DistinctIds:
    """Number the ids of one column, or of two columns that hold the same kind of ids.

    The number of an id is its rank: by value if all ids are integers of up to 18 digits, else by
    code points. ``3.0`` is the integer 3 where all ids are integers, and in a column in which every
    number is written like that, as programs do that keep a column with gaps as floating point.

    Args:
        connection: The connection.
        name: The tables ``<name>_0``, ``<name>_1`` are created, one for each side, with columns
            ``id`` and ``row``.
        sides: The columns.

    Returns:
        The distinct ids in the order of their numbers.

    Raises:
        ValueError: If ids are numbers in scientific notation, which has lost digits.
    """
    for index, side in enumerate(sides):
        ids = f'(SELECT DISTINCT {side.column} AS id FROM {side.table})'
        create(
            connection,
            f'{name}_raw_{index}',
            {'id': 'id', 'text': 'id::VARCHAR'},
            f'{ids} WHERE id IS NOT NULL',
        )
        _tidy(connection, f'{name}_raw_{index}', side.where)
    everything = ' UNION ALL '.join(f'SELECT text FROM {name}_raw_{i}' for i in range(len(sides)))
    are_integers = not count(
        connection, f'({everything})', rf"NOT regexp_full_match(text, '{_INTEGER}(\.0+)?')"
    )
    value = r"regexp_replace(text, '\.0+$', '')::BIGINT" if are_integers else 'text'
    create(
        connection,
        f'{name}_all',
        {'value': 'value', 'row': '(row_number() OVER (ORDER BY value) - 1)::INTEGER'},
        f'(SELECT DISTINCT {value} AS value FROM ({everything}))',
    )
    for index in range(len(sides)):
        raw = f'(SELECT id, {value} AS value FROM {name}_raw_{index})'
        numbered = f'{raw} JOIN {name}_all USING (value)'
        create(connection, f'{name}_{index}', {'id': 'id', 'row': 'row'}, numbered)
    found = connection.execute(f'SELECT value FROM {name}_all ORDER BY row').fetchnumpy()['value']
    return np.asarray(found, np.int64) if are_integers else found.tolist()


def _tidy(connection: Connection, table: str, where: str) -> None:
    """Refuse ids that have lost digits, and write integers without '.0'."""
    scientific = connection.execute(
        f"SELECT text FROM {table} WHERE regexp_full_match(text, '{_SCIENTIFIC}') LIMIT 1"
    ).fetchone()
    if scientific is not None:
        raise ValueError(
            f'{where} holds the id {scientific[0]!r}, a number in scientific notation: its digits '
            'are lost already, and several ids have become one; export the column as text'
        )
    written_as_floats = rf"regexp_full_match(text, '{_INTEGER}\.0')"
    if count(connection, table, written_as_floats) and not count(
        connection, table, f"regexp_full_match(text, '{_INTEGER}')"
    ):
        connection.execute(f'UPDATE {table} SET text = text[:-3] WHERE {written_as_floats}')
