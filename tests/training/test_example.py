"""The example script, run as a person would run it."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / 'examples' / 'train.py'


def test_ends_with_the_metrics_of_the_best_epoch(tmp_path: Path) -> None:
    options = ['--root', tmp_path / 'shop', '--output', tmp_path / 'out', '--epochs', 1]
    command = [sys.executable, str(SCRIPT), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'test_recall@20' in done.stdout
    names = {path.name for path in (tmp_path / 'out' / 'checkpoints').iterdir()}
    assert names == {'best.ckpt', 'last.ckpt'}
