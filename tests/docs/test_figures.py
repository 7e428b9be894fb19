"""The figures and the drawings in the pages have their source in the repository."""

import re
from importlib import import_module

import pytest

from tests.docs.pages import DOCS, FIGURE


def test_figures_of_the_choice_of_models_are_in_the_results() -> None:
    figures = re.findall(r'\.\d{4}', (DOCS / 'guides' / 'choose_model.rst').read_text('utf-8'))
    results = (DOCS / 'best.rst').read_text('utf-8')
    assert len(figures) > 20
    assert [figure for figure in figures if figure not in results] == []


SETTINGS = {
    'choose_model.rst': {'3'},  # Per cent that warm items may lose, a setting.
    'command_line.rst': {'3', '60'},  # The same, and seconds.
    'cold_start.rst': {'3'},
    'item_graphs.rst': {'90', '95'},  # The variance that is kept; a recall that is asked for.
    'large_catalogues.rst': {'95', '2.0', '0.2', '1.0'},  # Memory that is computed.
    'peers.rst': {'80'},  # Of the edges.
    'troubleshooting.rst': {'3', '0.8'},  # 8 bytes, 10,000 times 10,000.
    'faq.rst': {'100', '3'},  # Of a question.
}
"""Numbers that aren't measured."""


def test_figures_of_all_pages_are_in_a_page_of_measurements() -> None:
    kept = [path.with_suffix('.rst') for path in DOCS.glob('measured/*.json')]
    measured = [*(DOCS / f'{name}.rst' for name in ('best', 'performance', 'scaling')), *kept]
    measured += [path for path in DOCS.glob('results/*') if path.suffix in ('.rst', '.md')]
    texts = ' '.join(path.read_text('utf-8') for path in measured)
    known = set(re.findall(r'\d*\.?\d+', texts))
    unknown = []
    for path in DOCS.glob('**/*.rst'):
        if path in measured or path.parts[len(DOCS.parts)] in ('_build', 'gallery', 'results'):
            continue
        allowed = known | SETTINGS.get(path.name, set())
        unknown += [
            (path.name, figure)
            for figure in FIGURE.findall(path.read_text('utf-8'))
            if figure not in allowed
        ]
    assert unknown == []


def test_drawings_are_those_of_their_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS / 'images')
    draw = import_module('draw')
    for name, picture in draw.PICTURES.items():
        kept = (DOCS / 'images' / f'{name}.svg').read_text('utf-8')
        assert kept == picture(), 'run: python docs/images/draw.py'
