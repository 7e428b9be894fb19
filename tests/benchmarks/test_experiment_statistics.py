"""What the pages of the experiments say of runs, which are made up here."""

import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

pytest.importorskip('matplotlib')

from experiments.claims import claims_page
from experiments.shops import parse_condition
from experiments.stats import Runs, holm, p_of, p_text, p_with_seeds
from experiments.tables import check_alike, page

NUM_USERS = 400


def made_up(contestant: str, variant: str, gain: float, spread: float, seeds: int = 3) -> Runs:
    """Return runs whose users share their difficulty, with a gain over it that depends on seeds."""
    runs = []
    for seed in range(seeds):
        difficulty = np.random.default_rng(0).random(NUM_USERS)
        noise = np.random.default_rng([seed, len(contestant), len(variant)])
        shift = gain + spread * (seed - (seeds - 1) / 2)
        ndcg = difficulty + shift + 0.01 * noise.standard_normal(NUM_USERS)
        metrics = dict.fromkeys(('recall@10', 'recall@20', 'ndcg@10', 'ndcg@20'), ndcg.mean())
        run: dict[str, Any] = {
            'data': 'shop',
            'condition': 'warm',
            'contestant': contestant,
            'variant': variant,
            'seed': seed,
            'epochs': 100,
            'options': {'attention': 'mean'} if variant == 'average' else {},
            'metrics': {'warm': metrics},
            'val_recall@20': 0.5,
            'epoch': 30,
            'curve': [0.1] * 12,
            'seconds_per_epoch': 1.0,
            'MiB': 100.0,
            'threads': 1,
            'alpha': [],
            'per_user': {'warm': np.append(ndcg, np.nan)},  # The last user has nothing to rank.
            'path': f'{contestant}-{variant}-{seed}.json',
        }
        runs.append(run)
    return runs


def test_holm_is_that_of_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_p_over_users_is_the_paired_test() -> None:
    ours = made_up('MM-GEF', '', 0.001, 0.0, seeds=1)
    theirs = made_up('LightGCN', '', 0.0, 0.0, seeds=1)
    arrays = [runs[0]['per_user']['warm'][:-1] for runs in (ours, theirs)]
    assert p_of(ours, theirs, 'warm') == pytest.approx(ttest_rel(*arrays).pvalue)
    # A row may have other seeds; each user's mean over them counts.
    more = made_up('LightGCN', '', 0.0, 0.0, seeds=3)
    values = [run['per_user']['warm'][:-1] for run in more]
    expected = ttest_rel(arrays[0], np.mean(values, axis=0)).pvalue
    assert p_of(ours, more, 'warm') == pytest.approx(expected)


def test_p_with_seeds_is_welch_where_users_do_not_differ() -> None:
    ours = made_up('MM-GEF', '', 0.02, 0.01, seeds=3)
    theirs = made_up('LightGCN', '', 0.0, 0.02, seeds=5)
    means = [[run['metrics']['warm']['ndcg@20'] for run in runs] for runs in (ours, theirs)]
    welch = ttest_ind(*means, equal_var=False).pvalue
    assert p_with_seeds(ours, theirs, 'warm') == pytest.approx(welch, rel=0.02)
    # Where seeds agree, the users decide.
    ours = made_up('MM-GEF', '', 0.02, 0.0, seeds=3)
    assert p_with_seeds(ours, made_up('LightGCN', '', 0.0, 0.0), 'warm') < 1e-6
    assert p_with_seeds(ours, ours, 'warm') == pytest.approx(1.0)


def test_only_the_same_users_are_compared() -> None:
    ours = made_up('MM-GEF', '', 0.001, 0.0)
    theirs = made_up('LightGCN', '', 0.0, 0.0)
    values = theirs[1]['per_user']['warm']
    for other in (np.roll(values, 1), values[:-1]):  # As many users, but others; and fewer.
        theirs[1]['per_user']['warm'] = other
        for pair in ((ours, theirs), (theirs, ours)):
            with pytest.raises(SystemExit, match='ranked for different users'):
                p_of(*pair, 'warm')
            with pytest.raises(SystemExit, match='ranked for different users'):
                p_with_seeds(*pair, 'warm')


