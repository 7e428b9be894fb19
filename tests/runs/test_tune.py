import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from torch_geometric.data import HeteroData

from pyg_mmgef import Run, fit
from pyg_mmgef.runs import tune
from pyg_mmgef.runs._tuned_options import candidate, settings_of, tuned_settings
from pyg_mmgef.runs.models import models
from pyg_mmgef.runs.search_spaces import Range
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.settings import Settings
from tests.cli.command import environment
from tests.transforms.shops import random_shop

pytest.importorskip('optuna')
SMALL: dict[str, Any] = {'embedding_dim': 8, 'epochs': 3}


def shop() -> HeteroData:
    return random_shop(num_users=40, num_items=30)


def summary(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / 'tune.json').read_text())
    assert found.pop('seconds') > 0
    found.pop('sha256', None)
    return found


def test_the_winner_is_the_best_on_validation_and_its_run_has_its_options(tmp_path: Path) -> None:
    run = tune(shop(), ['ials', 'lightgcn'], trials=6, folder=tmp_path, **SMALL)
    found = summary(tmp_path)
    assert len(found['trials']) == 6
    whole = [trial for trial in found['trials'] if not trial['was_stopped']]
    assert found['best']['value'] == max(trial['value'] for trial in whole)
    assert run.settings.model == found['best']['model']
    for name, value in found['best']['options'].items():
        given = run.settings.options if name.startswith('options.') else vars(run.settings)
        assert given[name.removeprefix('options.')] == value
    assert run.settings.embedding_dim == 8
    assert run.settings.split == 'global_time'
    loaded = Run.load(tmp_path / 'best')
    assert loaded.metrics == run.metrics
    run.model.cold_scale = 1.0  # Trials measure without it.
    del run.embeddings
    assert run.evaluate('val')['recall@20'] == pytest.approx(found['best']['value'])


def test_the_first_trial_is_what_fit_does(tmp_path: Path) -> None:
    tune(shop(), 'lightgcn', trials=1, folder=tmp_path, **SMALL)
    run = fit(shop(), 'lightgcn', **SMALL)
    assert summary(tmp_path)['best']['value'] == max(row['val_recall@20'] for row in run.history)


def test_a_search_that_is_not_verbose_is_silent() -> None:
    script = (
        'from tests.runs.test_tune import SMALL, shop, tune\n'
        "if __name__ == '__main__':\n"
        "    tune(shop(), 'mf', trials=1, **SMALL)\n"
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert 'available' not in done.stdout + done.stderr
    assert done.stdout == ''


KILLED = """
import sys
from importlib import import_module
from pathlib import Path
from pyg_mmgef.runs import tune
from tests.runs.test_tune import SMALL, shop

if __name__ == '__main__':
    tune(shop(), ['ials', 'mf'], trials=7, folder=Path(sys.argv[1]), verbose=True, **SMALL)
"""


def test_a_killed_search_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, '-u', '-c', KILLED, str(tmp_path / 'killed')],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith('trial 4'):
            break
    process.kill()
    process.wait()
    process.stdout.close()
    assert not (tmp_path / 'killed' / 'tune.json').exists()
    runs = [
        tune(shop(), ['ials', 'mf'], trials=7, folder=tmp_path / name, **SMALL)
        for name in ('killed', 'whole')
    ]
    assert runs[0].metrics == runs[1].metrics
    assert summary(tmp_path / 'killed') == summary(tmp_path / 'whole')


def test_the_same_call_again_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tune(shop(), 'ease', trials=3, folder=tmp_path)
    monkeypatch.setattr(import_module('pyg_mmgef.runs.tune')._Search, 'value', None)
    assert tune(shop(), 'ease', trials=3, folder=tmp_path).metrics == run.metrics
    with pytest.raises(ValueError, match=r'has the trials of another search \(models'):
        tune(shop(), ['ease', 'ials'], trials=3, folder=tmp_path)


