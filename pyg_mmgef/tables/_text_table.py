"""Tables in text files: fields between delimiters."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from pyg_mmgef._spelling import spelt
from pyg_mmgef.tables._engine import Connection, literal, unglobbed
from pyg_mmgef.tables._files import decoded_copies, first_text, in_utf8, is_utf8
from pyg_mmgef.tables._rejects import (
    IGNORED,
    NOT_DECODED,
    STORED,
    clear,
    num_rejected,
    rejected,
)
from pyg_mmgef.tables.table import Account, PlacedTable, count, create, listed, numbered, one_row

__all__ = ['Dialect', 'TextTable', 'guess_delimiter']

DELIMITERS = (',', '\t', ';', '|', '::')
_NUM_COMPARED = 20  # lines


class Dialect(NamedTuple):
    """How a text file spells its rows.

    Args:
        delimiter: What separates columns, of one to four characters.
        quote: The quote; the empty string if quotes have no meaning. :obj:`None` is ``"``, and
            refuses files in which it joins lines that would be whole rows without quotes.
        escape: What stands before a quote within quotes; :obj:`None` means the quote itself.
        encoding: Python's name of the encoding.
    """

    delimiter: str
    quote: str | None
    escape: str | None
    encoding: str

    @property
    def quote_character(self) -> str:
        """The quote, or the empty string."""
        return '"' if self.quote is None else self.quote

    def split(self, line: str) -> list[str]:
        """Return the fields of a line."""
        quote = self.quote_character
        if len(self.delimiter) > 1 or not quote:
            return line.split(self.delimiter)
        doubled = self.escape in (None, quote)
        rows = csv.reader(
            [line],
            delimiter=self.delimiter,
            quotechar=quote,
            doublequote=doubled,
            escapechar=None if doubled else self.escape,
        )
        return next(rows, [])


class TextTable(PlacedTable):
    """A table in text files.

    Every line of the files is accounted for: it is a row, belongs to one that can't be parsed, or
    lies within a quoted value.

    Args:
        name: Its name in messages.
        paths: The files, which have the same columns.
        dialect: How they spell rows.
        names: Names of the columns of files without a header; :obj:`None` reads the headers.
        folder: Folder of the files.
        decimal: Decimal separator of numbers.

    Raises:
        ValueError: If a file holds no text, or its columns aren't those of the first.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        dialect: Dialect,
        *,
        names: Sequence[str] | None,
        folder: Path | None,
        decimal: str,
    ) -> None:
        self._paths, self._dialect, self._has_header = tuple(paths), dialect, names is None
        self._headers = [self._header(path) if names is None else list(names) for path in paths]
        first = self._headers[0]
        for path, header in zip(paths, self._headers, strict=True):
            if sorted(header) != sorted(first):
                raise ValueError(
                    f'{path.name!r} has the columns {listed(header)}, but {paths[0].name!r} has '
                    f'{listed(first)}; read them one by one'
                )
        super().__init__(name, dict.fromkeys(first, 'VARCHAR'), folder=folder, decimal=decimal)

    @property
    def seems_headless(self) -> bool:
        """Whether the first row, which gave the names, looks like values."""
        if not self._has_header:
            return False
        names = list(self.columns)
        return any(map(_is_number, names)) and names != [str(i) for i in range(len(names))]

    def _header(self, path: Path) -> list[str]:
        lines = first_text(path, self._dialect.encoding).splitlines()
        cells = self._dialect.split(next(iter(lines), ''))
        names = numbered([cell.strip() for cell in cells])
        if not any(names):
            raise ValueError(f'{path.name!r} has no header, its first line is empty')
        return names

    @contextmanager
    def _opened(self, connection: Connection) -> Iterator[str]:
        with in_utf8(self._paths, self._dialect.encoding) as paths:
            yield self._scan_of(paths, IGNORED)

    def _scan_of(self, paths: Sequence[Path], on_error: str) -> str:
        headed = zip(self._headers, paths, strict=True)
        selected = ', '.join(map(self.cell, self.columns))
        scans = [
            f'SELECT {selected} FROM {self._read_csv([p for _, p in group], header, on_error)}'
            for header, group in groupby(headed, key=itemgetter(0))
        ]
        return f'({" UNION ALL ".join(scans)})'

    def _read_csv(self, paths: Sequence[Path], header: Sequence[str], on_error: str) -> str:
        quote = self._dialect.quote_character
        escape = quote if self._dialect.escape is None else self._dialect.escape
        columns = ', '.join(f"{self.cell(name)}: 'VARCHAR'" for name in header)
        files = ', '.join(literal(unglobbed(path)) for path in paths)
        return (
            f'read_csv([{files}], delim={literal(self._dialect.delimiter)}, quote={literal(quote)},'
            f' escape={literal(escape if quote else "")}, header={self._has_header},'
            f' columns={{{columns}}}, auto_detect=false, hive_partitioning=false, {on_error})'
        )

    def _read(self, connection: Connection, into: str, cells: Mapping[str, str]) -> Account:
        encoding, account = self._dialect.encoding, None
        if is_utf8(encoding):
            account = self._read_utf8(connection, into, cells, self._paths)
        for line_ends in (False, True):
            if account is None:
                with decoded_copies(self._paths, encoding, line_ends=line_ends) as paths:
                    account = self._read_utf8(connection, into, cells, paths)
        if account is None:
            raise ValueError('its line ends are of several kinds')
        return account

    def _read_utf8(
        self, connection: Connection, into: str, cells: Mapping[str, str], paths: Sequence[Path]
    ) -> Account | None:
        """Read files in UTF-8, or return None if they aren't, or mix kinds of line ends."""
        clear(connection)
        has_break = ' OR '.join(f'contains({self.cell(name)}, chr(10))' for name in self.columns)
        flag = {'has_break': f'coalesce({has_break}, false)'} if self._dialect.quote != '' else {}
        try:
            num_rows = create(connection, into, {**cells, **flag}, self._scan_of(paths, STORED))
        except Exception as error:
            if 'state machine' in str(error):  # DuckDB's word for mixed line ends
                return None
            raise
        if rejected(connection, NOT_DECODED) is not None:
            return None
        num_inner = 0
        if flag and count(connection, into, 'has_break'):
            num_inner = self._num_inner_lines(connection, paths, has_break)
        self._check_closed(connection)
        num_malformed = num_rejected(connection)
        first = rejected(connection, 'true')
        example = '' if first is None else first[1]
        return Account(num_rows + num_malformed, num_malformed, num_inner, example)

    def _num_inner_lines(
        self, connection: Connection, paths: Sequence[Path], has_break: str
    ) -> int:
        """Return the number of line breaks within values, unless most of them join whole rows."""
        delimiter = literal(self._dialect.delimiter)
        fields = ', '.join(f"coalesce({self.cell(name)}, '')" for name in self.columns)
        is_row = f'len(string_split(line, {delimiter})) = {len(self.columns)}'
        num_rows, num_breaks, num_joined, example = one_row(
            connection,
            f"""
            SELECT count(*), sum(len(lines) - 1), count_if(joined),
                any_value(lines[1]) FILTER (joined)
            FROM (
                SELECT lines, list_bool_and(list_transform(lines, lambda line: {is_row})) AS joined
                FROM (
                    SELECT string_split(concat_ws({delimiter}, {fields}), chr(10)) AS lines
                    FROM {self._scan_of(paths, IGNORED)} WHERE {has_break}
                )
            )
            """,
        )
        if self._dialect.quote is None and 2 * num_joined >= num_rows:
            raise ValueError(
                f'quotes join lines that would be whole rows without them, {num_joined} times (the '
                f"first begins {example[:40]!r}); set {spelt('quote')} to '' if quotes are "
                "ordinary letters in this file, or to '\"' if they aren't"
            )
        return int(num_breaks)

    def _check_closed(self, connection: Connection) -> None:
        quote = self._dialect.quote_character
        if not quote:
            return
        num_quotes = f"length(csv_line) - length(replace(csv_line, {literal(quote)}, ''))"
        unclosed = rejected(
            connection,
            f"error_type = 'UNQUOTED VALUE' AND contains(csv_line, chr(10)) AND {num_quotes} = 1",
        )
        if unclosed is not None:
            raise ValueError(
                f'it ends inside of a quoted value, which begins in line {unclosed[0]} '
                f'({unclosed[1][:40]!r}); a quote is never closed'
            )


def guess_delimiter(path: Path, encoding: str) -> str | None:
    """Return the delimiter that splits the first line of a file into most columns.

    It must split most of the first lines into as many, more than one; else :obj:`None` is returned.
    """
    lines = [line for line in first_text(path, encoding).splitlines() if line][:_NUM_COMPARED]
    best: tuple[str | None, int] = None, 1
    for delimiter in DELIMITERS:
        dialect = Dialect(delimiter, None, None, encoding)
        width, *widths = (len(dialect.split(line)) for line in lines or [''])
        if width > best[1] and 2 * widths.count(width) >= len(widths):
            best = delimiter, width
    return best[0]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
