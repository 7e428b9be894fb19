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

from experiments.answers import about_best, about_variants, difference
from experiments.claims import claims_page, judged
from experiments.figures import decimal, gain, p_text, plus_minus
from experiments.rst import list_table, wrapped
from experiments.shops import parse_condition
from experiments.stats import Runs, p_of, p_with_seeds
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


def claims(runs: Runs) -> str:
    return claims_page(judged(runs, {'shop': 'A shop'}))


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
    page = claims(made_up('MM-GEF', '', 0.02, 0.001) + theirs)
    assert 'confirmed' in page
    page = claims(made_up('MM-GEF', '', -0.02, 0.001) + theirs)
    assert 'refuted' in page
    page = claims(made_up('MM-GEF', '', 0.02, 0.03) + theirs)
    assert 'undecided' in page
    assert '< .001' in page  # Users alone would have decided.
    page = claims(made_up('MM-GEF', '', 0.02, 0.001, 2) + theirs)
    assert 'undecided' in page


def test_nothing_is_decided_where_the_loser_was_cut() -> None:
    ours = made_up('MM-GEF', '', 0.02, 0.001)
    theirs = made_up('LightGCN', '', 0.0, 0.001)
    cut = [[{**run, 'epoch': 100} for run in runs] for runs in (ours, theirs)]
    assert 'undecided: cut' in claims(ours + cut[1])
    page = claims(cut[0] + theirs)  # More epochs would help the winner.
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
    assert 'MM-GEF' not in page('gowalla', runs, tmp_path, tmp_path)
    runs += made_up('MM-GEF', '', 0.0, 0.0)
    assert '     - over MM-GEF\n' in page('gowalla', runs, tmp_path, tmp_path)


def test_the_answer_says_whether_a_lead_is_more_than_the_spread() -> None:
    theirs = made_up('LightGCN', '', 0.0, 0.001)
    text = about_best({'LightGCN': theirs, 'MM-GEF': made_up('MM-GEF', '', 0.02, 0.001)}, 'warm')
    assert text.startswith('**MM-GEF ranks best**')
    assert 'LightGCN is next' in text
    assert 'more than the spread over users and seeds (p < .001)' in text
    text = about_best({'LightGCN': theirs, 'MM-GEF': made_up('MM-GEF', '', 0.02, 0.03)}, 'warm')
    assert 'within the spread' in text
    text = about_best({'LightGCN': theirs, 'MM-GEF': made_up('MM-GEF', '', 0.02, 0.0, 1)}, 'warm')
    assert 'of one seed, so chance is not excluded' in text


def test_the_answer_names_the_place_of_the_paper_and_another_best_by_recall() -> None:
    rows = {
        name: made_up(name, '', shift, 0.001)
        for name, shift in (('MM-GEF', 0.0), ('VBPR', 0.02), ('MF', 0.01))
    }
    for run in rows['MF']:
        run['metrics']['warm']['recall@20'] = 0.9
    text = about_best(rows, 'warm')
    assert 'VBPR ranks best' in text
    assert 'By Recall@20, MF is first with .9000' in text
    assert 'MM-GEF, the model of the paper, is number 3 of 3' in text


def test_a_difference_has_a_sign() -> None:
    theirs = made_up('LightGCN', '', 0.0, 0.001)
    assert difference(made_up('MM-GEF', '', 0.02, 0.001), theirs, 'warm').startswith('+.0')
    assert difference(made_up('MM-GEF', '', -0.02, 0.001), theirs, 'warm').startswith('−.0')
    assert 'p' not in difference(made_up('MM-GEF', '', 0.02, 0.0, 1), theirs, 'warm')


def test_changes_that_make_a_difference_are_named() -> None:
    rows = {
        '': made_up('MM-GEF', '', 0.0, 0.001),
        'k-5': made_up('MM-GEF', 'k-5', -0.02, 0.001),
        'k-20': made_up('MM-GEF', 'k-20', 0.0, 0.002),
        'depth-2': made_up('MM-GEF', 'depth-2', 0.02, 0.0, 1),
    }
    text = about_variants('MM-GEF', rows, 'warm')
    assert text.startswith('**1 of 2 changes** of MM-GEF')
    assert 'makes a difference' in text
    assert '``k-5`` (−.0' in text
    assert 'k-20' not in text
    assert 'The other 1 have one seed' in text
    del rows['k-5']
    assert about_variants('MM-GEF', rows, 'warm').startswith('**0 of 1 changes** of MM-GEF')


def test_figures() -> None:
    assert [p_text(p) for p in (0.0, 0.0456, 1.0)] == ['p < .001', 'p = .046', 'p = 1.000']
    assert [decimal(value) for value in (0.08404, 1.0, 0.0)] == ['.0840', '1.0000', '.0000']
    assert [gain(value) for value in (0.0123, -0.0123, -1e-6)] == ['+.0123', '−.0123', '.0000']
    assert plus_minus([0.1, 0.2, 0.3]) == '.2000 ± .1000'
    assert plus_minus([0.1]) == '.1000'


def test_no_metric_becomes_a_mail_address() -> None:
    assert wrapped('Recall@20 of ``recall@20``') == [r'Recall\@20 of ``recall@20``', '']
    assert r'   * - NDCG\@20' in list_table(['NDCG@20'], [])


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
