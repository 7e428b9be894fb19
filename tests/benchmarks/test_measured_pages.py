"""The pages of first interactions and of missing modalities are those of the kept results."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

pytest.importorskip('matplotlib')

import missing_modalities
import warm_up

FOLDER = Path(__file__).parents[2] / 'docs' / 'measured'


def test_the_tables_are_what_the_kept_results_say() -> None:
    text = (FOLDER / 'warm_up.rst').read_text(encoding='utf-8')
    assert warm_up.with_tables(text, FOLDER) == text
    assert text.count('.. list-table::') == 4


def test_the_page_of_missing_modalities_is_what_the_kept_results_say() -> None:
    text = (FOLDER / 'missing_modalities.rst').read_text(encoding='utf-8')
    assert missing_modalities.page(FOLDER) == text
    assert text.count('.. list-table::') == 4
