"""Tables (files, Arrow, pandas) as streams of batches of Arrow columns."""

import gzip
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from pyg_mmgef.datasets.tables._arrow import arrow

__all__ = ['Batch', 'TableSource', 'find_column', 'open_lines', 'open_table', 'records_to_batches']

_DELIMITERS = {'.csv': ',', '.tsv': '\t', '.tab': '\t', '.inter': '\t', '.item': '\t'}
_NAME_DELIMITER = "give the column separator with 'delimiter', or for 'items' with 'item_delimiter'"
_WITHOUT_QUOTES = ('.inter', '.item')  # RecBole's files, in which quotes have no meaning
_JSON = ('.jsonl', '.ndjson', '.json')
_PARQUET = ('.parquet', '.pq')
_BLOCK = 2**24  # bytes of a CSV file in memory at a time; also the longest row
_BATCH = 2**18  # rows
_NUM_PEEKED = 10_000


class Batch(NamedTuple):
    """Some rows of a table: an Arrow array per column, and the number of unreadable rows."""

    columns: dict[str, Any]
    num_rows: int
    num_malformed: int = 0


class TableSource(NamedTuple):
    """A table that is read in batches.

    Args:
        name: Name of the table in error messages.
        columns: Names of its columns.
        read: Function that yields batches of the given columns.
        folder: Folder of the file, to which names of pictures are relative. (default: :obj:`None`)
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[Sequence[str]], Iterator[Batch]]
    folder: Path | None = None


Record: TypeAlias = dict[str, Any]


def open_table(
    argument: str, source: Any, delimiter: str | None = None, encoding: str = 'utf-8'
) -> TableSource:
    """Open a path, an Arrow table, a pandas data frame or similar as a table.

    Args:
        argument: The argument's name, for error messages.
        source: Path of a file, whose suffix gives its kind, or of a folder of Parquet files; or a
            data frame; or an object with Arrow's ``__arrow_c_stream__``.
        delimiter: Column separator of a text file; :obj:`None` guesses it from the suffix.
            (default: :obj:`None`)
        encoding: Encoding of a text file. (default: ``'utf-8'``)

    Raises:
        FileNotFoundError: If the file doesn't exist.
        ValueError: If the kind of the source is unknown, or it can't be read.
    """
    if isinstance(source, TableSource):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _open_path(argument, Path(source).expanduser(), delimiter, encoding)
    if hasattr(source, 'iloc') and hasattr(source, 'columns'):
        return _open_frame(argument, source)
    if hasattr(source, '__arrow_c_stream__'):
        return _open_arrow(argument, arrow().table(source))
    raise ValueError(
        f"'{argument}' must be a path, an Arrow table or a data frame (got {type(source).__name__})"
    )


def find_column(source: TableSource, argument: str, name: str) -> str:
    """Return the column with a name; ``user_id`` also finds RecBole's ``user_id:token``.

    Args:
        source: The table.
        argument: The name of the argument that names the column, for error messages.
        name: The name of the column.

    Raises:
        ValueError: If there is none, or more than one.
    """
    found = [column for column in source.columns if column == name]
    if not found:
        found = [column for column in source.columns if column.strip().split(':')[0] == name]
    if len(found) == 1:
        return found[0]
    problem = 'which does not exist' if not found else f'of which there are {len(found)}'
    hint = ''
    if len(source.columns) == 1:
        hint = f'; if that is a whole line, {_NAME_DELIMITER}'
    raise ValueError(
        f"'{argument}' names the column {name!r} of {source.name}, {problem}; it has the columns "
        f'{list(source.columns)}{hint}'
    )


def open_lines(path: Path) -> BinaryIO:
    """Open a file for reading, unpacking it if its name ends in ``.gz``."""
    if path.suffix == '.gz':
        return gzip.open(path, 'rb')  # type: ignore[return-value]
    return open(path, 'rb')


def records_to_batches(
    records: Iterable[Record | None], columns: Sequence[str], size: int = 2**16
) -> Iterator[Batch]:
    """Collect records into batches of strings; :obj:`None` counts as an unreadable row."""
    values: dict[str, list[str | None]] = {column: [] for column in columns}
    num_rows = num_malformed = 0
    for record in records:
        if record is None:
            num_malformed += 1
            continue
        for column in columns:
            values[column].append(_plain_text(record.get(column)))
        num_rows += 1
        if num_rows == size:
            yield _string_batch(values, num_rows, num_malformed)
            values = {column: [] for column in columns}
            num_rows = num_malformed = 0
    if num_rows or num_malformed:
        yield _string_batch(values, num_rows, num_malformed)


def _open_path(argument: str, path: Path, delimiter: str | None, encoding: str) -> TableSource:
    if path.is_dir():
        return _open_parquet(argument, path, _parquet_files(argument, path))
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob('*'))[:20] if path.parent.is_dir() else None
        there = 'its folder does not exist either' if near is None else f'its folder holds {near}'
        raise FileNotFoundError(f"'{argument}' names {str(path)!r}, which doesn't exist; {there}")
    suffixes = [s.lower() for s in path.suffixes if s != '.gz']
    kind = suffixes[-1] if suffixes else ''
    if kind in _PARQUET:
        return _open_parquet(argument, path, [path])
    if kind in _JSON:
        return _open_json_lines(argument, path, encoding)
    if delimiter is not None or kind in _DELIMITERS:
        quote = '"' if kind not in _WITHOUT_QUOTES else False
        return _open_csv(argument, path, delimiter or _DELIMITERS[kind], quote, encoding)
    known = ', '.join([*_PARQUET, *_DELIMITERS, *_JSON])
    raise ValueError(
        f"'{argument}' is {path.name!r}, whose kind is unknown ({known}; '.gz' may follow); for "
        f'another text file {_NAME_DELIMITER}'
    )


def _parquet_files(argument: str, folder: Path) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in _PARQUET)
    if not files:
        there = sorted(p.name for p in folder.iterdir())[:20]
        raise FileNotFoundError(
            f"'{argument}' is the folder {str(folder)!r}, which holds no Parquet file but {there}"
        )
    return files


def _named(argument: str, path: Path) -> str:
    return f"'{path.name}' ('{argument}')"


def _open_parquet(argument: str, path: Path, files: list[Path]) -> TableSource:
    parquet, name = arrow('parquet'), _named(argument, path)

    def read(columns: Sequence[str]) -> Iterator[Batch]:
        for file in files:
            yield from read_file(file, list(dict.fromkeys(columns)))

    def read_file(file: Path, columns: list[str]) -> Iterator[Batch]:
        try:
            with parquet.ParquetFile(file) as opened:
                lacking = sorted(set(columns) - set(opened.schema_arrow.names))
                if lacking:
                    raise ValueError(f"it lacks the columns {lacking} of '{files[0].name}'")
                for batch in opened.iter_batches(_BATCH, columns=columns):
                    yield _as_batch(batch)
        except (ValueError, OSError) as error:
            raise ValueError(f"{_named(argument, file)} can't be read: {error}") from error

    try:
        names = parquet.read_schema(files[0]).names
    except (ValueError, OSError) as error:
        raise ValueError(f"{name} can't be read as Parquet: {error}") from error
    return TableSource(name, tuple(names), read, path if path.is_dir() else path.parent)


def _open_csv(
    argument: str, path: Path, delimiter: str, quote: str | bool, encoding: str
) -> TableSource:
    pa, csv, name = arrow(), arrow('csv'), _named(argument, path)
    skipped: list[int] = []

    def skip(row: Any) -> str:
        # A stray quote joins several lines to one row.
        skipped.append(1 + row.text.count('\n'))
        return 'skip'

    def reader(columns: Sequence[str] | None) -> Any:
        skipped.clear()
        convert = {} if columns is None else {'include_columns': list(dict.fromkeys(columns))}
        return csv.open_csv(
            path,
            csv.ReadOptions(block_size=_BLOCK, encoding=encoding),
            csv.ParseOptions(
                delimiter=delimiter,
                quote_char=quote,
                newlines_in_values=bool(quote),
                invalid_row_handler=skip,
            ),
            # All columns are read as text, so that no value changes the type of the others.
            csv.ConvertOptions(
                column_types=dict.fromkeys(columns or (), pa.string()), check_utf8=False, **convert
            ),
        )

    def read(columns: Sequence[str]) -> Iterator[Batch]:
        last = names[-1]
        tail = None
        try:
            opened = reader([*columns, last])
            while True:
                try:
                    batch = opened.read_next_batch()
                except StopIteration:
                    break
                num_malformed, batch_columns = sum(skipped), _as_batch(batch)
                skipped.clear()
                if batch.num_rows:
                    tail = batch_columns.columns[last][-1].cast(pa.binary()).as_py()
                yield batch_columns._replace(num_malformed=num_malformed)
            if skipped:
                yield Batch({}, 0, sum(skipped))
        except (ValueError, OSError, LookupError) as error:
            raise ValueError(f"{name} can't be read: {error}") from error
        if quote and tail is not None and b'\n' in tail and _last_byte(path) != b'"':
            raise ValueError(
                f'{name} ends inside of a quoted value, which begins {tail[:40]!r}; a quote is '
                'never closed'
            )

    try:
        names = tuple(reader(None).schema.names)
    except (ValueError, OSError, LookupError) as error:
        raise ValueError(f"{name} can't be read: {error}") from error
    return TableSource(name, names, read, path.parent)


def _last_byte(path: Path) -> bytes:
    tail = b''
    with open_lines(path) as file:
        while chunk := file.read(2**20):
            tail = (tail + chunk)[-4096:]
    return tail.rstrip()[-1:]


def _open_json_lines(argument: str, path: Path, encoding: str) -> TableSource:
    name = _named(argument, path)

    def records() -> Iterator[Record | None]:
        try:
            with open_lines(path) as file:
                for number, line in enumerate(file):
                    if number == 0:
                        line = line.removeprefix(b'\xef\xbb\xbf')
                        if line.lstrip().startswith(b'['):
                            raise ValueError('it is one JSON array; write one object a line')
                    if line.strip():
                        yield _parse_json(line, encoding)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{name} can't be read: {error}") from error

    columns: dict[str, None] = {}
    for record, _ in zip(records(), range(_NUM_PEEKED), strict=False):
        columns.update(dict.fromkeys(record or ()))
    return TableSource(
        name, tuple(columns), lambda wanted: records_to_batches(records(), wanted), path.parent
    )


def _parse_json(line: bytes, encoding: str) -> Record | None:
    try:
        record = json.loads(line.decode(encoding))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _open_arrow(argument: str, table: Any) -> TableSource:
    def read(columns: Sequence[str]) -> Iterator[Batch]:
        for batch in table.select(list(dict.fromkeys(columns))).to_batches(_BATCH):
            yield _as_batch(batch)

    return TableSource(f"the table '{argument}'", tuple(table.column_names), read)


def _open_frame(argument: str, frame: Any) -> TableSource:
    names = tuple(str(column) for column in frame.columns)

    def read(columns: Sequence[str]) -> Iterator[Batch]:
        for start in range(0, len(frame), _BATCH):
            rows = frame.iloc[start : start + _BATCH]
            arrays = {name: _frame_column(rows.iloc[:, names.index(name)]) for name in columns}
            yield Batch(arrays, len(rows))

    return TableSource(f"the data frame '{argument}'", names, read)


def _frame_column(series: Any) -> Any:
    pa = arrow()
    try:
        array = pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        # Numbers and strings in one column, or objects that Arrow doesn't know.
        return _string_array([_plain_text(v) for v in series.where(series.notna(), None)])
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _as_batch(batch: Any) -> Batch:
    return Batch(dict(zip(batch.schema.names, batch.columns, strict=True)), batch.num_rows)


def _string_batch(values: dict[str, list[str | None]], num_rows: int, num_malformed: int) -> Batch:
    arrays = {column: _string_array(texts) for column, texts in values.items()}
    return Batch(arrays, num_rows, num_malformed)


def _string_array(texts: list[str | None]) -> Any:
    pa = arrow()
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
        whole = [None if t is None else t.encode('utf-8', 'replace').decode() for t in texts]
        return pa.array(whole, pa.string())


def _plain_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
