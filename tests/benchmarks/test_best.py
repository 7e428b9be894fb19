"""Who ranks best: rows are kept one by one, and the page holds what they say."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

pytest.importorskip('matplotlib')

import best
import best_page
import kept

DOCS = Path(__file__).parents[2] / 'docs'
RANKINGS = ('warm among all', 'cold among all', 'cold among cold', 'overall', 'harmonic mean')


def made_up(
    contestant: str, warm: float, cold: float = 0.2, seeds: int = 3, data: str = 'shop'
) -> list[dict[str, Any]]:
    """Return rows whose splits are of different difficulty."""
    rows = []
    for seed in range(seeds):
        figures = {
            task: (cold if task.startswith('cold') else warm) * (1 + seed / 10) for task in RANKINGS
        }
        rankings = {
            task: {'ndcg@20': value, 'recall@20': 2 * value} for task, value in figures.items()
        }
        row = {'data': data, 'cold': True, 'contestant': contestant, 'seed': seed}
        row |= {'rankings': rankings, 'at the scale': rankings, 'at the usual scale': rankings}
        rows.append(row | {'curve': [[1.0, warm, cold]], 'CPU seconds of all trials': 12.3})
    return rows


def page(tmp_path: Path, *rows: list[dict[str, Any]]) -> str:
    lines = best_page.page([row for own in rows for row in own], [], tmp_path).splitlines()
    return ' '.join(line.strip() for line in lines)


def test_the_answer_says_who_is_first_and_by_how_much(tmp_path: Path) -> None:
    ours, theirs = made_up('default', 0.3, 0.2), made_up('IALS', 0.2, 0.25)
    text = page(tmp_path, ours, theirs)
    assert 'Among warm items, ContentIALS, the default, is first in 1 of 1 tables**' in text
    assert 'tables**, with 50 % more NDCG\\@20 than the next; 1 of these leads exceeds' in text
    assert 'Among cold items, ContentIALS, the default, is first in 0 of 1 tables' in text
    assert 'On the synthetic shop, IALS is first; its lead over the default is +.0550' in text
    assert text.index('is first in') < text.index('list-table')
    assert '.3300 ± .0300' in text


def test_a_lead_that_seeds_do_not_agree_on_is_within_the_spread(tmp_path: Path) -> None:
    ours, theirs = made_up('default', 0.3), made_up('IALS', 0.2)
    assert '(p = ' in page(tmp_path, ours, theirs)
    assert 'within the spread' not in page(tmp_path, ours, theirs).partition('- cold')[0]
    for row, change in zip(theirs, (0.2, -0.1, 0.1), strict=True):
        row['rankings']['warm among all']['ndcg@20'] += change
    assert 'within the spread' in page(tmp_path, ours, theirs).partition('- cold')[0]


def test_rows_of_fewer_seeds_are_not_first(tmp_path: Path) -> None:
    text = page(tmp_path, made_up('default', 0.3), made_up('LightGCN', 0.9, seeds=1))
    assert 'the default, is first in 1 of 1 tables' in text
    assert 'Rows with fewer than 3 seeds: LightGCN.' in text
    assert 'No rows: Popularity; ContentCentroid; ItemKNN; EASE; CEASE; IALS; MM-GEF,' in text


def test_a_closed_form_is_run_once_on_a_given_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int]] = []

    def one(data: list, name: str, contestant: str, seed: int, cold: bool) -> dict[str, Any]:
        made.append((contestant, seed))
        row = {'data': name, 'cold': cold, 'contestant': contestant, 'seed': seed}
        warm = {'default': 0.25, 'LightGCN': 0.1 + seed / 100}[contestant]
        return {**row, 'warm': {'ndcg@20': warm, 'recall@20': 2 * warm}}

    monkeypatch.setattr(best, 'one', one)
    monkeypatch.setitem(best.DATA, 'baby', list)
    options = ['--data', 'baby', '--contestants', 'LightGCN', 'default', '--seeds', '0', '1', '2']
    monkeypatch.setattr(sys, 'argv', ['best.py', '--root', str(tmp_path), 'run', *options])
    best.main()
    assert made == [('LightGCN', 0), ('default', 0), ('LightGCN', 1), ('LightGCN', 2)]
    text = page(tmp_path, [row for _, row in kept.read_all(tmp_path)])
    assert 'the default, is first in 1 of 1 tables' in text
    assert '- ContentIALS, the default: .2500 - LightGCN: .1100 ± .0100 - +.1500 (1 seed)' in text
    assert '0 of these leads exceed the spread' in text


def test_earlier_figures_go_where_there_are_as_many_rows(tmp_path: Path) -> None:
    earlier = [
        {'data': 'shop', 'cold': True, 'contestant': name, 'seeds': 3}
        | {'warm': ['.1234', '.2345'], 'cold among cold': ['.3456', '.4567']}
        for name in ('default', 'EASE')
    ]
    lines = best_page.page(made_up('default', 0.3), earlier, tmp_path)
    assert lines.count('.1234') == 1
    assert 'EASE, 3 seeds' in lines.partition('Earlier figures')[2]
    assert 'Earlier figures' not in best_page.page(made_up('default', 0.3), earlier[:1], tmp_path)
    fewer = made_up('default', 0.3, seeds=2)
    assert 'Earlier figures' in best_page.page(fewer, earlier[:1], tmp_path)


def test_the_page_is_what_the_kept_rows_say(tmp_path: Path) -> None:
    best_page.write(DOCS / 'best', tmp_path)
    assert (tmp_path / 'best.rst').read_text() == (DOCS / 'best.rst').read_text()


def test_a_run_keeps_each_row_at_once_and_makes_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int]] = []

    def one(data: list, name: str, contestant: str, seed: int, cold: bool) -> dict[str, Any]:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append((contestant, seed))
        return made_up(contestant, 0.1 * len(made), seeds=seed + 1)[seed]

    monkeypatch.setattr(best, 'one', one)
    monkeypatch.setitem(best.DATA, 'shop', list)
    command = ['best.py', '--root', str(tmp_path / 'best')]
    options = ['--data', 'shop', '--contestants', 'IALS', 'default', '--seeds', '0', '1']
    monkeypatch.setattr(sys, 'argv', [*command, 'run', *options])
    with pytest.raises(KeyboardInterrupt):
        best.main()
    assert made == [('IALS', 0), ('default', 0), ('IALS', 1)]
    before = dict(kept.read_all(tmp_path / 'best'))
    assert len(before) == 3
    monkeypatch.setattr(sys, 'argv', [*command, 'pack'])
    best.main()

    made.clear()
    monkeypatch.setattr(sys, 'argv', [*command, 'run', *options])
    best.main()
    assert made == [('default', 1)]
    after = dict(kept.read_all(tmp_path / 'best'))
    assert {name: after[name] for name in before} == before
    monkeypatch.setattr(sys, 'argv', [*command, 'page', '--docs', str(tmp_path / 'docs')])
    best.main()
    assert 'ContentIALS, the default' in (tmp_path / 'docs' / 'best.rst').read_text()
