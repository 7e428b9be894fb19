"""What the pages are written with: GitHub and Sphinx show it alike."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyg_mmgef.files import write_atomically

__all__ = [
    'MADE',
    'escaped',
    'heading',
    'link',
    'list_table',
    'measured_by',
    'measured_page',
    'note',
    'picture',
    'wrapped',
    'write_page',
]

MADE = '.. Made by benchmarks/experiments from the files of all runs; do not edit.'


def escaped(text: str) -> str:
    r"""Return text whose ``Recall@20`` is no mail address: ``Recall\@20``, except in literals."""
    return re.sub(r'(``.*?``)|@', lambda found: found[1] or r'\@', text)


def link(text: str, page: str) -> str:
    """Return a link to another page by its file, which GitHub follows; in Sphinx, conf.py does."""
    return f'`{text} <{page}>`__'


def heading(text: str, line: str) -> list[str]:
    return [escaped(text), line * len(escaped(text)), '']


def wrapped(text: str, width: int = 120) -> list[str]:
    """Return a paragraph; no word is broken at its hyphen, which would show as a space."""
    lines = textwrap.wrap(escaped(text), width, break_on_hyphens=False, break_long_words=False)
    return [*lines, '']


def note(text: str) -> list[str]:
    return ['.. note::', '', *(f'   {line}'.rstrip() for line in wrapped(text, 117))]


def measured_by(script: str, machine: Mapping[str, object]) -> list[str]:
    """Return a paragraph that names the script of results, the machine and the versions."""
    versions = ', '.join(f'{name} {value}' for name, value in machine.items())
    return wrapped(f'``benchmarks/{script}.py``; {versions}.')


def measured_page(
    script: str, title: str, parts: Sequence[str], machine: Mapping[str, object]
) -> str:
    """Return the page that a script makes of its own results."""
    made = f'.. Made by benchmarks/{script}.py from {script}.json; do not edit.'
    return '\n'.join([made, '', *heading(title, '='), *parts, *measured_by(script, machine)])


def picture(name: str, alt: str) -> list[str]:
    """Return a picture of docs/images, for a page in a folder beside."""
    return [f'.. image:: ../images/{name}.png', f'   :alt: {alt}', '']


def list_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ['.. list-table::', '   :header-rows: 1', '   :widths: auto', '']
    for row in (header, *rows):
        cells = [escaped(cell) for cell in row]
        lines += [
            f'   {"* -" if n == 0 else "  -"} {cell}'.rstrip() for n, cell in enumerate(cells)
        ]
    return [*lines, '']


def write_page(path: Path, text: str) -> None:
    """Write a page, but not over one that doesn't begin with the same line: it was made otherwise.

    Raises:
        SystemExit: If there is such a page.
    """
    if path.exists() and path.read_text().partition('\n')[0] != text.partition('\n')[0]:
        raise SystemExit(f'{path} is no page of results; give another folder with --docs')
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    print(f'Wrote {path}')
