"""Training of sharded tables that is killed, slowed down or short of disk, and goes on.

- Twenty times, at a random moment, a random process of two gets SIGKILL, and the same command is
  run again. The losses and tables at the end are compared with those of an undisturbed run.
- A process sleeps for less than the timeout, then for more. The message is shown, and the run goes
  on from its last checkpoint.
- A checkpoint is written to a disk that is too small, a tmpfs, which only root may mount.
- Tables that the processes can't share evenly, one of nine rows, are trained
  by one, four and two processes in turn, each going on from the checkpoint of the one before.

The data is small: what counts is that training goes on, and how far the results are apart. The
differences are the largest of all losses, and of all numbers in the tables. Needs TorchRec.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import parser, write_json
from scaling import random_shop

SHOP, UNEVEN = (3_001, 1_009, 30_011), (1_001, 9, 1_501)  # Users, items, interactions.
BATCH_SIZE = 2_003
LAST_KILL = 3.0  # Seconds after all processes have begun.
SHORT, ENDLESS = 3, 10**6  # Epochs where nothing is killed, and where something is.
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node']


def work(args: argparse.Namespace) -> None:
    """Train as one of the processes, from the last checkpoint on."""
    import torch.distributed as dist

    from pyg_mmgef.distributed import (
        ShardedModel,
        export_checkpoint,
        load_checkpoint,
        process_group,
        save_checkpoint,
    )
    from pyg_mmgef.loader import TripletNeighborLoader
    from pyg_mmgef.nn import BPRLoss, LightGCN
    from pyg_mmgef.transforms import AddReverseInteractions

    with process_group(args.timeout) as place:
        data = AddReverseInteractions()(random_shop(*args.shop))
        with torch.device('meta'):
            model = LightGCN.from_data(data, embedding_dim=32)
        sharded = ShardedModel(model, BPRLoss(), lr=0.1, device=place.device)
        loader = TripletNeighborLoader(
            data,
            [5, 5],
            batch_size=BATCH_SIZE,
            shuffle=True,
            num_replicas=place.num_processes,
            rank=place.rank,
        )
        progress = load_checkpoint(args.folder, sharded, loader=loader) or {'curve': []}
        curve = progress['curve']
        print(f'Process {place.rank} has pid {os.getpid()} at epoch {len(curve)}', flush=True)
        while len(curve) < args.epochs:
            total = torch.zeros((), device=place.device)
            for number, batch in enumerate(loader):
                loss = loader.loss_weight(number) * sharded(batch.to(place.device))
                sharded.optimizer.zero_grad()
                loss.backward()
                sharded.optimizer.step()
                total += loss.detach()
                if args.sleep and number == 1 and place.rank == 1 and len(curve) == 1:
                    time.sleep(args.sleep)
            dist.all_reduce(total)
            curve.append(total.item() / place.num_processes / len(loader))
            save_checkpoint(args.folder, sharded, loader=loader, progress={'curve': curve})
        dist.barrier()
        if place.rank == 0:
            export_checkpoint(args.folder, args.folder / 'model')
            (args.folder / 'curve.json').write_text(json.dumps(curve))


def start(
    num_processes: int,
    folder: Path,
    epochs: int,
    log: Path,
    *,
    shop: tuple[int, ...] = SHOP,
    timeout: float = 300.0,
    sleep: float = 0.0,
) -> 'subprocess.Popen[bytes]':
    """Start the training, which prints to a log."""
    options = ['--folder', folder, '--epochs', epochs, '--timeout', timeout, '--sleep', sleep]
    flags = [str(x) for x in [*options, '--shop', *shop]]
    with log.open('w') as out:
        return subprocess.Popen(
            [*TORCHRUN, str(num_processes), __file__, '--worker', *flags],
            stdout=out,
            stderr=out,
            env=os.environ | {'OMP_NUM_THREADS': '1'},
        )


def run(num_processes: int, folder: Path, epochs: int, **options: Any) -> tuple[int, str]:
    """Run the training and return its exit code and what it printed."""
    log = folder.with_suffix('.log')
    code = start(num_processes, folder, epochs, log, **options).wait(timeout=1200)
    return code, log.read_text()


def run_to_the_end(num_processes: int, folder: Path, epochs: int, **options: Any) -> None:
    """Run the training, which must succeed."""
    code, text = run(num_processes, folder, epochs, **options)
    if code != 0:
        raise SystemExit(f'exit code {code}: {text}')


def difference(folder: Path, other: Path) -> dict[str, float]:
    """Return how far two runs are apart at most, in their losses and their tables."""
    from pyg_mmgef.nn import LightGCN

    curves = [json.loads((path / 'curve.json').read_text()) for path in (folder, other)]
    tables = [
        LightGCN.from_pretrained(path / 'model').state_dict().values() for path in (folder, other)
    ]
    return {
        'loss': max(abs(x - y) for x, y in zip(*curves, strict=True)),
        'table': max(float((x - y).abs().max()) for x, y in zip(*tables, strict=True)),
    }


def message(text: str) -> str:
    """Return the first message of the library in what a job printed."""
    found = re.findall(r'process \d+ (?:stops|cannot).*$', text, re.MULTILINE)
    return str(found[0]) if found else ''


def kill_one(folder: Path, source: random.Random) -> dict[str, Any]:
    """Run on two processes and kill one of them; return what became of the job."""
    log, unfinished = folder.with_suffix('.log'), folder / '.unfinished'
    was_there = unfinished.exists()
    job = start(2, folder, ENDLESS, log)
    pids: list[str] = []
    while len(pids) < 2:
        if job.poll() is not None:
            raise SystemExit(f'the job ended before it could be disturbed: {log.read_text()}')
        time.sleep(0.02)
        pids = re.findall(r'has pid (\d+)', log.read_text())
    time.sleep(source.uniform(0, LAST_KILL))
    os.kill(int(source.choice(pids)), signal.SIGKILL)
    killed = time.monotonic()
    code = job.wait(timeout=120)
    text = log.read_text()
    return {
        'from_epoch': int(re.findall(r'at epoch (\d+)', text)[0]),
        'while_saving': unfinished.exists() and not was_there,
        'exit': code,
        'seconds_to_end': round(time.monotonic() - killed, 1),
        'message': message(text),
    }


def kills(root: Path, num_kills: int) -> dict[str, Any]:
    """Kill a process again and again, then let the run end."""
    from pyg_mmgef.distributed import latest_checkpoint

    source, folder = random.Random(0), root / 'killed'
    events = []
    for _ in range(num_kills):
        events.append(kill_one(folder, source))
        print('  killed', events[-1], flush=True)
    latest = latest_checkpoint(folder)
    assert latest is not None, 'no epoch ended between two kills'
    progress = json.loads((latest / 'checkpoint.json').read_text())['progress']
    epochs = len(progress['curve']) + SHORT
    run_to_the_end(2, folder, epochs)
    run_to_the_end(2, root / 'undisturbed', epochs)
    apart = difference(folder, root / 'undisturbed')
    return {'epochs': epochs, 'difference': apart, 'kills': events}


def slow(root: Path, expected: Path) -> dict[str, Any]:
    """Let a process sleep for less than the timeout, then for more, and go on."""
    run_to_the_end(2, root / 'slow', SHORT, timeout=30, sleep=5)
    within = difference(root / 'slow', expected)
    folder = root / 'late'
    code, text = run(2, folder, SHORT, timeout=5, sleep=60)
    run_to_the_end(2, folder, SHORT)
    late = {'exit': code, 'message': message(text), 'difference': difference(folder, expected)}
    return {'within_timeout': {'difference': within}, 'late': late}


def full_disk(root: Path, expected: Path) -> dict[str, Any]:
    """Fill the disk after the first checkpoint, then free it and go on."""
    folder = root / 'small'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        return {'skipped': 'this user may not mount a tmpfs'}
    try:
        run_to_the_end(2, folder, 1)
        shutil.rmtree(folder / 'model')
        (folder / 'filler').write_bytes(bytes(shutil.disk_usage(folder).free - 2**18))
        code, text = run(2, folder, SHORT)
        kept = sorted(x.name for x in folder.glob('checkpoint-*'))
        (folder / 'filler').unlink()
        run_to_the_end(2, folder, SHORT)
        apart = difference(folder, expected)
    finally:
        subprocess.run(['umount', str(folder)], check=True)
    return {'exit': code, 'message': message(text), 'kept': kept, 'difference': apart}


def uneven(root: Path) -> dict[str, Any]:
    """Train uneven tables with other numbers of processes in turn, and with one alone."""
    numbers = (1, 4, 2)
    for epochs, number in enumerate(numbers, start=1):
        run_to_the_end(number, root / 'uneven', epochs, shop=UNEVEN)
    run_to_the_end(1, root / 'uneven_alone', len(numbers), shop=UNEVEN)
    return {'processes': numbers, 'difference': difference(root / 'uneven', root / 'uneven_alone')}


def main() -> None:
    flags = parser(str(__doc__))
    flags.add_argument('--kills', type=int, default=20)
    flags.add_argument('--worker', action='store_true', help='be one of the processes')
    flags.add_argument('--folder', type=Path, help='checkpoints of a worker')
    flags.add_argument('--epochs', type=int, help='of a worker')
    flags.add_argument('--timeout', type=float, help='of a worker')
    flags.add_argument('--sleep', type=float, help='of a worker')
    flags.add_argument('--shop', type=int, nargs=3, help='sizes for a worker')
    args = flags.parse_args()
    if args.worker:
        work(args)
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run_to_the_end(2, root / 'short', SHORT)
        cases = {
            'kills': lambda: kills(root, 2 if args.quick else args.kills),
            'slow': lambda: slow(root, root / 'short'),
            'full_disk': lambda: full_disk(root, root / 'short'),
            'uneven': lambda: uneven(root),
        }
        results: dict[str, Any] = {}
        for case, measure in cases.items():
            results[case] = measure()
            print(case, json.dumps(results[case], indent=2), flush=True)
            write_json(args.output / 'distributed_faults.json', results)


if __name__ == '__main__':
    main()
