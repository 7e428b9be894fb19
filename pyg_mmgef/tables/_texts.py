"""Cells as plain text."""

import json
from typing import Any

from pyg_mmgef.tables._cells import MISSING

__all__ = ['plain_text']


def plain_text(cell: str | None, *, is_json: bool) -> str | None:
    """Return the text of a cell with single blanks, :obj:`None` if it has none.

    Args:
        cell: The cell.
        is_json: Whether it is JSON, whose nested values are joined.
    """
    return _joined(json.loads(cell)) if is_json and cell is not None else _tidy(cell)


def _joined(value: Any) -> str | None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return ' '.join(part for part in map(_joined, value) if part) or None
    return None if value is None else _tidy(str(value))


def _tidy(text: str | None) -> str | None:
    if text is None:
        return None
    text = ' '.join(text.split())
    return None if text in MISSING else text
