"""A server under load: requests a second, overload, new exports, killed workers, kept changes.

    apt-get install wrk hey
    python benchmarks/serving.py --output docs/measured
    python benchmarks/serving.py --output docs/measured --page docs/measured

With ``--page``, nothing is measured: ``serving.rst`` in that folder is made of the results that lie
in the folder of the output.

Two exports of 100,000 users with 100,000 items and random vectors of 64 channels; each user has 20
items. Each request asks for ten items of one of 500 users, and each answer is compared with a
ranking by float64 inner products, but for those to wrk and hey, which look at the status alone.
The server has two workers; the load comes from the same machine, so it takes a part of the
processor.

- Load: wrk with 1, 16 and 128 connections.
- Overload: hey sends up to twice as many requests a second as wrk has reached, from 1,024
  connections. Meanwhile eight more ask for what is compared.
- Swaps: a link is turned to the other export 50 times, under the load of 16 connections.
- Kills: a worker is killed 50 times, under the same load. What breaks with the connection of a
  killed worker is counted, and asked for once more.
- Changes: 10,000 changes of prices and added items from 8 connections, with 20 kills. A change that
  wasn't acknowledged is sent again. Then the server is started anew, and all prices are compared.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import parser, read_json, write_json
from experiments.rst import list_table, measured_page, wrapped, write_page
from http_load import Connection, Tally, closed_loop, hey, wrk

from pyg_mmgef.serving import load_export

sys.path.append(str(Path(__file__).parents[1]))

from tests.serving.exports import make_export

HOST = '127.0.0.1'
TOKEN = 'a-token-of-a-benchmark'
NUM_USERS, NUM_ITEMS, CHANNELS, SEEN, ASKED, K = 100_000, 100_000, 64, 20, 500, 10
CONNECTIONS = (1, 16, 128)
WORKERS = 2
ABOUT = (
    'The command ``serve`` with two workers and an export of 100,000 users with 100,000 items, '
    'random vectors of 64 channels, 20 items of each user that are left out. Ten items a request, '
    'ranked exactly. The load comes from the same machine and takes a part of its processor: wrk, '
    'for overload hey with 1,024 connections.'
)


class Server:
    """The command ``serve`` in a process of its own."""

    def __init__(self, export: Path, workers: int = WORKERS) -> None:
        with socket.socket() as one:
            one.bind((HOST, 0))
            self.port = int(one.getsockname()[1])
        self.address = f'http://{HOST}:{self.port}'
        self.workers = workers
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [
                *(sys.executable, '-m', 'pyg_mmgef', 'serve', str(export)),
                *('--port', str(self.port), '--workers', str(workers), '--log-level', 'warning'),
            ],
            env={**os.environ, 'PYG_MMGEF_TOKEN': TOKEN},
        )
        while self.ask('/health')[0] != 200:
            time.sleep(0.005)
        self.seconds_to_start = time.perf_counter() - start
        self.wait_for_loads(workers)

    def ask(self, *request: Any, **options: Any) -> tuple[int, bytes]:
        """Send one request with a connection of its own."""

        async def once() -> tuple[int, bytes]:
            connection = Connection(HOST, self.port)
            answer = await connection.ask(*request, **options)
            connection.close()
            return answer

        return asyncio.run(once())

    def loads(self) -> int:
        """How often workers have begun to serve an export."""
        text = self.ask('/metrics')[1].decode()
        found = [x for x in text.splitlines() if x.startswith('pyg_mmgef_export_loads_total ')]
        return int(float(found[0].split()[1])) if found else 0

    def wait_for_loads(self, number: int, patience: float = 60.0) -> None:
        """Wait until workers have begun to serve so many exports, all together."""
        until = time.monotonic() + patience
        while self.loads() < number:
            if time.monotonic() > until:
                raise RuntimeError(f'{self.loads()} of {number} workers serve the export')
            time.sleep(0.05)

    def pids(self) -> list[int]:
        """The processes of the workers."""
        out = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if 'spawn_main' in ' '.join(child.cmdline()):
                    out.append(child.pid)
        return out

    def kill_one(self, number: int) -> None:
        """Kill a worker, and wait until the one in its place serves."""
        before, pids = self.loads(), self.pids()
        os.kill(pids[number % len(pids)], signal.SIGKILL)
        self.wait_for_loads(before + 1)

    def memory(self) -> dict[str, float]:
        """Return the memory of the workers in MiB: what is theirs alone, and with their share."""
        full = [psutil.Process(pid).memory_full_info() for pid in self.pids()]
        return {
            'workers': self.workers,
            'own_MiB': sum(one.uss for one in full) / 2**20 / len(full),
            'all_MiB': sum(one.pss for one in full) / 2**20,
        }

    def stop(self) -> None:
        """End the server as an operator does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Answers:
    """What is right: the ten best items of some users in each export."""

    def __init__(self, exports: list[Path]) -> None:
        self._best = {}
        for folder in exports:
            export = load_export(folder)
            z = export.item_vectors.astype(np.float64)
            for user in range(ASKED):
                score = z @ export.user_vectors[user].astype(np.float64)
                score[export.seen(user)] = -np.inf
                best = np.argsort(-score, kind='stable')[:K]
                self._best[export.version, user] = [f'I{row}' for row in best]
        self._right: set[tuple[str, bytes]] = set()
        self.paths = [f'/recommend/u{user}?k={K}' for user in range(ASKED)]
        random.Random(0).shuffle(self.paths)

    def check(self, path: str, body: bytes) -> bool:
        """Return whether an answer is right for the export that it names."""
        if (path, body) in self._right:
            return True
        answer = json.loads(body)
        user = int(path.partition('/u')[2].partition('?')[0])
        found = [item['item'] for item in answer['items']]
        if found != self._best[answer['version'], user]:
            return False
        self._right.add((path, body))
        return True


