import json
from pathlib import Path

import pytest

from tests.cli.command import pyg_mmgef

LIGHT = ('--model', 'mgcn', '--epochs', 2, '--embedding-dim', 8, '--set', 'contrast_weight=0.5')


def settings_of(run: Path) -> dict[str, object]:
    return json.loads((run / 'config.json').read_text())['settings']


def test_the_file_of_a_run_repeats_it(dataset: Path, tmp_path: Path) -> None:
    pyg_mmgef('train', dataset, '-o', tmp_path / 'a', *LIGHT)
    pyg_mmgef('train', '-o', tmp_path / 'b', '--config', tmp_path / 'a' / 'run.toml')
    assert settings_of(tmp_path / 'a')['options'] == {'contrast_weight': 0.5}
    for name in ('config.json', 'metrics.json', 'run.toml'):
        assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes()


def test_options_of_the_command_come_first(dataset: Path, tmp_path: Path) -> None:
    config = tmp_path / 'my.toml'
    config.write_text(
        'model = "ials"\nembedding_dim = 8\nseed = 3\nsplit = "random"\nmodalities = ["text"]\n'
        '[options]\nnum_sweeps = 2\nl2_exponent = 0.25\n'
    )
    given = ('--seed', 0, '--l2', 0.2, '--set', 'num_sweeps=1')
    pyg_mmgef('train', dataset, '-o', tmp_path / 'run', '--config', config, *given)
    settings = settings_of(tmp_path / 'run')
    assert (settings['seed'], settings['l2'], settings['split']) == (0, 0.2, 'random')
    assert settings['embedding_dim'] == 8
    assert settings['modalities'] == ['text']
    assert settings['options'] == {'num_sweeps': 1}


@pytest.mark.parametrize(
    ('text', 'code', 'message'),
    [
        ('epoch = 3', 1, "has an unknown setting 'epoch'; did you mean 'epochs'?"),
        ('epochs = "ten"', 2, "Invalid value for '--epochs': "),
        ('split = "yesterday"', 2, "Invalid value for '--split'"),
        ('options = 3', 1, "'options' must be a table (got 3)"),
        ('epochs =', 1, 'is no TOML file'),
        ('[options]\nnope = 1', 1, "has no further option 'nope' (it has content_count"),
    ],
)
def test_mistakes(dataset: Path, tmp_path: Path, text: str, code: int, message: str) -> None:
    (tmp_path / 'my.toml').write_text(text)
    words = ('train', dataset, '-o', tmp_path / 'run', '--config', tmp_path / 'my.toml')
    assert message in pyg_mmgef(*words, fails=code)


def test_a_file_that_is_not_there(dataset: Path, tmp_path: Path) -> None:
    words = ('train', dataset, '-o', tmp_path / 'run', '--config', tmp_path / 'no.toml')
    assert 'does not exist' in pyg_mmgef(*words, fails=2)


def test_an_option_that_is_no_assignment(dataset: Path, tmp_path: Path) -> None:
    words = ('train', dataset, '-o', tmp_path / 'run', '--set', 'num_sweeps')
    assert "--set must be NAME=VALUE (got 'num_sweeps')" in pyg_mmgef(*words, fails=1)


def test_tune(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip('optuna')
    words = ('tune', dataset, '-o', tmp_path, '--model', 'ials', '--model', 'ease')
    shown = pyg_mmgef(*words, '--trials', 4, '--embedding-dim', 8)
    assert 'split global_time' in shown
    assert 'trial 4: recall@20' in shown
    assert '4 trials, 0 of them stopped early; the best on validation is trial' in shown
    assert 'EASE, test' in shown
    settings = settings_of(tmp_path / 'best')
    assert settings['model'] in ('ials', 'ease')
    again = ('train', '-o', tmp_path / 'again', '--config', tmp_path / 'best' / 'run.toml')
    pyg_mmgef(*again)
    metrics = [
        json.loads((tmp_path / name / 'metrics.json').read_text()) for name in ('best', 'again')
    ]
    assert metrics[0] == metrics[1]
    more = pyg_mmgef(*words, '--trials', 6, '--embedding-dim', 8)
    assert 'trial 4: ' not in more
    assert 'trial 6: ' in more
    error = pyg_mmgef(*words, '--trials', 5, '--embedding-dim', 4, fails=1)
    assert 'has the trials of another search (settings' in error
    assert 'must be one of' in pyg_mmgef('tune', dataset, '-o', tmp_path, '--model', 'x', fails=1)
