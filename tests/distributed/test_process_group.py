"""Processes of a group that end, are late or are told to end, as torchrun starts them."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from pyg_mmgef.distributed import Place, process_group

ALONE = Place(0, 1, torch.device('cpu'))


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(autouse=True)
def _without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)


def test_a_script_that_torchrun_did_not_start() -> None:
    with process_group() as place:
        assert place == ALONE
        x = torch.ones(2)
        dist.all_reduce(x)
        assert x.tolist() == [1, 1]
    assert not dist.is_initialized()


@pytest.mark.parametrize('timeout', [0, -1.5, float('nan')])
def test_timeout_is_positive(timeout: float) -> None:
    with pytest.raises(ValueError, match="'timeout' must be positive"), process_group(timeout):
        pass


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setenv('LOCAL_RANK', '2')
    message = r"process 2 has no GPU \(this machine has 2\).*nproc-per-node 2.*VISIBLE_DEVICES=''"
    with pytest.raises(ValueError, match=message), process_group():
        pass


def test_errors_of_the_block_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match=r'^the peer timed out$'), process_group():
        raise RuntimeError('the peer timed out')
    assert not dist.is_initialized()


def test_a_group_within_another() -> None:
    with process_group():
        with pytest.raises(ValueError, match='twice'), process_group():
            pass
        assert dist.is_initialized(), 'the outer one goes on'


def test_told_to_end() -> None:
    message = 'process 0 stops, because it was told to end'
    with pytest.raises(SystemExit, match=message), process_group():
        os.kill(os.getpid(), signal.SIGTERM)
    assert not dist.is_initialized()


def test_told_to_end_while_an_error_is_on_its_way() -> None:
    with pytest.raises(ValueError, match='of its own'), process_group():
        raise ValueError('of its own')
    with pytest.raises(SystemExit, match='it was told to end'):
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_handler_of_signals_is_there_for_the_block_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with process_group():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def exchange(place: Place, folder: Path) -> None:
    """Add up numbers, though the second process takes its time."""
    time.sleep(0.3 * place.rank)
    total = torch.tensor(1 + place.rank)
    dist.all_reduce(total)
    (folder / str(place.rank)).write_text(f'{place} {total.item()}')


def die(place: Place, folder: Path) -> None:
    """Let the second process be killed while the first one waits for it."""
    if place.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


def be_late(place: Place, folder: Path) -> None:
    """Let the second process sleep, until it is told to end because the first one has failed."""
    if place.rank == 1:
        time.sleep(60)
    dist.barrier()


def work(case: str, folder: Path, timeout: float) -> None:
    """Be one of two processes, and write the error to a file."""
    torch.cuda.is_available = lambda: False
    rank = os.environ['RANK']
    (folder / f'ready-{rank}').touch()
    while len(list(folder.glob('ready-*'))) < 2:  # A start may take longer than the timeout.
        time.sleep(0.01)
    if case == 'stay_away' and rank == '1':
        time.sleep(60)
    try:
        with process_group(timeout) as place:
            {'exchange': exchange, 'die': die, 'be_late': be_late}[case](place, folder)
    except BaseException as error:
        (folder / rank).write_text(f'{type(error).__name__}: {error}')
        raise


def run_two(
    case: str, folder: Path, *, timeout: float = 60.0, monitor_interval: float = 0.1
) -> tuple[str, str]:
    """Start two processes as torchrun does, and return what each wrote."""
    mp.get_context('forkserver').set_forkserver_preload(['pyg_mmgef.distributed'])
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend='c10d',
        rdzv_endpoint='127.0.0.1:0',
        local_addr='127.0.0.1',
        max_restarts=0,
        monitor_interval=monitor_interval,
        start_method='forkserver',
    )
    failed = contextlib.nullcontext() if case == 'exchange' else pytest.raises(ChildFailedError)
    with failed:
        elastic_launch(config, work)(case, folder, timeout)
    first, second = (folder / '0', folder / '1')
    return first.read_text(), second.read_text() if second.exists() else ''


def test_two_processes(tmp_path: Path) -> None:
    expected = [f'{Place(rank, 2, torch.device("cpu"))} 3' for rank in range(2)]
    assert [*run_two('exchange', tmp_path)] == expected


def test_another_process_dies(tmp_path: Path) -> None:
    # Late enough that the first process learns of it by itself.
    first, _ = run_two('die', tmp_path, monitor_interval=2.0)
    assert first.startswith('RuntimeError: process 0 stops, because another process has ended')
    assert 'the report of torchrun names it' in first
    assert 'Run the same command again to go on from the last checkpoint' in first


def test_another_process_is_late(tmp_path: Path) -> None:
    first, second = run_two('be_late', tmp_path, timeout=2)
    assert first.startswith('RuntimeError: process 0 stops, because another process did not answer')
    assert 'within timeout=2 seconds; give it longer if it is only slow' in first
    assert second.startswith('SystemExit: process 1 stops, because it was told to end')
    assert 'Run the same command again' in second


def test_another_process_never_joins(tmp_path: Path) -> None:
    first, _ = run_two('stay_away', tmp_path, timeout=2)
    assert first.startswith('RuntimeError: process 0 stops, because another process did not answer')
    assert 'within timeout=2 seconds' in first