def while_asked(
    server: Server, answers: Answers, work: Callable[[], None], connections: int = 16
) -> Tally:
    """Do work while some connections ask."""
    over = threading.Event()
    failed: list[BaseException] = []

    def do() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=do)
    thread.start()
    tally = asyncio.run(
        closed_loop(HOST, server.port, answers.paths, answers.check, connections, over.is_set)
    )
    thread.join()
    if failed:
        raise failed[0]
    return tally


def swap(server: Server, current: Path, exports: list[Path], times: int) -> None:
    """Turn the link to the other export, and wait until all workers serve it."""
    for number in range(times):
        before = server.loads()
        following = current.with_name('following')
        following.symlink_to(exports[(number + 1) % 2])
        following.replace(current)
        server.wait_for_loads(before + server.workers)


class Changes:
    """Prices that change and items that are added, and the last price that each item was given."""

    def __init__(self, server: Server, number: int, kills: int) -> None:
        self.prices: dict[str, float] = {}
        self.kills = 0
        self._server, self._number, self._every = server, number, number // kills
        self._steps = iter(range(number))

    async def send(self, connections: int) -> None:
        """Send all changes; a worker is killed each time that some more are acknowledged."""
        loop = asyncio.get_running_loop()
        killing = asyncio.Semaphore(1)

        async def one(place: int) -> None:
            rng = random.Random(place)
            connection = Connection(HOST, self._server.port)
            for step in self._steps:
                item, price = await self._change(
                    connection, step, rng.randrange(NUM_ITEMS // 8), place
                )
                self.prices[item] = price
                if (step + 1) % self._every == 0:  # The other connections go on meanwhile.
                    async with killing:
                        await loop.run_in_executor(None, self._server.kill_one, self.kills)
                        self.kills += 1
            connection.close()

        await asyncio.gather(*(one(place) for place in range(connections)))

    async def _change(
        self, connection: Connection, step: int, draw: int, place: int
    ) -> tuple[str, float]:
        """Change an item that no other connection changes, until that is acknowledged."""
        price = float(step + 1)
        body: dict[str, Any] = {'fields': {'price': price}}
        item, path, method = f'I{8 * draw + place}', f'/items/I{8 * draw + place}', 'PUT'
        if step % 10 == 0:
            item, path, method = f'N{step}', '/items', 'POST'
            body |= {'item': item, 'vector': [float(step % 7 - 3)] * CHANNELS}
        status = 0
        while status not in (200, 201, 409):
            bearer = f'Authorization: Bearer {TOKEN}\r\n'
            status, _ = await connection.ask(path, method, body, bearer)
        return item, price


def lost_changes(server: Server, prices: dict[str, float]) -> int:
    """Return how many items don't have the price that was acknowledged."""
    lost, items = 0, iter(prices)
    while part := list(itertools.islice(items, 100)):
        rules = {'only': part, 'repeat': True}
        status, body = server.ask('/recommend', 'POST', {'k': len(part), 'rules': rules})
        assert status == 200, body
        found = {one['item']: one['fields'].get('price') for one in json.loads(body)['items']}
        lost += sum(found.get(item) != prices[item] for item in part)
    return lost


def measure_changes(current: Path, number: int, kills: int) -> dict[str, Any]:
    """Return how many of the changes are lost, though workers are killed and the server ends."""
    with serving(current) as server:
        changes = Changes(server, number, kills)
        asyncio.run(changes.send(8))
    with serving(current) as server:
        lost = lost_changes(server, changes.prices)
    return {
        'changes': number,
        'items': len(changes.prices),
        'kills': changes.kills,
        'lost': lost,
    }


def measure_overload(
    server: Server, answers: Answers, load: dict[int, dict[str, float]], seconds: int
) -> dict[str, Any]:
    """Return how requests are answered that are twice as many as the server can compute."""
    rate = 2 * max(row['requests_s'] for row in load.values())
    results: dict[str, Any] = {}

    def flood() -> None:
        results.update(hey(server.address, answers.paths[0], 1024, rate, seconds))

    checked = while_asked(server, answers, flood, connections=8)
    return {'wanted': rate, **results, 'checked': checked.summary()}


def measure(folder: Path, quick: bool) -> dict[str, Any]:
    """Return all results."""
    seconds, times, kills, changes = (2, 3, 3, 300) if quick else (10, 50, 50, 10_000)
    exports = [
        make_export(
            folder / name,
            num_users=NUM_USERS,
            num_items=NUM_ITEMS,
            channels=CHANNELS,
            seed=seed,
            seen_each=SEEN,
        )
        for seed, name in enumerate(('first', 'second'))
    ]
    current = folder / 'current'
    current.symlink_to(exports[0])
    answers = Answers(exports)
    results: dict[str, Any] = {'memory': [], 'load': {}}
    for workers in (1, 2, 4):
        with serving(current, workers) as server:
            results['memory'].append(server.memory())
            results.setdefault('seconds_to_start', server.seconds_to_start)
    with serving(current) as server:
        for connections in CONNECTIONS:
            wrk(server.address, answers.paths, connections, 1)
            row = wrk(server.address, answers.paths, connections, seconds)
            results['load'][connections] = row
            show(f'{connections} connections', row)
        results['overload'] = measure_overload(server, answers, results['load'], seconds)
        show('overload', results['overload'])
        tally = while_asked(server, answers, lambda: swap(server, current, exports, times))
        results['swaps'] = {'times': times, **tally.summary()}
        show('swaps', results['swaps'])

        def kill() -> None:
            for number in range(kills):
                server.kill_one(number)

        tally = while_asked(server, answers, kill)
        results['kills'] = {'times': kills, **tally.summary()}
        show('kills', results['kills'])
    results['changes'] = measure_changes(current, changes, 2 if quick else 20)
    show('changes', results['changes'])
    return results


@contextlib.contextmanager
def serving(export: Path, workers: int = WORKERS) -> Iterator[Server]:
    server = Server(export, workers)
    try:
        yield server
    finally:
        server.stop()


def show(name: str, row: dict[str, Any]) -> None:
    print(f'{name}: {json.dumps(row)}', flush=True)


def page(content: dict[str, Any]) -> str:
    """Return the page of the results."""
    results = content['results']
    cells = [
        [
            f'{connections} connection{"s" if connections != "1" else ""}',
            f'{row["requests_s"]:,.0f}',
            f'{row["p50_ms"]:.1f}',
            f'{row["p99_ms"]:.1f}',
            '0',
        ]
        for connections, row in results['load'].items()
    ]
    overload, swaps, kills = (results[name] for name in ('overload', 'swaps', 'kills'))
    others = [n for status, n in overload['count'].items() if status not in ('200', '503')]
    others += [n for s, n in overload['checked']['count'].items() if s not in ('200', '503')]
    for status, what in (('200', 'answered'), ('503', 'sent away with 503')):
        if status in overload['count']:
            rate = overload['count'][status] / sum(overload['count'].values()) * overload['rate']
            cells.append(
                [
                    f'twice as many as it can: {what}',
                    f'{rate:,.0f}',
                    f'{overload["p50_ms"][status]:.1f}',
                    f'{overload["p99_ms"][status]:.1f}',
                    f'{sum(others):,}' if status == '200' else '',
                ]
            )
    for row, what in (
        (swaps, f'{swaps["times"]} new exports, 16 connections'),
        (kills, f'{kills["times"]} killed workers, 16 connections'),
    ):
        failed = sum(number for status, number in row['count'].items() if status != '200')
        cells.append(
            [what, '', f'{row["p50_ms"]["200"]:.1f}', f'{row["p99_ms"]["200"]:.1f}', f'{failed:,}']
        )
    header = ['load', 'requests a second', 'median, ms', '99 per cent within, ms', 'failed']
    parts = [*wrapped(ABOUT), *list_table(header, cells)]
    for text in (_of_answers(results), _of_changes(results['changes']), _of_processes(results)):
        parts += wrapped(text)
    return measured_page('serving', 'A server under load', parts, content['machine'])


def _of_answers(results: dict[str, Any]) -> str:
    rows = (results['overload']['checked'], results['swaps'], results['kills'])
    checked = sum(row['count'].get('200', 0) for row in rows)
    return (
        f'Of {checked:,} answers that were compared, {sum(row["wrong"] for row in rows):,} were '
        'wrong. What failed by kills are the requests of connections that broke with their worker; '
        f'repeated once, {results["kills"]["lost_twice"]:,} of them failed again.'
    )


def _of_changes(row: dict[str, Any]) -> str:
    return (
        f'Of {row["changes"]:,} changes of {row["items"]:,} items that were acknowledged, while '
        f'{row["kills"]} workers were killed, {row["lost"]:,} were lost.'
    )


def _of_processes(results: dict[str, Any]) -> str:
    memory = ', '.join(
        f'{row["all_MiB"]:,.0f} MiB with {row["workers"]} worker{"s" * (row["workers"] > 1)}'
        for row in results['memory']
    )
    return (
        f'The first answer came {results["seconds_to_start"]:.1f} s after the start. All workers '
        f'together took {memory}: the vectors are memory maps that they share.'
    )


def main() -> None:
    arguments: argparse.Namespace = parser(__doc__ or '', page=True).parse_args()
    path = arguments.output / 'serving.json'
    if arguments.page:
        write_page(arguments.page / 'serving.rst', page(read_json(path)))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), arguments.quick)
    write_json(path, results)


if __name__ == '__main__':
    main()
