import io
import json
import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from pyg_mmgef._spelling import spelt
from pyg_mmgef.files import make_folder, write_atomically
from pyg_mmgef.tables._arrow_table import arrow

__all__ = ['ItemTable', 'check_suffix']

SUFFIXES = ('.parquet', '.csv', '.jsonl')
FORMULA = ('=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠')
"""The characters with which spreadsheets begin a formula, also those of full width."""
SHOWN = 20


class ItemTable:
    """A table of items: a row for each user and item, the best of a user first.

    Iterating gives the rows as dictionaries; a notebook shows the first of them.

    Args:
        columns: The values of each column, such as ``'user'``, ``'rank'``, ``'item'``, ``'score'``
            and ``'title'``, all of the same length.

    Example:
        >>> found = ItemTable({'rank': [1, 2], 'item': ['i7', 'i3'], 'score': [0.5, 0.25]})
        >>> found
        rank  item  score
           1    i7  0.500
           2    i3  0.250
        >>> list(found)[0]
        {'rank': 1, 'item': 'i7', 'score': 0.5}
        >>> found['item']
        ['i7', 'i3']
    """

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns

    def __getitem__(self, column: str) -> list[Any]:
        return self.columns[column]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, row, strict=True))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def to_pandas(self) -> Any:
        """Return a pandas data frame.

        Raises:
            ImportError: If pyarrow or pandas isn't installed.
        """
        return self.to_arrow().to_pandas()

    def to_arrow(self) -> Any:
        """Return a PyArrow table.

        Raises:
            ImportError: If pyarrow isn't installed.
        """
        return arrow().table(self.columns)

    def write(self, path: str | os.PathLike[str], *, for_spreadsheets: bool = False) -> None:
        """Write Parquet, CSV or JSON Lines, depending on the suffix.

        Args:
            path: The file to write, ``.parquet``, ``.csv`` or ``.jsonl``.
            for_spreadsheets: Whether to write an apostrophe before texts that a spreadsheet would
                run as a formula. (default: :obj:`False`)

        Raises:
            ValueError: If the suffix is unknown.
        """
        path = Path(path).expanduser()
        check_suffix(path)
        columns = self.columns
        if for_spreadsheets:
            columns = {
                name: list(map(_without_formula, values)) for name, values in columns.items()
            }
        if path.suffix == '.jsonl':
            content = ''.join(f'{json.dumps(row)}\n' for row in self).encode()
        else:
            buffer, table = io.BytesIO(), arrow().table(columns)
            if path.suffix == '.csv':
                arrow('csv').write_csv(table, buffer)
            else:
                arrow('parquet').write_table(table, buffer)
            content = buffer.getvalue()
        make_folder(path.parent)
        write_atomically(path, content)

    def __repr__(self) -> str:
        rows = [list(self.columns), *self.cells(SHOWN)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            '  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return '\n'.join([*lines, *self._rest()])

    def _repr_html_(self) -> str:
        """Return the first rows as an HTML table, for notebooks."""
        rows = [''.join(f'<th>{escape(name)}</th>' for name in self.columns)]
        rows += [''.join(f'<td>{escape(cell)}</td>' for cell in row) for row in self.cells(SHOWN)]
        table = ''.join(f'<tr>{row}</tr>' for row in rows)
        return f'<table>{table}</table>' + ''.join(f'<p>{line}</p>' for line in self._rest())

    def cells(self, first: int | None = None) -> list[list[str]]:
        """Return the rows as texts, scores with three digits.

        Args:
            first: The number of rows; :obj:`None` means all. (default: :obj:`None`)
        """
        columns = (values[:first] for values in self.columns.values())
        return [list(map(_cell, row)) for row in zip(*columns, strict=True)]

    def _rest(self) -> list[str]:
        return [f'... {len(self)} rows'] if len(self) > SHOWN else []


def check_suffix(path: Path, argument: str = 'output') -> None:
    """Raise a :class:`ValueError` unless :meth:`ItemTable.write` can write such a file.

    Args:
        path: The file.
        argument: The argument that names it, for the message. (default: ``'output'``)
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f'{spelt(argument)} must end in {", ".join(SUFFIXES[:-1])} or {SUFFIXES[-1]} '
            f'(got {str(path)!r})'
        )


def _cell(value: Any) -> str:
    return f'{value:.3f}' if isinstance(value, float) else '' if value is None else str(value)


def _without_formula(value: Any) -> Any:
    is_formula = isinstance(value, str) and value.startswith(FORMULA)
    return f"'{value}" if is_formula else value
