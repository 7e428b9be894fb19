from types import SimpleNamespace
from typing import Any

import pytest

from pyg_mmgef.ranking import PairedTest, evaluate_ranking
from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._headline import headline, hero, how_measured
from pyg_mmgef.schema import supervision_edges

SPACE = '\u00a0'


def found(ours: float, theirs: float, p_value: float | None = 0.001) -> Any:
    """The evidence of a run that finds one share, where best-sellers find another."""
    test = None if p_value is None else PairedTest(ours - theirs, 0, 0, p_value)
    measured = {'recall': ours}, {'recall': theirs}
    return SimpleNamespace(measured=measured, test=test, k=20, choices='later choices')


@pytest.mark.parametrize(
    ('evidence', 'words'),
    [
        (found(0.30, 0.25), '30 % of the later choices, 20 % more than best-sellers do'),
        (found(0.50, 0.125), '50 % of the later choices, 4.0 times as much as best-sellers do'),
        (found(0.20, 0.25), '20 % of the later choices, 20 % less than best-sellers do'),
        (
            found(0.26, 0.25, 0.4),
            '26 % of the later choices, about as much as best-sellers do (25 %)',
        ),
        (
            found(0.30, 0.25, None),
            '30 % of the later choices, about as much as best-sellers do (25 %)',
        ),
        (found(0.1, 0.0), '10 % of the later choices; best-sellers find none'),
        (found(0.0, 0.0), '0 % of the later choices'),
    ],
)
def test_the_headline_is_honest(evidence: Any, words: str) -> None:
    assert headline(evidence).replace(SPACE, ' ') == f'20 recommendations find {words}'


def test_the_four_numbers(evidence: Evidence) -> None:
    run = evidence.run
    names = ('recall', 'hit_ratio', 'coverage')
    target, seen = supervision_edges(run.test), run.seen('val')
    ours = evaluate_ranking(*run.embeddings, target, exclude=seen, k=20, metrics=names)
    recall, hit_ratio, coverage, new = hero(evidence)
    for number, name in ((recall, 'recall'), (hit_ratio, 'hit_ratio'), (coverage, 'coverage')):
        assert number['value'] == f'{100 * ours[f"{name}@20"]:.0f}{SPACE}%'
    base = run.metrics['baselines']['Popularity']['recall@20']
    ratio = ours['recall@20'] / base
    expected = f'{ratio:.1f} times' if ratio >= 2 else f'{100 * (ratio - 1):+.0f}{SPACE}%'
    assert recall['lift'] == expected
    shown = set(run.item_ids.to_ids(evidence.lists.items.view(-1))) & {'i72', 'i73', 'i74'}
    assert new['value'] == f'{len(shown)} of 3'
    assert new['base'] == 'best-sellers: 0'


def test_without_new_products_the_fourth_is_about_people(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, 'popularity', evidence.popularity.clamp(min=1))
    assert hero(evidence)[3]['what'].startswith('of a list differs')


def test_how_it_was_measured(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    num_choices = evidence.lists.target.size(1)
    assert how_measured(evidence) == (
        'For each person, some choices were hidden from the model, at random. Then it recommended '
        f'20 products to each of 60 people, with {num_choices} hidden choices.'
    )
    monkeypatch.setattr(evidence, 'num_tested', 5000)
    monkeypatch.setattr(evidence, 'test', PairedTest(0, 0, 0, 0.5))
    assert 'a random sample of 5,000' in how_measured(evidence)
    assert 'within what chance can make' in how_measured(evidence)
