import sys
from pathlib import Path

import pytest

from pyg_mmgef import nn
from pyg_mmgef.runs.search_spaces import NOT_SEARCHED, TRAINING_SPACES, Range, search_space

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

pytest.importorskip('matplotlib')

import tune_movielens
from experiments.contestants import CONTESTANTS


def row(search: str, best: dict | None) -> dict:
    values = {
        f'{part}_{name}': 0.25 for part in ('val', 'test') for name in ('recall@20', 'ndcg@20')
    }
    return {'search': search, 'best': best, 'seconds': 1.2, **values}


def test_the_page_says_what_was_found() -> None:
    best = {'model': 'mgcn', 'options': {'lr': 0.00123456, 'options.temperature': 0.5, 'k': 7}}
    results = {
        'rows': [row('mgcn, defaults', None), row('all of them, tuned', best)],
        'trials': 30,
        'seed': 0,
        'kills': 3,
        'a kill changes nothing': True,
    }
    machine = {'processor': 'one', 'threads': 2, 'torch': '2', 'date': 'today'}
    page = tune_movielens.page({'results': results, 'machine': machine})
    assert 'mgcn, lr 0.00123, temperature 0.5, k 7' in page
    assert ' '.join(page.split()).count('its trials and its winner were the same.') == 1
    results['a kill changes nothing'] = False
    page = tune_movielens.page({'results': results, 'machine': machine})
    assert 'its winner were not the same.' in ' '.join(page.split())


def test_the_grids_of_the_experiments_are_within_the_ranges_of_tune() -> None:
    """Theirs are fixed, as kept results depend on them."""
    checked = 0
    for contestant in CONTESTANTS.values():
        model = nn.recommenders()[contestant.model]
        ranges = {
            **TRAINING_SPACES['softmax'],
            **TRAINING_SPACES['bpr'],
            **search_space(model, 100),
        }
        for key, values in contestant.space.items():
            if key in NOT_SEARCHED:
                continue
            choices = ranges[key]
            for value in values:
                checked += 1
                if isinstance(choices, Range):
                    assert choices.low <= value <= choices.high, key
                else:
                    assert value in choices, key
    assert checked > 50
