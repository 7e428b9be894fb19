"""Servers in processes of their own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil

ROOT = Path(__file__).parents[2]


class RunningServer:
    """A server that answers, and what is known of its processes."""

    def __init__(self, process: subprocess.Popen[str], address: str, log: Path) -> None:
        self.process, self.address, self._log = process, address, log

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f'{self.address}{path}', timeout=10, **options)

    def workers(self) -> list[int]:
        """The processes below that of the command which accept connections."""
        out = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # It has just been killed.
                if 'spawn_main' in ' '.join(child.cmdline()):
                    out.append(child.pid)
        return out

    def log(self) -> list[dict[str, Any]]:
        """The lines on stderr."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def running(export: Path, log: Path, *options: str, token: str = '') -> Iterator[RunningServer]:
    """Start the command, wait until it answers, and end it as an operator does."""
    port = free_port()
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYG_MMGEF_TOKEN': token}
    command = [sys.executable, '-m', 'pyg_mmgef', 'serve', str(export), '--port', str(port)]
    with (
        log.open('w') as file,
        subprocess.Popen([*command, *options], stderr=file, env=environment, text=True) as process,
    ):
        server = RunningServer(process, f'http://127.0.0.1:{port}', log)
        try:
            until = time.monotonic() + 30
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if server.get('/health').status_code == 200:
                        break
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.02)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