def test_a_claim_needs_seeds_that_agree() -> None:
    theirs = made_up('LightGCN', '', 0.0, 0.001)
    page = claims_page(made_up('MM-GEF', '', 0.02, 0.001) + theirs, {'shop': 'A shop'})
    assert 'confirmed' in page
    page = claims_page(made_up('MM-GEF', '', -0.02, 0.001) + theirs, {'shop': 'A shop'})
    assert 'refuted' in page
    page = claims_page(made_up('MM-GEF', '', 0.02, 0.03) + theirs, {'shop': 'A shop'})
    assert 'undecided' in page
    assert '< .001' in page  # Users alone would have decided.
    page = claims_page(made_up('MM-GEF', '', 0.02, 0.001, 2) + theirs, {'shop': 'A shop'})
    assert 'undecided' in page


def test_nothing_is_decided_where_the_loser_was_cut() -> None:
    ours = made_up('MM-GEF', '', 0.02, 0.001)
    theirs = made_up('LightGCN', '', 0.0, 0.001)
    cut = [[{**run, 'epoch': 100} for run in runs] for runs in (ours, theirs)]
    assert 'undecided: cut' in claims_page(ours + cut[1], {'shop': 'A shop'})
    page = claims_page(cut[0] + theirs, {'shop': 'A shop'})  # More epochs would help the winner.
    assert 'confirmed' in page
    assert 'It beats LightGCN*' in page


def test_rows_do_not_mix_options() -> None:
    plain = made_up('MM-GEF', '', 0.0, 0.0)
    check_alike(plain + made_up('MM-GEF', 'average', 0.0, 0.0))
    with pytest.raises(SystemExit, match='delete it'):
        check_alike([*plain[:2], {**plain[2], 'epochs': 50}])
    with pytest.raises(SystemExit, match='delete it'):
        check_alike([*plain, *made_up('MM-GEF', 'depth-0', 0.0, 0.0)])


def test_a_page_says_what_was_cut_and_on_how_many_threads(tmp_path: Path) -> None:
    runs = made_up('MM-GEF', '', 0.0, 0.0)
    text = page('shop', runs, tmp_path, tmp_path).replace('\n', ' ')
    assert '100 epochs' in text
    assert 'on one thread' in text
    assert '30*' not in text
    text = page('shop', [{**run, 'epoch': 71} for run in runs], tmp_path, tmp_path)
    assert '71*' in text
    text = page('shop', [{**run, 'epoch': 70} for run in runs], tmp_path, tmp_path)
    assert '70*' not in text  # Its patience had run out.


def test_a_page_without_the_baseline_compares_nothing_with_it(tmp_path: Path) -> None:
    runs = made_up('MF', '', 0.0, 0.0)
    assert '     - p\n' not in page('gowalla', runs, tmp_path, tmp_path)
    assert 'MM-GEF' not in page('gowalla', runs, tmp_path, tmp_path)
    runs += made_up('MM-GEF', '', 0.0, 0.0)
    assert '     - p\n' in page('gowalla', runs, tmp_path, tmp_path)


def test_p_text() -> None:
    assert [p_text(p) for p in (0.0, 0.0456, 1.0)] == ['< .001', '0.046', '1.000']
    assert p_text(float('nan')) == 'nan'


@pytest.mark.parametrize('text', ['warm', 'cold', 'only:image', 'noise:0.5', 'fewer:0.25'])
def test_conditions(text: str) -> None:
    assert parse_condition(text) == text
    assert parse_condition('noise:.50') == 'noise:0.5'


@pytest.mark.parametrize(
    'text', ['cold:0.5', 'warm:x', 'only', 'noise', 'noise:', 'noise:50', 'fewer:-1', 'fewer:abc']
)
def test_conditions_that_are_none(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match='a share between 0 and 1'):
        parse_condition(text)
