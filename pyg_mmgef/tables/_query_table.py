"""The result of a query of a DuckDB database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyg_mmgef.tables._engine import Connection, connect, literal, quoted, reading
from pyg_mmgef.tables.table import Table

__all__ = ['QueryTable', 'described']


class QueryTable(Table):
    """The result of a query of a DuckDB database, which is only read.

    Args:
        name: Its name in messages.
        path: The database.
        query: The query.
    """

    def __init__(self, name: str, path: Path, query: str) -> None:
        self._path, self._query = path, query.strip().rstrip(';')
        with reading(name), connect() as connection, self._opened(connection) as rows_of:
            columns = described(connection, rows_of)
        super().__init__(name, columns, folder=path.parent)

    @contextmanager
    def _opened(self, connection: Connection) -> Iterator[str]:
        database = quoted(f'database_{id(self)}')
        connection.execute(
            f'ATTACH IF NOT EXISTS {literal(str(self._path))} AS {database} (READ_ONLY)'
        )
        connection.execute(f'USE {database}')
        yield f'(\n{self._query}\n)'  # Its last line may be a comment.


def described(connection: Connection, sql: str) -> dict[str, str]:
    """Return the columns of what stands behind ``FROM``, and their types."""
    rows = connection.execute(f'DESCRIBE SELECT * FROM {sql}').fetchall()
    return {row[0]: row[1] for row in rows}
