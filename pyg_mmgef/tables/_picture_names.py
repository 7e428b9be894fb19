"""Names of pictures in cells of tables."""

import re
from collections.abc import Iterator
from typing import Any

from pyg_mmgef.tables._picture_folder import IMAGE_SUFFIXES
from pyg_mmgef.tables._texts import parse_cell

__all__ = ['is_address', 'picture_names']

_ADDRESS = re.compile(r'[a-z][a-z0-9+.-]*://', re.IGNORECASE)
_SEPARATORS = '|;,'
_OF_DICTIONARY = ('hi_res', 'large', 'url', 'src', 'path', 'name', 'thumb')


def is_address(name: str) -> bool:
    """Return whether a name is an address, such as ``https://...``."""
    return _ADDRESS.match(name) is not None


def picture_names(cell: Any) -> list[str]:
    """Return the names of pictures, or their addresses, that a cell holds.

    A cell holds one name, a list (see :func:`~pyg_mmgef.tables._texts.parse_cell`), or file names
    that are separated by ``|``, ``;`` or ``,``.

    Args:
        cell: The cell, a text or a value of JSON.

    Example:
        >>> picture_names('front.jpg|back.jpg')
        ['front.jpg', 'back.jpg']
        >>> picture_names('["front.jpg", "back, left.jpg"]')
        ['front.jpg', 'back, left.jpg']
        >>> picture_names('back, left.jpg')
        ['back, left.jpg']
    """
    value = parse_cell(cell) if isinstance(cell, str) else cell
    return _separated(value) if isinstance(value, str) else list(_named(value))


def _separated(cell: str) -> list[str]:
    for separator in _SEPARATORS:
        parts = [part.strip() for part in cell.split(separator) if part.strip()]
        if separator in cell and (all(map(is_address, parts)) or all(map(_has_suffix, parts))):
            return parts
    return [cell] if cell.strip() else []


def _named(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.append(next((part[key] for key in _OF_DICTIONARY if part.get(key)), None))
        elif isinstance(part, (list, tuple)):
            waiting.extend(reversed(part))
        elif isinstance(part, str) and part.strip():
            yield part.strip()


def _has_suffix(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)
