"""What the commands print: text alone, whatever the ids, titles, paths and messages hold."""

import os
import sys
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from pyg_mmgef._printable import printable

__all__ = ['PlainConsole', 'draws_progress', 'err', 'one_line', 'out', 'plain', 'printable']

WIDEST = 10_000


def plain(value: Any, style: str = '') -> Text:
    """Return a value as printable text without markup, for the console and its tables."""
    return Text(printable(str(value)), style)


def one_line(message: object) -> str:
    """Return a message in one line; those of other libraries may have several."""
    return ' '.join(filter(None, map(str.strip, str(message).split('\n'))))


class PlainConsole(Console):
    """A console that prints strings, also in tables, as :func:`plain` text.

    A string is printed in one line, which a terminal may wrap. Tables are as wide as the terminal;
    in a file or a pipe each of their rows is one line.
    """

    @property
    def options(self) -> ConsoleOptions:
        """The options for what is printed."""
        options = super().options
        if self.is_terminal or 'COLUMNS' in os.environ:
            return options
        return options.update_width(WIDEST)

    def render_str(self, text: str, *, style: Any = '', **layout: Any) -> Text:
        """Return a string as text; Rich calls this for all strings, those in tables included."""
        shown = plain(text, style)
        shown.justify, shown.overflow = layout.get('justify'), layout.get('overflow')
        return shown

    def print(self, *objects: Any, **options: Any) -> None:
        """Print tables, and anything else as strings."""
        shown = [x if isinstance(x, Table | Text) else str(x) for x in objects]
        is_text = not any(isinstance(x, Table) for x in shown)
        super().print(*shown, **{'soft_wrap': is_text, 'crop': False, **options})


out, err = PlainConsole(), PlainConsole(stderr=True)


def draws_progress() -> bool:
    """Return whether progress bars can be drawn, which takes a terminal whose cursor they move."""
    return sys.stdout.isatty() and sys.stderr.isatty()
