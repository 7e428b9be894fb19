"""Check the links of the built documentation: python docs/check_links.py docs/_build/html

Every link within the site must lead to a file, and to an id in it where it names one. No link may
open a mail program. Links to other sites are not followed.
"""

import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup


@cache
def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding='utf-8'), 'html.parser')


@cache
def ids(path: Path) -> set[str]:
    return {tag['id'] for tag in soup(path).find_all(id=True)}


def problem(page: Path, link: str) -> str | None:
    """Return what is wrong with a link of a page, if anything is."""
    parts = urlsplit(link)
    if parts.scheme == 'mailto':
        return 'opens a mail program'
    if parts.scheme or parts.netloc:
        return None
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_file():
        return 'no such file'
    if parts.fragment and target.suffix == '.html' and unquote(parts.fragment) not in ids(target):
        return 'no such id in the page'
    return None


def problems(folder: Path) -> list[str]:
    """Return a line for every bad link in the pages of a folder."""
    root = folder.resolve()
    found = {
        (page, link): problem(page, link)
        for page in sorted(root.rglob('*.html'))
        for attribute in ('href', 'src')
        for link in sorted({tag[attribute] for tag in soup(page).find_all(**{attribute: True})})
    }
    return [
        f'{page.relative_to(root)}: {link}: {what}' for (page, link), what in found.items() if what
    ]


def main() -> None:
    folder = Path(sys.argv[1])
    pages = sum(1 for _ in folder.rglob('*.html'))
    if pages == 0:
        sys.exit(f'{str(folder)!r} has no page; build it with: make docs')
    lines = problems(folder)
    print(*lines, sep='\n', end='\n' if lines else '')
    print(f'{len(lines)} bad links in {pages} pages')
    sys.exit(bool(lines))


if __name__ == '__main__':
    main()