def test_all_models_that_the_data_has_what_they_need_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = shop()
    for name in [key for key in data['item'] if key.startswith(('x', 'has'))]:
        del data['item'][name]
    run = tune(data, trials=3, verbose=True, **SMALL)
    shown = capsys.readouterr().out
    assert 'without vbpr: ' in shown
    assert 'trial 3: recall@20' in shown
    assert '3 trials, 0 of them stopped early; the best on validation is trial ' in shown
    assert run.folder is None
    with pytest.raises(ValueError, match="'data' has no"):
        tune(data, 'vbpr', trials=1)


def test_a_better_winner_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    names = ['popularity', 'ease', 'ials']
    for trials in (1, 2, 3, 6):
        run = tune(shop(), names, trials=trials, folder=tmp_path, embedding_dim=8)
        best = summary(tmp_path)['best']
        assert run.settings.model == best['model'] == Run.load(tmp_path / 'best').settings.model
        assert len(summary(tmp_path)['trials']) == trials


@pytest.mark.parametrize('name', sorted(models()))
def test_every_model_has_settings_with_its_defaults(name: str) -> None:
    settings = settings_of(Settings(epochs=5, options={'num_experts': 3}), name)
    one = candidate(settings, num_users=50)
    assert set(one.defaults) == set(one.space)
    for key, choices in one.space.items():
        default = one.defaults[key]
        inside = (
            choices.low <= default <= choices.high
            if isinstance(choices, Range)
            else default in choices
        )
        assert inside, key
    assert ('lr' in one.space) == models()[name].is_trained
    assert 'options.num_experts' not in one.space
    assert (settings.epochs == 5) == models()[name].is_trained
    chosen = tuned_settings(settings, one.defaults)
    assert chosen.model == name
    assert chosen.budget == 0


def test_what_is_given_is_not_searched() -> None:
    common = Settings(embedding_dim=8, loss='softmax', options={'contrast_weight': 0.5})
    settings = settings_of(common, 'mgcn')
    one = candidate(settings, num_users=50)
    assert not {'embedding_dim', 'l2', 'options.contrast_weight'} & set(one.space)
    assert {'lr', 'temperature', 'options.temperature', 'neighbors'} <= set(one.space)
    chosen = tuned_settings(settings, {'temperature': 0.1, 'options.temperature': 0.4})
    assert (chosen.temperature, chosen.embedding_dim) == (0.1, 8)
    assert chosen.options == {'contrast_weight': 0.5, 'temperature': 0.4}


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'models': 'nope'}, ValueError, "'model' must be one of"),
        ({'trials': 0}, ValueError, "'trials' must be a positive integer"),
        ({'minutes': -1.0}, ValueError, "'minutes' must be positive"),
        ({'split': 'none'}, ValueError, "split='none' leaves nothing to choose by"),
        ({'epoch': 3}, TypeError, r"tune\(\) has no option 'epoch'; did you mean 'epochs'"),
    ],
)
def test_mistakes(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tune(shop(), **{'models': 'ease', 'trials': 1, **arguments})


def test_test_is_not_read_by_trials(tmp_path: Path) -> None:
    """Other test interactions change neither trials nor the winner."""
    data, other = shop(), shop()
    edges, time = other[INTERACTS].edge_index, other[INTERACTS].time
    run = tune(data, 'ease', trials=4, folder=tmp_path / 'a')
    tested = {tuple(pair) for pair in run.test[INTERACTS].edge_label_index.t().tolist()}
    users = edges[0].tolist()
    owned = {tuple(pair) for pair in edges.t().tolist()}
    for column, user in enumerate(users):
        if (user, int(edges[1, column])) in tested:
            free = next(item for item in range(30) if (user, item) not in owned)
            owned.add((user, free))
            edges[1, column] = free
    assert (time == data[INTERACTS].time).all()
    tune(other, 'ease', trials=4, folder=tmp_path / 'b')
    assert summary(tmp_path / 'a') == summary(tmp_path / 'b')
