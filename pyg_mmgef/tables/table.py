"""A table that DuckDB can read."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pyg_mmgef.tables._engine import Connection, connect, quoted, reading

__all__ = [
    'MALFORMED',
    'Account',
    'PlacedTable',
    'Table',
    'count',
    'create',
    'drop_malformed',
    'listed',
    'numbered',
    'one_row',
]

MALFORMED = 'is_malformed'
"""Column that marks the rows that could not be parsed."""

_ZONED = 'TIMESTAMP WITH TIME ZONE'


class Account(NamedTuple):
    """What became of the lines of a table.

    Args:
        num_read: Number of rows.
        num_malformed: Number of rows that could not be parsed. (default: ``0``)
        num_inner_lines: Number of line breaks within values. (default: ``0``)
        malformed: One of the rows that could not be parsed. (default: ``''``)
    """

    num_read: int
    num_malformed: int = 0
    num_inner_lines: int = 0
    malformed: str = ''


class Table:
    """A table that DuckDB reads; :func:`~pyg_mmgef.tables.open_table` makes it.

    Args:
        name: Its name in messages.
        columns: Its columns and their DuckDB types. Columns of text files are ``'VARCHAR'``, those
            of JSON files ``'JSON'``.
        sql: What stands behind ``FROM``.
        folder: Folder of the file, to which names of pictures are relative. (default: :obj:`None`)
        decimal: Decimal separator of numbers that are text. (default: ``'.'``)
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, str],
        sql: str = '',
        *,
        folder: Path | None = None,
        decimal: str = '.',
    ) -> None:
        self.name, self.columns, self.folder = name, dict(columns), folder
        self.decimal = decimal
        self._sql = sql

    def sample(self, num_rows: int) -> list[dict[str, Any]]:
        """Return the first rows as Python values, by the names of the columns.

        Args:
            num_rows: How many rows at most.

        Raises:
            ValueError: If the table can't be read.
        """
        cells = ', '.join(map(self._fetched, self.columns))
        with reading(self.name), connect() as connection, self._opened(connection) as rows_of:
            rows = connection.execute(f'SELECT {cells} FROM {rows_of} LIMIT {num_rows}').fetchall()
        return [
            {
                name: _value(cell, kind)
                for (name, kind), cell in zip(self.columns.items(), row, strict=True)
            }
            for row in rows
        ]

    def distinct(self, column: str) -> list[Any]:
        """Return the distinct values of a column that aren't missing.

        Args:
            column: The column's name.

        Raises:
            ValueError: If the table can't be read.
        """
        cell = self._fetched(column)
        with reading(self.name), connect() as connection, self._opened(connection) as rows_of:
            rows = connection.execute(
                f'SELECT DISTINCT {cell} FROM {rows_of} WHERE {cell} IS NOT NULL'
            ).fetchall()
        return [_value(row[0], self.columns[column]) for row in rows]

    def read(self, connection: Connection, into: str, cells: Mapping[str, str]) -> Account:
        """Create a table of a connection from this one, and account for its rows.

        Args:
            connection: The connection.
            into: Name of the new table.
            cells: SQL of each column of the new table, made of :meth:`cell`.

        Raises:
            ValueError: If the table can't be read.
        """
        with reading(self.name):
            return self._read(connection, into, cells)

    def cell(self, column: str) -> str:
        """Return the SQL of a column's cell."""
        return quoted(column)

    def _fetched(self, column: str) -> str:
        cell = self.cell(column)
        # DuckDB 1 needs pytz to return times with a zone. The zone of a connection is UTC.
        return f'{cell}::TIMESTAMP' if self.columns[column] == _ZONED else cell

    def _read(self, connection: Connection, into: str, cells: Mapping[str, str]) -> Account:
        with self._opened(connection) as rows_of:
            return Account(create(connection, into, cells, rows_of))

    @contextmanager
    def _opened(self, connection: Connection) -> Iterator[str]:
        """Give what stands behind ``FROM``, while it can be read."""
        yield self._sql

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.name!r}, {self.columns})'


class PlacedTable(Table):
    """A table in which SQL names columns by their places.

    Names that differ in case alone are one to DuckDB.
    """

    @cached_property
    def _places(self) -> dict[str, str]:
        return {column: f'c{place}' for place, column in enumerate(self.columns)}

    def cell(self, column: str) -> str:
        """Return the SQL of a column's cell."""
        return self._places[column]


def create(connection: Connection, into: str, cells: Mapping[str, str], sql: str) -> int:
    """Create a table from columns of another one, and return the number of its rows."""
    columns = ', '.join(f'{cell} AS {name}' for name, cell in cells.items())
    (number,) = one_row(
        connection, f'CREATE OR REPLACE TEMP TABLE {into} AS SELECT {columns} FROM {sql}'
    )
    return number


def one_row(connection: Connection, query: str) -> tuple[Any, ...]:
    """Return the row of a query that has one, and end the query."""
    (row,) = connection.execute(query).fetchall()
    return row


def count(connection: Connection, table: str, condition: str = 'true') -> int:
    """Return the number of rows of a table that fulfil a condition."""
    (number,) = one_row(connection, f'SELECT count(*) FROM {table} WHERE {condition}')
    return number


def drop_malformed(connection: Connection, table: str) -> int:
    """Drop the rows that are marked as :data:`MALFORMED`, and return their number."""
    number = count(connection, table, MALFORMED)
    if number:
        connection.execute(f'DELETE FROM {table} WHERE {MALFORMED}')
    return number


def listed(names: Iterable[str], limit: int = 20) -> str:
    """Return names as a list for a message, the first ones of many."""
    names = list(names)
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return f'[{", ".join(map(repr, names[:limit]))}]{more}'


def numbered(names: Iterable[str]) -> list[str]:
    """Return names of columns, with numbers behind those that are repeated."""
    out: list[str] = []
    for name in names:
        number, free = 1, name
        while free in out:
            number += 1
            free = f'{name} ({number})'
        out.append(free)
    return out


def _value(cell: Any, kind: str) -> Any:
    if kind == 'JSON' and cell is not None:
        with suppress(ValueError, RecursionError):  # thousands of digits, or of brackets
            return json.loads(cell)
    return cell
