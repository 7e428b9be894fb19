"""Anything with rows and columns as a table."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyg_mmgef._spelling import spelt
from pyg_mmgef.tables._arrow_table import ArrowTable, arrow, frame_to_arrow
from pyg_mmgef.tables._engine import connect, literal, reading, unglobbed
from pyg_mmgef.tables._files import PACKED, first_text, is_utf8
from pyg_mmgef.tables._json_table import JSONTable
from pyg_mmgef.tables._query_table import QueryTable, described
from pyg_mmgef.tables._text_table import Dialect, TextTable, guess_delimiter
from pyg_mmgef.tables.find_columns import close_match
from pyg_mmgef.tables.table import Table, listed

__all__ = ['DATABASES', 'open_table']

_DELIMITERS = {'.csv': ',', '.tsv': '\t', '.tab': '\t', '.inter': '\t', '.item': '\t'}
_WITHOUT_QUOTES = ('.inter', '.item')  # RecBole's files, in which quotes have no meaning
_JSON = ('.jsonl', '.ndjson', '.json')
_PARQUET = ('.parquet', '.pq')
DATABASES = ('.duckdb', '.ddb')
_KNOWN = (*_PARQUET, *_DELIMITERS, *_JSON, *DATABASES)
_TABS = {'\\t': '\t', 'tab': '\t'}


def open_table(
    source: Any,
    *,
    delimiter: str | None = None,
    quote: str | None = None,
    escape: str | None = None,
    encoding: str = 'utf-8',
    decimal: str = '.',
    columns: Sequence[str] | None = None,
    query: str | None = None,
    argument: str = 'source',
) -> Table:
    r"""Open files, an Arrow table, a data frame or a query as a table; nothing is read yet.

    A file's suffix gives its kind: Parquet (``.parquet``, ``.pq``), JSON (``.jsonl``, ``.ndjson``,
    ``.json``: an object a line, or one array of objects), a DuckDB database (``.duckdb``, with a
    ``query``), else text with a row a line. Text and JSON may be compressed (``.gz``, ``.zst``).

    Args:
        source: Path of a file; a pattern such as ``'orders/*.csv'``; a list of paths; a folder of
            files of one kind, of which Hive's ``name=value`` folders are columns if they hold
            Parquet; a data frame; an object with Arrow's ``__arrow_c_stream__``; or a
            :class:`Table`.
        delimiter: Column separator of text files, one to four characters; ``'\\t'`` spelt out is a
            tab. :obj:`None` means the one of the suffix (comma in ``.csv``, tab in ``.tsv``), or
            the one that splits the first lines into most columns. (default: :obj:`None`)
        quote: Quote of text files; ``''`` if quotes have no meaning. :obj:`None` means ``'"'``, but
            refuses files in which quotes join whole rows. (default: :obj:`None`)
        escape: What stands before a quote within quotes; :obj:`None` means another quote.
            (default: :obj:`None`)
        encoding: Python's name of the encoding of text files. (default: ``'utf-8'``)
        decimal: Decimal separator in numbers that are text. (default: ``'.'``)
        columns: Names of the columns of text files without a header. (default: :obj:`None`)
        query: SQL whose result is the table, for a DuckDB database. (default: :obj:`None`)
        argument: What messages call the table. (default: ``'source'``)

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If duckdb or pyarrow isn't installed.
        ValueError: If the kind of the source is unknown, it can't be read, or an option doesn't
            fit it.

    Example:
        >>> import pyarrow as pa
        >>> table = open_table(pa.table({'user': ['anna'], 'item': [7]}))
        >>> table.columns
        {'user': 'VARCHAR', 'item': 'BIGINT'}
    """
    if isinstance(source, Table):
        return source
    if hasattr(source, 'iloc') and hasattr(source, 'columns'):
        return ArrowTable(f'the data frame {spelt(argument)}', frame_to_arrow(source))
    if hasattr(source, '__arrow_c_stream__'):
        return ArrowTable(f'the table {spelt(argument)}', arrow().table(source))
    if isinstance(source, str | os.PathLike):
        paths = _found(argument, Path(source).expanduser())
    elif (
        isinstance(source, Sequence)
        and source
        and all(isinstance(part, str | os.PathLike) for part in source)
    ):
        paths = [path for part in source for path in _found(argument, Path(part).expanduser())]
    else:
        raise ValueError(
            f'{spelt(argument)} must be a path or a list of paths, an Arrow table or a data frame '
            f'(got {type(source).__name__})'
        )
    kinds = sorted({_kind(path) for path in paths})
    if len(kinds) > 1:
        raise ValueError(
            f'{spelt(argument)} names files of several kinds, {kinds}; give those of one'
        )
    (kind,) = kinds
    first = paths[0]
    name = f"'{first.name}' ({spelt(argument)})"
    if len(paths) > 1:
        name = f'{first.name!r} and {len(paths) - 1} more files ({spelt(argument)})'
    folder = first.parent
    if kind in DATABASES:
        if query is None:
            raise ValueError(
                f'{name} is a database; say what to read from it with {spelt("query")}, such as '
                "'select * from orders'"
            )
        return QueryTable(name, first, query)
    if query is not None:
        raise ValueError(f'{spelt("query")} is for a DuckDB database, but {name} is none')
    if columns is not None and kind in (*_PARQUET, *_JSON):
        raise ValueError(
            f'{spelt("columns")} names those of a text file without a header, but not of {name}'
        )
    if kind in _PARQUET:
        return _parquet(name, paths, folder)
    with reading(name):
        if kind in _JSON:
            return JSONTable(name, paths, encoding=encoding, folder=folder, decimal=decimal)
        if quote is None and kind in _WITHOUT_QUOTES:
            quote = ''
        delimiter = _delimiter(first, kind, _TABS.get(delimiter or '', delimiter), encoding)
        for option, sign, signs in (
            ('quote', quote, "one character of ASCII, or '' if quotes have no meaning"),
            ('escape', escape, 'one character of ASCII'),
        ):
            if sign is not None and len(sign.encode()) != 1 and (option, sign) != ('quote', ''):
                raise ValueError(f'{spelt(option)} must be {signs} (got {sign!r})')
        if columns is not None and not 0 < len(columns) == len(set(columns)):
            raise ValueError(
                f'{spelt("columns")} must give each column a name of its own '
                f'(got {listed(columns)})'
            )
        dialect = Dialect(delimiter, quote, escape, encoding)
        return TextTable(name, paths, dialect, names=columns, folder=folder, decimal=decimal)


def _found(argument: str, path: Path) -> list[Path]:
    """Return the files of a path, a pattern or a folder."""
    if path.is_file():
        return [path]
    if path.is_dir():
        files = [
            file
            for file in sorted(path.rglob('*'))
            if file.is_file() and _kind(file) in _KNOWN and file.name[0] not in '._'
        ]
        if not files:
            there = listed(sorted(file.name for file in path.iterdir()))
            raise FileNotFoundError(
                f'{spelt(argument)} is the folder {str(path)!r}, which holds no table but {there}'
            )
        return files
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)))
    files = [file for file in matches if file.is_file()]
    if files:
        return files
    near, there = '', 'its folder does not exist either'
    if path.parent.is_dir():
        names = sorted(file.name for file in path.parent.iterdir())
        near, there = close_match(path.name, names), f'its folder holds {listed(names)}'
    raise FileNotFoundError(
        f"{spelt(argument)} names {str(path)!r}, which doesn't exist{near}; {there}"
    )


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in PACKED]
    return suffixes[-1] if suffixes else ''


def _delimiter(path: Path, kind: str, given: str | None, encoding: str) -> str:
    if given is not None:
        if not 1 <= len(given.encode()) <= 4 or {*'\r\n'} & {*given}:
            raise ValueError(
                f"{spelt('delimiter')} must have one to four characters, such as ',' or '::' "
                f'(got {given!r})'
            )
        return given
    is_utf8(encoding)
    usual = _DELIMITERS.get(kind)
    first_line = first_text(path, encoding).partition('\n')[0]
    if usual is not None and usual in first_line:
        return usual
    delimiter = guess_delimiter(path, encoding) or usual
    if delimiter is None:
        known = ', '.join(_KNOWN)
        raise ValueError(
            f"its kind is unknown ({known}; '.gz' and '.zst' may follow), and its lines have no "
            f'separator in common; name it with {spelt("delimiter")}'
        )
    return delimiter


def _parquet(name: str, paths: Sequence[Path], folder: Path) -> Table:
    files = ', '.join(literal(unglobbed(path)) for path in paths)
    # Without the types of all files, values would be cast to those of the first: 4.5 to 4.
    sql = f'read_parquet([{files}], union_by_name=true)'
    with reading(name), connect() as connection:
        columns = described(connection, sql)
    return Table(name, columns, sql, folder=folder)
