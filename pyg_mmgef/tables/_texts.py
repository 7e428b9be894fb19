"""Cells as plain text."""

import json

from pyg_mmgef.tables._cells import MISSING

__all__ = ['plain_text']


def plain_text(cell: str | None, *, is_json: bool) -> str | None:
    """Return the text of a cell with single blanks, :obj:`None` if it has none.

    Args:
        cell: The cell.
        is_json: Whether it is JSON, of which lists and objects stay as they are.
    """
    if not is_json or cell is None:
        return _tidy(cell)
    value = json.loads(cell)
    if isinstance(value, (dict, list)):
        return cell
    return None if value is None else _tidy(str(value))


def _tidy(text: str | None) -> str | None:
    if text is None:
        return None
    text = ' '.join(text.split())
    return None if text in MISSING else text
