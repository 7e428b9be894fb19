"""What the pages are written with."""

import textwrap
from collections.abc import Sequence

__all__ = ['MADE', 'heading', 'list_table', 'wrapped']

MADE = '.. Made by benchmarks/experiments from the files of all runs; do not edit.'


def heading(text: str, line: str) -> list[str]:
    return [text, line * len(text), '']


def wrapped(text: str) -> list[str]:
    return [*textwrap.wrap(text, 120), '']


def list_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ['.. list-table::', '   :header-rows: 1', '']
    for row in (header, *rows):
        lines += [f'   {"* -" if n == 0 else "  -"} {cell}'.rstrip() for n, cell in enumerate(row)]
    return [*lines, '']
