"""Connections to DuckDB, and what its SQL needs of names and values."""

import importlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias
from uuid import uuid4

__all__ = ['Connection', 'connect', 'literal', 'quoted', 'reading', 'unglobbed']

Connection: TypeAlias = Any
"""A ``duckdb.DuckDBPyConnection``."""


def connect() -> Connection:
    """Return a new connection, which fetches nothing and keeps what exceeds half of memory on disk.

    Raises:
        ImportError: If duckdb isn't installed.
    """
    connection = _duckdb().connect(
        config={
            'autoinstall_known_extensions': 'false',
            'autoload_known_extensions': 'false',
            'python_enable_replacements': 'false',
            # Versions of DuckDB give files in one folder the same names in every process.
            'temp_directory': str(Path(tempfile.gettempdir(), f'pyg_mmgef-{uuid4().hex}')),
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    # The default limit is 80% of what there is; older versions of DuckDB take no percentage.
    ((limit,),) = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    size, unit = limit.split()
    connection.execute(f"SET memory_limit = '{float(size) * 5 / 8} {unit}'")
    return connection


def literal(value: str) -> str:
    """Return a string as SQL spells it."""
    return "'" + value.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Return the name of a column as SQL spells it."""
    return '"' + name.replace('"', '""') + '"'


def unglobbed(path: Path) -> str:
    """Return a path in which DuckDB finds no wildcard."""
    return ''.join(f'[{letter}]' if letter in '*?[' else letter for letter in str(path))


@contextmanager
def reading(name: str, *, ours: bool = True) -> Iterator[None]:
    """Turn errors into a :class:`ValueError` of one line that names the table.

    Args:
        name: The table's name in messages.
        ours: Whether to turn errors of Python, too, and not only DuckDB's.
            (default: :obj:`True`)
    """
    caught = (_duckdb().Error, ValueError, OSError, EOFError)
    try:
        yield
    except caught[: None if ours else 1] as error:
        (reason, *_) = str(error).splitlines() or [type(error).__name__]
        raise ValueError(f"{name} can't be read: {reason}") from error


def _duckdb() -> ModuleType:
    try:
        return importlib.import_module('duckdb')
    except ImportError as error:
        raise ImportError(
            'reading tables needs duckdb; install it with: pip install "pyg-mmgef[cli]"'
        ) from error
