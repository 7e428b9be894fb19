"""Cells as plain text, and the lists that texts hold."""

import ast
import json
from contextlib import suppress
from typing import Any

from pyg_mmgef.tables._cells import MISSING

__all__ = ['parse_cell', 'plain_text']


def plain_text(cell: str | None, *, is_json: bool) -> str | None:
    """Return the text of a cell with single blanks, :obj:`None` if it has none.

    Args:
        cell: The cell.
        is_json: Whether it is JSON, of which lists and objects stay as they are.
    """
    if is_json and cell is not None:
        if cell.startswith(('[', '{')):
            return cell
        if cell.startswith('"'):
            return _tidy(json.loads(cell))
    return _tidy(cell)


def parse_cell(cell: str) -> Any:
    """Return the list or dictionary that a cell holds, or the cell if it holds none.

    Parquet, Arrow and JSON Lines have lists, which are read as JSON; pandas writes them into CSV
    files as Python does.
    """
    if (cell[:1], cell[-1:]) in (('[', ']'), ('{', '}')):
        for parse in (json.loads, ast.literal_eval):
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                return parse(cell)
    return cell


def _tidy(text: str | None) -> str | None:
    if text is None:
        return None
    text = ' '.join(text.split())
    return None if text in MISSING else text
