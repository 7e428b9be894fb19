"""Tables that are the result of a query, read from SQLite and PostgreSQL by ADBC."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pyg_mmgef.tables._engine import quoted

__all__ = ['DatabaseQuery', 'read_database', 'without_password']

_SQLITE, _SUFFIXES = 'sqlite:///', ('.sqlite', '.sqlite3', '.db')
_POSTGRESQL = ('postgresql://', 'postgres://')
_FORMS = (
    "'sqlite:///shop.db', a path that ends in .sqlite, .sqlite3 or .db, or "
    "'postgresql://user@host/database'"
)
# Between the user's name and the last '@', and among the options.
_PASSWORD = re.compile(r'(?<=://)([^:/@]*):(.*)(?=@)|(?<=[?&])(?:ssl)?password=([^&]*)&?', re.I)
# A column of SQLite may hold values of several types; as text they have one. The driver takes a
# column that begins with many NULLs for integers, so these become empty.
_SQLITE_TEXT = "iif(typeof({0}) = 'blob', lower(hex({0})), coalesce(CAST({0} AS TEXT), ''))"
_POSTGRESQL_TEXT = '({0})::text'


def read_database(uri: str, query: str) -> 'DatabaseQuery':
    """Return the result of a query as a table for :class:`~pyg_mmgef.datasets.InteractionTables`.

    .. code-block:: python

        orders = read_database('sqlite:///shop.db', 'SELECT customer, sku FROM orders')
        dataset = InteractionTables(orders, user='customer', item='sku')

    The database isn't changed: the file of SQLite is opened for reading only, and the transaction
    in PostgreSQL is never committed. Needs the drivers of ADBC (``pip install
    "pyg-mmgef[database]"``).

    Args:
        uri: ``'sqlite:///shop.db'`` (a path from the root has a fourth slash), the path of a file
            that ends in ``.sqlite``, ``.sqlite3`` or ``.db``, or
            ``'postgresql://user@host/database'``. PostgreSQL also takes the password from
            ``PGPASSWORD`` or the file ``~/.pgpass``.
        query: A query in SQL.

    Raises:
        FileNotFoundError: If the file of SQLite doesn't exist.
        ImportError: If the drivers aren't installed.
        ValueError: If the kind of database is unknown. When the result is read: if the database
            can't be reached, or refuses the query.
    """
    return DatabaseQuery(uri, query)


class DatabaseQuery:
    """A query; whoever takes Arrow's streams runs it, and gets its result.

    Integers, floating point numbers, truth values, texts, dates and times of PostgreSQL keep their
    types, as do arrays of these. Its other types become text, such as ``numeric``, ``uuid``,
    ``json`` and ``bytea``. From SQLite everything becomes text, ``NULL`` an empty one.

    Args:
        uri: The database, see :func:`read_database`.
        query: The query.
    """

    def __init__(self, uri: str, query: str) -> None:
        self.uri = without_password(uri)
        """Where the database is, without a password."""
        self.query = query.strip().rstrip(';')
        self._secret_uri = uri
        self._driver, self._address = _driver(uri)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Run the query, and return its result as a stream."""
        try:
            with self._driver.connect(self._address) as connection, connection.cursor() as cursor:
                cursor.execute(f'SELECT * FROM (\n{self.query}\n) AS result LIMIT 0')
                columns = ', '.join(map(self._column, cursor.fetch_arrow_table().schema))
                cursor.execute(f'SELECT {columns} FROM (\n{self.query}\n) AS result')
                result = cursor.fetch_arrow_table()
        except (self._driver.Error, OSError) as error:
            raise ValueError(f'the query to {self.uri!r} failed: {self._said(error)}') from None
        return result.__arrow_c_stream__(requested_schema)

    def _column(self, field: Any) -> str:
        name = quoted(field.name)
        if self._address.startswith(_POSTGRESQL):
            return name if _is_plain(field.type) else f'{_POSTGRESQL_TEXT.format(name)} AS {name}'
        return f'{_SQLITE_TEXT.format(name)} AS {name}'

    def _said(self, error: Exception) -> str:
        """Return the first line of a driver's message, without passwords."""
        line = re.sub(r'^[A-Z_]+: ', '', str(error).split('\n', 1)[0])
        for secret in _secrets(self._secret_uri):
            line = line.replace(secret, '***')
        return line

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.uri!r}, {self.query!r})'


def without_password(uri: str) -> str:
    """Return the address of a database without the password in it.

    Example:
        >>> without_password('postgresql://anna:secret@host/shop?sslmode=require')
        'postgresql://anna@host/shop?sslmode=require'
    """
    return _PASSWORD.sub(lambda found: found[1] or '', uri).rstrip('?&')


def _secrets(uri: str) -> list[str]:
    """Return what must not be shown of an address: the passwords, and their parts."""
    whole = [found[2] or found[3] or '' for found in _PASSWORD.finditer(uri)]
    parts = [part for secret in whole for part in re.split(r'[@:/?#&=]', secret)]
    found = {*whole, *parts, *map(unquote, whole)}
    return sorted((secret for secret in found if len(secret) > 1), key=len, reverse=True)


def _driver(uri: str) -> tuple[Any, str]:
    """Return the driver for a database, and the address for it."""
    if uri.startswith(_POSTGRESQL):
        return _import('adbc_driver_postgresql.dbapi'), uri
    if not (uri.startswith(_SQLITE) or uri.endswith(_SUFFIXES)):
        raise ValueError(f'a database must be given as {_FORMS} (got {without_password(uri)!r})')
    path = Path(uri.removeprefix(_SQLITE)).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"the database {str(path)!r} doesn't exist")
    return _import('adbc_driver_sqlite.dbapi'), f'{path.resolve().as_uri()}?mode=ro'


def _import(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f'reading a database needs {module.split(".")[0]}; install it with: '
            'pip install "pyg-mmgef[database]"'
        ) from error


def _is_plain(kind: Any) -> bool:
    """Return whether a type of Arrow is one that PostgreSQL has and Arrow means the same by."""
    types = import_module('pyarrow').types
    if types.is_list(kind):
        return _is_plain(kind.value_type)
    plain = ('boolean', 'integer', 'floating', 'string', 'timestamp', 'date')
    return any(getattr(types, f'is_{name}')(kind) for name in plain)
