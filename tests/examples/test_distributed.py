"""The distributed example, on one process and on two; one of them is killed for real."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / 'examples' / 'distributed.py'
EPOCHS = 3
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']


def command(launcher: list[str], root: Path, output: Path) -> list[str]:
    # An odd batch, so that the shares of two processes differ, and enough of them to kill between.
    options = {'--root': root, '--output': output, '--epochs': EPOCHS, '--batch-size': 511}
    return [*launcher, str(SCRIPT), *(str(x) for pair in options.items() for x in pair)]


def one_thread() -> dict[str, str]:
    return os.environ | {'OMP_NUM_THREADS': '1'}


def run(launcher: list[str], root: Path, output: Path) -> str:
    done = subprocess.run(
        command(launcher, root, output),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=one_thread(),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def curve(output: Path) -> list[dict[str, float]]:
    epochs: list[dict[str, float]] = json.loads((output / 'curve.json').read_text())
    return epochs


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('shop')


@pytest.fixture(scope='module')
def undisturbed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of two processes that nobody killed."""
    output = tmp_path_factory.mktemp('undisturbed')
    text = run(TORCHRUN, root, output)
    assert 'Process 1 of 2' in text
    assert text.count('ndcg@20') == 1, 'only the first process reports'
    return output


def test_two_processes_learn_what_one_learns(root: Path, undisturbed: Path, tmp_path: Path) -> None:
    assert 'Process 0 of 1' in run([sys.executable], root, tmp_path)
    one, two = curve(tmp_path), curve(undisturbed)
    assert len(one) == EPOCHS
    assert one[-1]['loss'] < 0.9 * one[0]['loss']
    assert two == [pytest.approx(epoch, rel=1e-4) for epoch in one]
    assert two != one, 'the sums are taken in another order, or were there two processes at all?'


def test_a_killed_worker_ends_the_job_which_can_go_on(
    root: Path, undisturbed: Path, tmp_path: Path
) -> None:
    log = tmp_path / 'log.txt'
    with log.open('w') as out:
        job = subprocess.Popen(
            command(TORCHRUN, root, tmp_path), stdout=out, stderr=out, env=one_thread()
        )
        wait_for((tmp_path / 'last.ckpt').exists, job)
        worker = re.search(r'Process 1 of 2 has pid (\d+)', log.read_text())
        assert worker is not None
        os.kill(int(worker[1]), signal.SIGKILL)
        started = time.monotonic()
        assert job.wait(timeout=60) != 0
    assert time.monotonic() - started < 20
    text = log.read_text()
    assert re.search(r'rank +: 1', text)
    assert 'SIGKILL' in text
    assert f'Run the same command again to go on from {tmp_path / "last.ckpt"}' in text

    state = torch.load(tmp_path / 'last.ckpt', weights_only=True)
    assert 0 < len(state['curve']) < EPOCHS
    run(TORCHRUN, root, tmp_path)
    assert curve(tmp_path) == curve(undisturbed)


def wait_for(condition: Callable[[], bool], job: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert job.poll() is None, 'the job ended before it could be disturbed'
        assert time.monotonic() < deadline
        time.sleep(0.02)
