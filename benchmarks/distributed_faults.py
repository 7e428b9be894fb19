"""Training of sharded tables that is killed, slowed down and short of disk, and goes on exactly.

Twenty times, at a random moment, a random process gets SIGKILL, and the same command is run again;
the tables and the losses at the end are compared with those of a run that nobody disturbed. Then a
process sleeps longer than the timeout, and a checkpoint is written to a disk that is too small; the
messages are shown, and the checkpoint before is used. Last, three processes share tables that don't
divide by three. Small files and times: what counts is that it goes on. Needs TorchRec.
"""

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

SIZES = 3_001, 1_009, 30_011
BATCH_SIZE = 2_003
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node']


def work(args: Any) -> None:
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
        data = AddReverseInteractions()(random_shop(*SIZES))
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


def command(num_processes: int, folder: Path, epochs: int, **options: Any) -> list[str]:
    given = {'--folder': folder, '--epochs': epochs}
    given |= {f'--{name}': value for name, value in options.items()}
    flags = [str(x) for pair in given.items() for x in pair]
    return [*TORCHRUN, str(num_processes), __file__, '--worker', *flags]


def run(num_processes: int, folder: Path, epochs: int, **options: Any) -> tuple[int, str]:
    """Run the training and return its exit code and what it printed."""
    done = subprocess.run(
        command(num_processes, folder, epochs, **options),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
    )
    return done.returncode, done.stdout + done.stderr


def result(folder: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    from pyg_mmgef.nn import LightGCN

    model = LightGCN.from_pretrained(folder / 'model')
    return json.loads((folder / 'curve.json').read_text()), model.state_dict()


def difference(folder: Path, other: Path) -> dict[str, float]:
    """Return how far two runs are apart at most, in their losses and their tables."""
    (curve, tables), (curve_2, tables_2) = result(folder), result(other)
    assert len(curve) == len(curve_2)
    return {
        'loss': max(abs(x - y) for x, y in zip(curve, curve_2, strict=True)),
        'table': max(float((tables[key] - tables_2[key]).abs().max()) for key in tables),
    }


def kill_one(folder: Path, epochs: int, source: random.Random, longest: float) -> dict[str, Any]:
    """Run on two processes and kill one of them; say what became of the job."""
    log = folder / 'log.txt'
    with log.open('w') as out:
        job = subprocess.Popen(command(2, folder, epochs), stdout=out, stderr=out, env=one_thread())
        pids: list[str] = []
        while len(pids) < 2 and job.poll() is None:
            time.sleep(0.02)
            pids = re.findall(r'has pid (\d+)', log.read_text())
        time.sleep(source.uniform(0, longest))
        if job.poll() is not None:
            raise SystemExit(f'the job ended before it could be disturbed: {log.read_text()}')
        os.kill(int(source.choice(pids)), signal.SIGKILL)
        started = time.monotonic()
        code = job.wait(timeout=120)
    text = log.read_text()
    return {
        'epoch': int(re.findall(r'at epoch (\d+)', text)[0]),
        'exit': code,
        'seconds_to_end': round(time.monotonic() - started, 1),
        'says_what_to_do': 'Run the same command again' in text and 'SIGKILL' in text,
    }


def one_thread() -> dict[str, str]:
    return os.environ | {'OMP_NUM_THREADS': '1'}


def last_message(text: str) -> str:
    """Return the message of our own in what a job printed, without that of torchrun."""
    found = re.findall(r'^.*(?:process \d+ (?:stops|cannot)).*$', text, re.MULTILINE)
    return re.sub(r'^.*?(?=process \d)', '', found[0]) if found else ''


def kills(root: Path, undisturbed: Path, epochs: int, num_kills: int) -> dict[str, Any]:
    """Kill a process again and again, then let the run end."""
    source, folder = random.Random(0), root / 'killed'
    events: list[dict[str, Any]] = []
    folder.mkdir()
    while len(events) < num_kills:
        events.append(kill_one(folder, epochs, source, longest=3.0))
        print('  killed', events[-1], flush=True)
    code, text = run(2, folder, epochs)
    assert code == 0, text
    return {'kills': events, 'difference': difference(folder, undisturbed)}


def slow(root: Path, undisturbed: Path, epochs: int) -> dict[str, Any]:
    """Let a process sleep longer than the timeout, then go on."""
    folder = root / 'slow'
    code, text = run(2, folder, epochs, timeout=5, sleep=60)
    message = last_message(text)
    code_2, text_2 = run(2, folder, epochs)
    assert code_2 == 0, text_2
    return {'exit': code, 'message': message, 'difference': difference(folder, undisturbed)}


def full_disk(root: Path, undisturbed: Path, epochs: int) -> dict[str, Any]:
    """Fill the disk after the first checkpoint, then free it and go on."""
    folder = root / 'small'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        return {'skipped': 'this user may not mount a tmpfs'}
    try:
        code, text = run(2, folder, 1)
        assert code == 0, text
        shutil.rmtree(folder / 'model')
        free = shutil.disk_usage(folder).free
        (folder / 'filler').write_bytes(bytes(free - 2**18))
        code, text = run(2, folder, epochs)
        kept = sorted(x.name for x in folder.glob('checkpoint-*'))
        (folder / 'filler').unlink()
        code_2, text_2 = run(2, folder, epochs)
        assert code_2 == 0, text_2
        apart = difference(folder, undisturbed)
    finally:
        subprocess.run(['umount', str(folder)], check=True)
    return {'exit': code, 'message': last_message(text), 'kept': kept, 'difference': apart}


def unequal(root: Path, undisturbed: Path, epochs: int) -> dict[str, Any]:
    """Let three processes share what doesn't divide by three."""
    folder = root / 'three'
    code, text = run(3, folder, epochs)
    assert code == 0, text
    return {'difference': difference(folder, undisturbed)}


def main() -> None:
    options = parser(__doc__)
    options.add_argument('--kills', type=int, default=20)
    options.add_argument('--worker', action='store_true', help='be one of the processes')
    options.add_argument('--folder', type=Path, help='checkpoints of a worker')
    options.add_argument('--epochs', type=int, help='of a worker')
    options.add_argument('--timeout', type=float, default=300.0, help='of a worker')
    options.add_argument('--sleep', type=float, default=0.0, help='of a worker')
    args = options.parse_args()
    if args.worker:
        work(args)
        return
    num_kills = 2 if args.quick else args.kills
    epochs = 20 + 15 * num_kills
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        code, text = run(2, root / 'undisturbed', epochs)
        assert code == 0, text
        code, text = run(2, root / 'short', 3)
        assert code == 0, text
        short = root / 'short'
        measured: dict[str, Any] = {'epochs': epochs}
        measured['kills'] = kills(root, root / 'undisturbed', epochs, num_kills)
        measured['slow'] = slow(root, short, 3)
        measured['full_disk'] = full_disk(root, short, 3)
        measured['unequal'] = unequal(root, short, 3)
    for case in ('kills', 'slow', 'full_disk', 'unequal'):
        print(case, measured[case], flush=True)
    write_json(args.output / 'distributed_faults.json', measured)


if __name__ == '__main__':
    main()
