"""The check of links finds what is broken, and nothing else."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.pages import DOCS

pytest.importorskip('bs4', reason="it needs the extra 'docs'")


@pytest.fixture
def check_links(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    from importlib import import_module

    return import_module('check_links')


def test_broken_links_are_found(check_links: ModuleType, tmp_path: Path) -> None:
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'page.html').write_text('<p id="here">x</p>')
    (tmp_path / 'index.html').write_text(
        '<a href="other/page.html#here">1</a> <a href="#top">2</a> <p id="top">'
        '<a href="https://example.org/none">3</a> <a href="other/page.html">4</a>'
        '<a href="other/page.html#there">5</a> <a href="none.html">6</a> <img src="none.png">'
        '<a href="mailto:recall@20">7</a>'
    )
    assert check_links.problems(tmp_path) == [
        'index.html: mailto:recall@20: opens a mail program',
        'index.html: none.html: no such file',
        'index.html: other/page.html#there: no such id in the page',
        'index.html: none.png: no such file',
    ]
