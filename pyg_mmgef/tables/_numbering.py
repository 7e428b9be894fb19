"""Numbering of ids by their rank among all, also of two tables."""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.tables._cells import tidy_ids
from pyg_mmgef.tables._engine import Connection
from pyg_mmgef.tables.table import count, create

__all__ = ['DistinctIds', 'IdColumn', 'collect_ids', 'number_ids']

DistinctIds: TypeAlias = NDArray[np.int64] | list[str]
"""The sorted distinct ids: integers, or strings."""

_INTEGER = '(0|-?[1-9][0-9]{0,17})'
_SCIENTIFIC = r'[0-9][.,][0-9]+[eE]\+[0-9]{2,}'


class IdColumn(NamedTuple):
    """A column of ids in a connection.

    Args:
        table: Its table.
        name: Its name.
        is_text: Whether it holds strings, see :class:`~pyg_mmgef.tables._cells.IdCell`.
        where: What messages call it.
    """

    table: str
    name: str
    is_text: bool
    where: str

    @property
    def ids(self) -> str:
        """The table of its distinct ids, which :func:`collect_ids` creates."""
        return f'{self.table}_{self.name}s'


def collect_ids(connection: Connection, column: IdColumn) -> None:
    """Create the table of a column's distinct ids, and let missing ids of the column be null.

    Its columns are ``id``, as in the table, and ``text``, without blanks around it.
    """
    table, name = column.table, column.name
    ids = f'(SELECT DISTINCT {name} AS id FROM {table} WHERE {name} IS NOT NULL)'
    texts = tidy_ids(ids) if column.is_text else f'(SELECT id, id::VARCHAR AS text FROM {ids})'
    create(connection, column.ids, {'id': 'id', 'text': 'text'}, texts)
    if count(connection, column.ids, 'text IS NULL'):
        missing = f'(SELECT id FROM {column.ids} WHERE text IS NULL)'
        connection.execute(f'UPDATE {table} SET {name} = NULL WHERE {name} IN {missing}')
        connection.execute(f'DELETE FROM {column.ids} WHERE text IS NULL')


def drop_unused(connection: Connection, column: IdColumn) -> None:
    """Drop distinct ids that rows had which were dropped since."""
    connection.execute(
        f'DELETE FROM {column.ids} WHERE id NOT IN '
        f'(SELECT {column.name} FROM {column.table} WHERE {column.name} IS NOT NULL)'
    )


def number_ids(connection: Connection, into: str, columns: list[IdColumn]) -> DistinctIds:
    """Number the ids of one column, or of two columns that hold the same kind of ids.

    The number of an id is its rank: by value if all ids are integers of up to 18 digits, else by
    code points. ``3.0`` is the integer 3 where all ids are integers, and in a column in which every
    number is written like that, as programs do that keep a column with gaps as floating point.

    Args:
        connection: The connection.
        into: The tables ``<into>_0``, ``<into>_1`` are created, one for each column, with columns
            ``id`` and ``row``.
        columns: The columns, whose ids :func:`collect_ids` has collected.

    Returns:
        The distinct ids in the order of their numbers.

    Raises:
        ValueError: If ids are numbers in scientific notation, which has lost digits.
    """
    for column in columns:
        _check_digits(connection, column)
        _write_integers_as_such(connection, column.ids)
    everything = ' UNION ALL '.join(f'SELECT text FROM {column.ids}' for column in columns)
    are_integers = not count(
        connection, f'({everything})', rf"NOT regexp_full_match(text, '{_INTEGER}(\.0+)?')"
    )
    value = r"regexp_replace(text, '\.0+$', '')::BIGINT" if are_integers else 'text'
    create(
        connection,
        f'{into}_all',
        {'value': 'value', 'row': '(row_number() OVER (ORDER BY value) - 1)::INTEGER'},
        f'(SELECT DISTINCT {value} AS value FROM ({everything}))',
    )
    for index, column in enumerate(columns):
        ids = f'(SELECT id, {value} AS value FROM {column.ids})'
        numbered = f'{ids} JOIN {into}_all USING (value)'
        create(connection, f'{into}_{index}', {'id': 'id', 'row': 'row'}, numbered)
    found = connection.execute(f'SELECT value FROM {into}_all ORDER BY row').fetchnumpy()['value']
    return np.asarray(found, np.int64) if are_integers else found.tolist()


def _check_digits(connection: Connection, column: IdColumn) -> None:
    found = connection.execute(
        f"SELECT text FROM {column.ids} WHERE regexp_full_match(text, '{_SCIENTIFIC}') LIMIT 1"
    ).fetchall()
    if found:
        raise ValueError(
            f'{column.where} holds the id {found[0][0]!r}, a number in scientific notation: its '
            'digits are lost already, and several ids have become one; export the column as text'
        )


def _write_integers_as_such(connection: Connection, ids: str) -> None:
    """Drop the '.0' of ids if all numbers among them have one."""
    is_float = rf"regexp_full_match(text, '{_INTEGER}\.0')"
    if count(connection, ids, is_float) and not count(
        connection, ids, f"regexp_full_match(text, '{_INTEGER}')"
    ):
        connection.execute(f'UPDATE {ids} SET text = text[:-3] WHERE {is_float}')
