import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pyg_mmgef.runs._trials import Candidate, Report, Trial, Trials
from pyg_mmgef.runs.search_spaces import Range
from tests.cli.command import environment
from tests.runs.killed_search import CANDIDATES, quality

pytest.importorskip('optuna')


def searched(folder: Path, number: int = 20, **others: Any) -> list[Trial]:
    folder.mkdir(exist_ok=True)
    trials = Trials(folder, CANDIDATES, others.pop('about', {}), others.pop('seed', 5))
    trials.run(quality, number, **others)
    return trials.finished()


def test_each_model_begins_with_its_defaults(tmp_path: Path) -> None:
    found = searched(tmp_path, 3)
    assert [trial[:2] for trial in found] == [(n, one.defaults) for n, one in CANDIDATES.items()]
    assert [trial.value for trial in found] == pytest.approx([0.75, 0.225, 0.13])


def test_the_search_finds_what_is_good(tmp_path: Path) -> None:
    trials = Trials(tmp_path, CANDIDATES, {}, 5)
    trials.run(quality, 40)
    best = trials.best()
    assert best.model == 'solved'
    assert best.value > 0.95
    assert best.value == quality(best.model, best.options, lambda epoch, value: None)
    late = Counter(trial.model for trial in trials.finished()[20:])
    assert late['solved'] > late['trained'] + late['named']  # It learns where to look.


def test_a_bad_trial_is_stopped_early(tmp_path: Path) -> None:
    lengths: list[int] = []

    def objective(model: str, options: dict[str, Any], report: Report) -> float:
        lengths.append(0)
        for epoch in range(20):
            lengths[-1] += 1
            report(epoch, epoch / 20 if len(lengths) < 6 else 0.0)
        return 1.0

    trials = Trials(tmp_path, {'one': Candidate({'x': 0.5}, {'x': Range(0.0, 1.0)})}, {}, 0)
    trials.run(objective, 6)
    *whole, last = trials.finished()
    assert lengths == [20] * 5 + [6]
    assert last.was_stopped
    assert not any(trial.was_stopped for trial in whole)
    assert last.value == 0.0
    assert trials.best() == whole[0]


def test_a_killed_search_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    (tmp_path / 'killed').mkdir()
    script = Path(__file__).with_name('killed_search.py')
    for stop in (0, 3, 14):
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / 'killed'), str(stop)],
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == 'in a trial\n'
        process.kill()
        process.wait()
        process.stdout.close()
    assert searched(tmp_path / 'killed') == searched(tmp_path / 'whole')


def test_more_trials_go_on_and_fewer_do_nothing(tmp_path: Path) -> None:
    first = searched(tmp_path / 'a', 10)
    assert searched(tmp_path / 'a', 5) == first
    assert searched(tmp_path / 'a', 14) == searched(tmp_path / 'b', 14)
    assert searched(tmp_path / 'a', 14)[:10] == first


def test_what_has_no_options_is_tried_once(tmp_path: Path) -> None:
    computed = {'a': Candidate({}, {}), 'b': Candidate({}, {})}
    seen: list[str] = []

    def objective(model: str, options: dict[str, Any], report: Report) -> float:
        seen.append(model)
        return 1.0

    (tmp_path / 'two').mkdir()
    Trials(tmp_path / 'two', computed, {}, 0).run(objective, 9)
    assert seen == ['a', 'b']
    seen.clear()
    Trials(tmp_path, computed | CANDIDATES, {}, 0).run(objective, 20)
    assert (seen.count('a'), seen.count('b')) == (1, 1)


def test_a_repeated_trial_is_not_run(tmp_path: Path) -> None:
    seen: list[int] = []

    def objective(model: str, options: dict[str, Any], report: Report) -> float:
        seen.append(options['x'])
        return options['x'] / 2

    trials = Trials(tmp_path, {'one': Candidate({'x': 1}, {'x': (1, 2, 3)})}, {}, 0)
    trials.run(objective, 12)
    assert sorted(seen) == [1, 2, 3]
    assert len(trials.finished()) == 12
    assert {trial.value for trial in trials.finished() if trial.options['x'] == 3} == {1.5}


def test_the_seed_changes_the_trials(tmp_path: Path) -> None:
    a, b = searched(tmp_path / 'a', 8), searched(tmp_path / 'b', 8, seed=6)
    assert a[:3] == b[:3]
    assert a[3:] != b[3:]


def test_no_time_is_one_trial(tmp_path: Path) -> None:
    seen: list[Trial] = []
    assert searched(tmp_path, 8, seconds=0.0, after=seen.append) == seen
    assert len(seen) == 1


def test_another_search_is_refused(tmp_path: Path) -> None:
    searched(tmp_path, 1, about={'dataset': 'a'})
    with pytest.raises(ValueError, match=r"another search \(dataset 'a', now 'b'\); give a new"):
        searched(tmp_path, 1, about={'dataset': 'b'})
    with pytest.raises(ValueError, match=r'another search \(seed 5, now 6\)'):
        searched(tmp_path, 1, about={'dataset': 'a'}, seed=6)
