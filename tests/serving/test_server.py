import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from pyg_mmgef.serving import Settings, serve
from tests.serving.conftest import TOKEN
from tests.serving.exports import make_export
from tests.serving.servers import ROOT, RunningServer, running

HEADERS = {'Authorization': f'Bearer {TOKEN}'}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_export(tmp_path_factory.mktemp('shop') / 'export')


@pytest.fixture(scope='module')
def server(folder: Path) -> Iterator[RunningServer]:
    with running(folder, folder.parent / 'log', '--workers', '2', token=TOKEN) as started:
        yield started


def test_neither_torch_nor_pyg_is_imported(folder: Path) -> None:
    script = (
        'import sys\n'
        'from pathlib import Path\n'
        'from pyg_mmgef.serving import Ask, Engine, Settings, load_export, make_app\n'
        'make_app(Settings(Path(sys.argv[1])))\n'
        'Engine(load_export(Path(sys.argv[1]))).answer([Ask(user="u1"), Ask(liked=["I1"])])\n'
        "heavy = {'torch', 'torch_geometric', 'scipy', 'sklearn', 'duckdb', 'lightning', 'PIL'}\n"
        'assert not heavy & set(sys.modules), heavy & set(sys.modules)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', script, str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_workers_that_are_killed_start_again(server: RunningServer, folder: Path) -> None:
    """A request fails only with the connection of a killed worker, and succeeds when repeated."""
    stop, wrong = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            for attempt in range(3):
                try:
                    status = server.get('/recommend/u1').status_code
                except httpx.TransportError as error:
                    if attempt == 2:
                        wrong.append(repr(error))
                    continue
                if status != 200:
                    wrong.append(str(status))
                break

    before = set(server.workers())
    assert len(before) == 2
    thread = threading.Thread(target=ask)
    thread.start()
    for worker in before:
        os.kill(worker, signal.SIGKILL)
        until = time.monotonic() + 20
        while worker in server.workers() or len(server.workers()) < 2:
            assert time.monotonic() < until
            time.sleep(0.02)
    stop.set()
    thread.join()
    assert wrong == []
    assert not before & set(server.workers())


def test_acknowledged_changes_outlive_kills(server: RunningServer) -> None:
    kept = []
    for number in range(40):
        body = {'item': f'N{number}', 'vector': [number + 1.0] * 8}
        if number % 20 == 10:
            os.kill(server.workers()[number % 2], signal.SIGKILL)
        for _ in range(100):
            try:
                response = httpx.post(f'{server.address}/items', json=body, headers=HEADERS)
            except httpx.TransportError:  # Not acknowledged; it may be there or not.
                continue
            if response.status_code in (201, 409):
                kept.append(body['item'])
                break
            time.sleep(0.05)
    assert len(kept) == 40
    for _ in range(10):  # Whichever worker answers.
        found = server.get('/items', params={'search': 'N', 'limit': 100}).json()['items']
        assert set(kept) <= {item['item'] for item in found}


def test_no_request_fails_while_exports_are_swapped(server: RunningServer, folder: Path) -> None:
    stop, wrong, versions = threading.Event(), [], set()

    def ask() -> None:
        with httpx.Client(base_url=server.address) as client:
            while not stop.is_set():
                response = client.get('/recommend/u1')
                if response.status_code == 200:
                    versions.add(response.json()['version'])
                else:
                    wrong.append(response.text)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for seed in range(1, 4):
        make_export(folder, seed=seed, version=f'versions/{seed}')
        time.sleep(1.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(versions) >= 3


def test_workers_count_together_and_log_without_names(server: RunningServer) -> None:
    for _ in range(20):
        server.get('/recommend/secret-user')
    lines = server.get('/metrics').text.splitlines()
    line = 'pyg_mmgef_requests_total{method="GET",route="/recommend/{user}",status="200"}'
    (count,) = (float(one.rsplit(' ', 1)[1]) for one in lines if one.startswith(line))
    assert count >= 20  # Of all workers, whichever answered.
    requests = [one for one in server.log() if one['event'] == 'request']
    assert {'time', 'level', 'method', 'route', 'status', 'ms'} <= set(requests[-1])
    assert 'secret-user' not in str(server.log())
    assert TOKEN not in str(server.log())


def test_a_port_that_is_taken(folder: Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as one:
        port = one.getsockname()[1]
        with pytest.raises(OSError, match=f'cannot listen on 127.0.0.1:{port}.*--port'):
            serve(Settings(folder), port=port)


def test_an_export_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'has no export\.json'):
        serve(Settings(tmp_path))
