"""Calls of ``prepare``, each killed before another of its operations on files, and given again.

``killed_prepare.py FOLDER COUNT`` kills each kind of call ``COUNT`` times at evenly spaced
operations, and prints what was found as JSON. A call is into an empty folder, into one that a
killed call with other tables left, or into one with a dataset of other tables.
"""

import contextlib
import io
import json
import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from pyg_mmgef.cli.app import main
from pyg_mmgef.runs.dataset_folder import DatasetFolder
from tests.cli.command import COLUMNS
from tests.prepared import write_catalogue

EVENTS = {'open', 'os.rename', 'os.remove', 'os.mkdir', 'os.rmdir', 'os.link', 'mmap.__new__'}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def is_operation(event: str, arguments: Any, folder: str) -> bool:
    if event not in EVENTS:
        return False
    if event == 'mmap.__new__' or (event == 'os.remove' and arguments[-1] not in (-1, None)):
        return True
    path = arguments[0]
    if not isinstance(path, str | os.PathLike) or not os.path.abspath(path).startswith(folder):
        return False
    return event != 'open' or bool(int(arguments[2] or 0) & WRITES)


def run(arguments: list[str], folder: Path, kill_at: int, log: Path) -> int:
    """Run the command in a process that kills itself, and return how many operations it began."""
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: Any) -> None:
            nonlocal count
            if is_operation(event, arguments, str(folder)):
                count += 1
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        setattr(os, 'fsync', lambda descriptor: None)  # noqa: B010 (kills don't need the disk)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main(arguments)
        log.write_text(str(count))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if kill_at == 0:
        assert code == 0
        return int(log.read_text())
    assert code in (0, -signal.SIGKILL)
    return kill_at if code else 0


def content(folder: Path) -> tuple[Any, ...] | None:
    """All that a reader gets of a dataset, or ``None`` if there is none yet."""
    try:
        dataset = DatasetFolder(folder)
    except FileNotFoundError:
        return None
    tensors = [
        (store._key, name, value.tolist())
        for store in dataset.data().stores
        for name, value in store.items()
        if isinstance(value, torch.Tensor)
    ]
    ids = list(dataset.user_ids), list(dataset.item_ids)
    return dataset.about, ids, dataset.items(), tensors


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob('*') if '.tmp' in path.name or path.name == '.new']


def main_of_test(root: Path, count: int) -> Counter[str]:
    shops = [root / 'old', root / 'new']
    for shop in shops:
        write_catalogue(shop)
    orders = (shops[1] / 'orders.csv').read_text().splitlines(keepends=True)
    (shops[1] / 'orders.csv').write_text(''.join(orders[:-20]))
    items = (shops[1] / 'items.csv').read_text()
    (shops[1] / 'items.csv').write_text(items.replace('oak', 'beech'))
    shutil.copy(shops[1] / 'photos' / '3.png', shops[1] / 'photos' / '4.png')

    def arguments(shop: Path) -> list[str]:
        os.chdir(shop)  # The columns name files of the shop.
        return ['prepare', 'orders.csv', '-o', str(folder), *COLUMNS]

    folder = root / 'warm'
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(arguments(shops[0]))  # It imports what the processes would each import.
    folder, log, start = root / 'folder', root / 'log.txt', root / 'start'
    half = run(arguments(shops[0]), folder, 0, log) // 2
    old = content(folder)
    shutil.copytree(folder, start)
    shutil.rmtree(folder)
    run(arguments(shops[1]), folder, 0, log)
    new = content(folder)
    assert old != new
    found: Counter[str] = Counter()
    for kind in ('empty', 'half', 'old'):

        def begin(kind: str = kind) -> None:
            shutil.rmtree(folder)
            if kind == 'old':
                shutil.copytree(start, folder)
            elif kind == 'half':
                run(arguments(shops[0]), folder, half, log)

        begin()
        total = run(arguments(shops[1]), folder, 0, log)
        for number in range(count):
            begin()
            at = 1 + number * total // count
            found['killed'] += bool(run(arguments(shops[1]), folder, at, log))
            seen = content(folder)
            found['mixtures'] += seen not in ((old, new) if kind == 'old' else (None, new))
            run(arguments(shops[1]), folder, 0, log)
            found['lost'] += content(folder) != new
            found['left over'] += len(leftovers(folder))
            versions = [path for path in (folder / 'versions').iterdir() if path.is_dir()]
            found['versions too many'] += max(0, len(versions) - 2)
    return found


if __name__ == '__main__':
    print(json.dumps(main_of_test(Path(sys.argv[1]), int(sys.argv[2]))))
