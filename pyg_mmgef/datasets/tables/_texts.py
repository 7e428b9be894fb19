"""Texts of table cells: without HTML, and lists as one text."""

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyg_mmgef.tables._cells import MISSING
from pyg_mmgef.tables._texts import parse_cell

__all__ = ['clean_texts', 'join_texts', 'strip_html']

_HIDDEN = re.compile(
    r'<!--.*?(?:-->|\Z)|<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)', re.IGNORECASE | re.DOTALL
)
# An attribute in quotes may hold '>'. None may hold '<', so that no text takes quadratic time.
_TAG = re.compile(
    r"""</?[a-z][a-z0-9:-]*(?:[\s/](?:[^<>"']|"[^"<]*"|'[^'<]*')*)?>"""
    r'|</?[a-z][a-z0-9:-]*[\s/][^<>]*>|<![a-z][^<>]*>',
    re.IGNORECASE,
)
# Without the semicolon, 'salt&pepper' or 'cut&copy' would lose letters.
_ENTITY = re.compile(r'&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});', re.IGNORECASE)


def strip_html(text: str) -> str:
    """Remove tags, comments, scripts and styles, and decode entities.

    ``a < b`` and ``<3`` stay as they are. Text that was escaped twice is decoded twice.
    """
    for _ in range(2):
        if '<' not in text and '&' not in text:
            break
        text = _TAG.sub(' ', _HIDDEN.sub(' ', text))
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return text


def clean_texts(cells: Sequence[str | None]) -> list[str | None]:
    """Return the text of each cell, without HTML and with single blanks, or :obj:`None`.

    The parts of a list (see :func:`~pyg_mmgef.tables._texts.parse_cell`) are joined with blanks.
    """
    return [None if cell is None else _clean(cell) for cell in cells]


def join_texts(fields: Mapping[str, Sequence[str | None]], num_items: int) -> list[str | None]:
    """Return each item's texts of all fields, joined with blanks."""
    if not fields:
        return [None] * num_items
    rows = zip(*fields.values(), strict=True)
    return [' '.join(text for text in row if text) or None for row in rows]


def _clean(cell: str) -> str | None:
    texts = (' '.join(strip_html(part).split()) for part in _leaves(parse_cell(cell)))
    return ' '.join(text for text in texts if text not in MISSING) or None


def _leaves(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            part = list(part.values())
        if isinstance(part, (list, tuple)):
            waiting.extend(reversed(part))
        elif part is not None:
            yield str(part)
