"""Requests to a server from a number of connections, each answer checked and timed."""

import asyncio
import csv
import io
import itertools
import json
import math
import re
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ['Connection', 'Tally', 'closed_loop', 'hey', 'wrk']

LOST = 0
"""The status of a request whose connection broke."""
Check = Callable[[str, bytes], bool]


def _quantile(seconds: list[float], share: float) -> float:
    """Return the time within which a share of the requests was answered, in milliseconds."""
    if not seconds:
        return math.nan
    return 1e3 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


@dataclass
class Tally:
    """How requests were answered."""

    count: Counter[int] = field(default_factory=Counter)
    """Number of requests by their status."""
    seconds: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: int = 0
    """Number of answers with status 200 that aren't right."""
    lost_twice: int = 0
    """Number of requests whose repetition was lost, too."""

    def summary(self) -> dict[str, Any]:
        """Return what is kept."""
        return {
            'count': {str(status): number for status, number in sorted(self.count.items())},
            'p50_ms': {str(s): _quantile(times, 0.5) for s, times in sorted(self.seconds.items())},
            'p99_ms': {str(s): _quantile(times, 0.99) for s, times in sorted(self.seconds.items())},
            'wrong': self.wrong,
            'lost_twice': self.lost_twice,
        }


class Connection:
    """A connection that is kept and, where it broke, opened anew."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, path: str, method: str = 'GET', body: Any = None, headers: str = ''
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer; the status is 0 if the connection broke."""
        content = b'' if body is None else json.dumps(body).encode()
        length = f'Content-Type: application/json\r\nContent-Length: {len(content)}\r\n'
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            head = f'{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{headers}{length}\r\n'
            writer.write(head.encode() + content)
            answer = (await reader.readuntil(b'\r\n\r\n')).lower()
            found = re.search(rb'content-length: (\d+)', answer)
            assert found is not None
            status = int(answer[9:12])
            content = await reader.readexactly(int(found[1]))
            if b'connection: close' in answer:
                self.close()
            return status, content
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return LOST, b''

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def _counted(connection: Connection, path: str, check: Check, tally: Tally) -> None:
    start = time.perf_counter()
    status, body = await connection.ask(path)
    tally.count[status] += 1
    tally.seconds[status].append(time.perf_counter() - start)
    if status == 200 and not check(path, body):
        tally.wrong += 1
    if status == LOST:
        again, body = await connection.ask(path)
        if again != 200 or not check(path, body):
            tally.lost_twice += 1


async def closed_loop(
    host: str,
    port: int,
    paths: list[str],
    check: Check,
    connections: int,
    stop: Callable[[], bool],
) -> Tally:
    """Ask from each connection one request after the other, and lost ones once more."""
    tally, following = Tally(), itertools.cycle(paths)

    async def one() -> None:
        connection = Connection(host, port)
        while not stop():
            await _counted(connection, next(following), check, tally)
        connection.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return tally


def hey(address: str, path: str, connections: int, rate: float, seconds: int) -> dict[str, Any]:
    """Return the times of answers by their status, measured by hey at up to a rate a second.

    A connection waits for its answer, so there are fewer requests if answers take longer than it
    has for one.
    """
    done = subprocess.run(
        [
            *('hey', '-o', 'csv', '-z', f'{seconds}s', '-c', str(connections)),
            *('-q', f'{rate / connections:.3f}', f'{address}{path}'),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    tally = Tally()
    for row in csv.DictReader(io.StringIO(done.stdout)):
        status = int(row['status-code'])
        tally.count[status] += 1
        tally.seconds[status].append(float(row['response-time']))
    return {'rate': sum(tally.count.values()) / seconds, **tally.summary()}


def wrk(address: str, paths: list[str], connections: int, seconds: int) -> dict[str, float]:
    """Return requests a second and times in milliseconds, measured by wrk.

    Raises:
        RuntimeError: If an answer had another status than 200, or a connection broke.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / 'paths.lua'
        script.write_text(''.join(_script(paths)))
        done = subprocess.run(
            [
                *('wrk', '-t1', f'-c{connections}', f'-d{seconds}s', '--latency'),
                *('-s', str(script), address),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    requests, micro50, micro99, errors = map(float, done.stdout.split('RESULT')[1].split())
    if errors:
        raise RuntimeError(f'{errors:.0f} requests failed: {done.stdout}')
    return {'requests_s': requests / seconds, 'p50_ms': micro50 / 1e3, 'p99_ms': micro99 / 1e3}


def _script(paths: list[str]) -> Iterator[str]:
    yield 'local paths = {' + ', '.join(f'"{path}"' for path in paths) + '}\n'
    yield 'local last = 0\n'
    yield 'request = function() last = last % #paths + 1\n'
    yield 'return wrk.format("GET", paths[last]) end\n'
    yield (
        'done = function(summary, latency) local e = summary.errors; '
        'print("RESULT", summary.requests, latency:percentile(50), latency:percentile(99), '
        'e.connect + e.read + e.write + e.status + e.timeout) end\n'
    )
