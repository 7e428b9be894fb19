"""A run that was killed and started again equals one that nobody disturbed, to the bit."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pyg_mmgef.training import AtomicCheckpointIO
from tests.training import job


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('undisturbed')
    job.train(folder)
    return folder


def run(folder: Path, *arguments: object) -> int:
    command = [sys.executable, job.__file__, str(folder), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode


def final(folder: Path) -> object:
    return torch.load(folder / 'final.pt', weights_only=True)


def test_killed_in_an_epoch(undisturbed: Path, tmp_path: Path) -> None:
    assert run(tmp_path, '--kill', 3, 2) == -signal.SIGKILL
    assert epoch_of_last(tmp_path) == 2
    assert not (tmp_path / 'final.pt').exists()
    assert run(tmp_path) == 0
    assert_equal_runs(tmp_path, undisturbed)


def test_killed_while_writing_a_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    assert run(tmp_path, '--kill-writing', 3) == -signal.SIGKILL
    assert list((tmp_path / 'checkpoints').glob('*.tmp'))
    assert epoch_of_last(tmp_path) == 2
    job.train(tmp_path)
    assert_equal_runs(tmp_path, undisturbed)


def epoch_of_last(folder: Path) -> int:
    epoch: int = torch.load(folder / 'checkpoints' / 'last.ckpt', weights_only=True)['epoch']
    return epoch


def assert_equal_runs(tmp_path: Path, undisturbed: Path) -> None:
    job.assert_equal_states(final(tmp_path), final(undisturbed))
    assert job.rows(tmp_path) == job.rows(undisturbed)
    assert sorted(job.rows(tmp_path)) == list(range(job.EPOCHS))
    for name in ('best', 'last'):
        states = [
            torch.load(folder / 'checkpoints' / f'{name}.ckpt', weights_only=True)
            for folder in (tmp_path, undisturbed)
        ]
        job.assert_equal_states(*(state['state_dict'] for state in states))
        assert len({state['epoch'] for state in states}) == 1


def test_the_run_uses_all_that_must_survive(undisturbed: Path) -> None:
    """Without any of these in the run, the test above would prove less than it says."""
    state = torch.load(undisturbed / 'checkpoints' / 'last.ckpt', weights_only=True)
    assert state['state_dict']['model.item_encoder.graphs._extra_state']['edge_index'].numel() > 0
    assert state['InteractionDataModule']['generator'].numel() > 0
    assert state['rng_state']['cpu'].numel() > 0
    recall = [float(row['val_recall@20']) for row in job.rows(undisturbed).values()]
    best = max(range(job.EPOCHS), key=recall.__getitem__)
    assert 0 < best < job.EPOCHS - 1
    assert torch.load(undisturbed / 'checkpoints' / 'best.ckpt')['epoch'] == best


@pytest.mark.parametrize('lost', ['InteractionDataModule', 'rng_state', 'optimizer_states'])
def test_what_a_checkpoint_lacks_would_be_noticed(
    lost: str, undisturbed: Path, tmp_path: Path
) -> None:
    """The counter-test: a resume without one of these parts ends elsewhere."""
    job.train(tmp_path, max_epochs=3)
    path = tmp_path / 'checkpoints' / 'last.ckpt'
    state = torch.load(path, weights_only=True)
    if lost == 'optimizer_states':
        state[lost][0]['state'] = {}
    else:
        del state[lost]
    AtomicCheckpointIO().save_checkpoint(state, path)
    job.train(tmp_path)
    with pytest.raises(AssertionError):
        job.assert_equal_states(final(tmp_path), final(undisturbed))


def test_early_stopping_counts_on_and_ends_where_it_would_have(tmp_path: Path) -> None:
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    limits: dict[str, Any] = {'patience': 4}
    stopped = job.train(whole, max_epochs=60, **limits).current_epoch
    assert 5 < stopped < 60, 'it must improve before it stops'
    # Stop while the counter is one below its limit, which only the checkpoint knows afterwards.
    job.train(parts, max_epochs=stopped - 1, **limits)
    assert job.train(parts, max_epochs=60, **limits).current_epoch == stopped
    job.assert_equal_states(final(parts), final(whole))
    # A run that has ended stays ended, however often it is started again.
    job.train(parts, max_epochs=60, **limits)
    assert sorted(job.rows(parts)) == list(range(stopped))
    job.assert_equal_states(final(parts), final(whole))
