import re
from typing import Any

from rich.console import Console
from rich.text import Text

__all__ = ['err', 'out', 'plain', 'printable']

out = Console()
err = Console(stderr=True)

# Control characters except tab and line feed, and characters that reverse the writing direction.
_UNPRINTABLE = re.compile(r'[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]')


def printable(text: str) -> str:
    """Replace characters that could control a terminal or reverse text on a page."""
    return _UNPRINTABLE.sub('\ufffd', text)


def plain(value: Any, style: str = '') -> Text:
    """Return a value as text without markup, for the console and its tables."""
    return Text(printable(str(value)), style)
