"""Tables in memory: Arrow, pandas, and what gives Arrow's streams."""

import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from pyg_mmgef.tables._engine import Connection, connect
from pyg_mmgef.tables.table import (
    MALFORMED,
    Account,
    PlacedTable,
    Table,
    create,
    drop_malformed,
    numbered,
)

__all__ = ['HALF', 'UNREADABLE', 'ArrowTable', 'Record', 'RecordTable', 'arrow', 'frame_to_arrow']

Record: TypeAlias = dict[str, Any]
HALF, UNREADABLE = 'FLOAT16', 'unreadable'
"""Kinds of columns that DuckDB lacks."""

_BATCH = 2**16  # records
_STRINGS = ('string', 'large_string', 'string_view')


def arrow(part: str = '') -> ModuleType:
    """Return ``pyarrow``, or a part of it such as ``'csv'``.

    Args:
        part: The part. (default: ``''``)

    Raises:
        ImportError: If it isn't installed.
    """
    try:
        return importlib.import_module(f'pyarrow.{part}' if part else 'pyarrow')
    except ImportError as error:
        raise ImportError(
            'reading tables needs pyarrow; install it with: pip install "pyg-mmgef[cli]"'
        ) from error


class ArrowTable(PlacedTable):
    """A table in memory.

    Args:
        name: Its name in messages.
        table: The Arrow table.
    """

    def __init__(self, name: str, table: Any) -> None:
        pa = arrow()
        names = numbered(table.column_names)
        self._table = pa.table(
            [_readable(column) for column in table.columns], [f'c{i}' for i in range(len(names))]
        )
        with connect() as connection:
            kinds = [
                _kind(connection, column, original)
                for column, original in zip(self._table.columns, table.columns, strict=True)
            ]
        self._unreadable = [f'c{i}' for i, kind in enumerate(kinds) if kind.startswith(UNREADABLE)]
        self._table = self._table.drop_columns(self._unreadable)
        super().__init__(name, dict(zip(names, kinds, strict=True)))

    def cell(self, column: str) -> str:
        """Return the SQL of a column's cell."""
        cell = super().cell(column)
        return 'NULL' if cell in self._unreadable else cell

    @contextmanager
    def _opened(self, connection: Connection) -> Iterator[str]:
        view = f'arrow_{id(self)}'
        connection.register(view, self._table)
        yield view


class RecordTable(Table):
    """A table whose rows a function parses one by one.

    Args:
        name: Its name in messages.
        columns: Names of its columns, which hold texts, or lists of texts, which become JSON.
        records: Function that yields the rows, :obj:`None` for one that can't be parsed.
        folder: Folder of the file. (default: :obj:`None`)
    """

    def __init__(
        self,
        name: str,
        columns: Sequence[str],
        records: Callable[[], Iterable[Record | None]],
        *,
        folder: Path | None = None,
    ) -> None:
        self._records = records
        super().__init__(name, dict.fromkeys(columns, 'VARCHAR'), folder=folder)

    @contextmanager
    def _opened(self, connection: Connection) -> Iterator[str]:
        pa = arrow()
        view = f'records_{id(self)}'
        schema = pa.schema(
            [*((name, pa.string()) for name in self.columns), (MALFORMED, pa.bool_())]
        )
        connection.register(view, pa.RecordBatchReader.from_batches(schema, self._batches(schema)))
        yield view

    def _batches(self, schema: Any) -> Iterator[Any]:
        records = iter(self._records())
        while rows := list(islice(records, _BATCH)):
            columns = [
                [None if row is None else _text(row.get(name)) for row in rows]
                for name in self.columns
            ]
            malformed = [row is None for row in rows]
            yield arrow().record_batch([*columns, malformed], schema)

    def _read(self, connection: Connection, into: str, cells: Mapping[str, str]) -> Account:
        cells = {**cells, MALFORMED: MALFORMED}
        with self._opened(connection) as rows_of:
            num_rows = create(connection, into, cells, rows_of)
        return Account(num_rows, drop_malformed(connection, into))


def frame_to_arrow(frame: Any) -> Any:
    """Return a pandas data frame as an Arrow table; columns that Arrow can't hold become texts."""
    pa = arrow()
    columns = [_frame_column(frame.iloc[:, index]) for index in range(frame.shape[1])]
    return pa.table(columns, [str(column) for column in frame.columns])


def _frame_column(series: Any) -> Any:
    pa = arrow()
    try:
        array = pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        # Numbers and strings in one column, or objects that Arrow doesn't know.
        texts = [_text(value) for value in series.where(series.notna(), None)]
        return pa.array(texts, pa.string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _text(value: Any) -> str | None:
    """Return a value as text, lists and dictionaries as JSON."""
    if value is None:
        return None
    if isinstance(value, (dict, list, tuple)):
        value = json.dumps(value, ensure_ascii=False, default=_plain)
    return str(value).encode('utf-8', 'replace').decode()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, 'tolist') else str(value)


def _readable(column: Any) -> Any:
    """Return a column as DuckDB can read it: strings in UTF-8, and no number of two bytes."""
    pa = arrow()
    if pa.types.is_float16(column.type):
        return column.cast(pa.float32())
    if any(getattr(pa.types, f'is_{kind}')(column.type) for kind in _STRINGS):
        try:
            column.validate(full=True)
        except ValueError:
            cells = column.cast(pa.binary()).to_pylist()
            return pa.array([None if c is None else c.decode('utf-8', 'replace') for c in cells])
    return column


def _kind(connection: Connection, column: Any, original: Any) -> str:
    pa = arrow()
    if pa.types.is_float16(original.type):
        return HALF
    try:
        connection.register('one_column', pa.table({'c': column[:0]}))
        ((_, kind, *_),) = connection.execute('DESCRIBE one_column').fetchall()
    except Exception:  # DuckDB has many names for what it doesn't know.
        return f'{UNREADABLE} {original.type}'
    return kind
