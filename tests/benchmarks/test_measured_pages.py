"""The pages of what was measured are those of the kept results."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

pytest.importorskip('matplotlib')

import missing_modalities
import warm_up
from common import read_json

FOLDER = Path(__file__).parents[2] / 'docs' / 'measured'
OWN = {
    'amazon_baby': 1,
    'ials': 1,
    'new_users_items': 10,
    'serving': 1,
    'time_to_quality': 1,
    'tune_movielens': 1,
}
"""Scripts that make the page of their name, and the number of its tables."""


def test_the_tables_are_what_the_kept_results_say() -> None:
    text = (FOLDER / 'warm_up.rst').read_text(encoding='utf-8')
    assert warm_up.with_tables(text, FOLDER) == text
    assert text.count('.. list-table::') == 4


def test_the_page_of_missing_modalities_is_what_the_kept_results_say() -> None:
    text = (FOLDER / 'missing_modalities.rst').read_text(encoding='utf-8')
    assert missing_modalities.page(FOLDER) == text
    assert text.count('.. list-table::') == 4


@pytest.mark.parametrize('name', OWN)
def test_the_page_of_a_script_is_what_its_kept_results_say(name: str) -> None:
    text = (FOLDER / f'{name}.rst').read_text(encoding='utf-8')
    assert import_module(name).page(read_json(FOLDER / f'{name}.json')) == text
    assert text.count('.. list-table::') == OWN[name]


def test_all_kept_results_have_their_page() -> None:
    names = {path.stem for path in FOLDER.glob('*.json')}
    assert names == {'warm_up', 'missing_modalities', *OWN}
    for name in names:
        machine = read_json(FOLDER / f'{name}.json')['machine']
        assert machine.keys() >= {'date', 'processor', 'threads', 'torch', 'torch-geometric'}
