"""The figures and the drawings in the pages have their source in the repository."""

import re
from importlib import import_module

import pytest

from tests.docs.pages import DOCS


def test_figures_of_the_choice_of_models_are_in_the_results() -> None:
    figures = re.findall(r'\.\d{4}', (DOCS / 'guides' / 'choose_model.rst').read_text('utf-8'))
    results = (DOCS / 'best.rst').read_text('utf-8')
    assert len(figures) > 20
    assert [figure for figure in figures if figure not in results] == []


def test_drawings_are_those_of_their_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS / 'images')
    draw = import_module('draw')
    for name, picture in draw.PICTURES.items():
        kept = (DOCS / 'images' / f'{name}.svg').read_text('utf-8')
        assert kept == picture(), 'run: python docs/images/draw.py'
