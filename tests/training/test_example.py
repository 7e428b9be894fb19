"""The example script, run as a person would run it, twice."""

import subprocess
import sys
from pathlib import Path

from tests.training import job

SCRIPT = Path(__file__).parents[2] / 'examples' / 'train.py'


def test_goes_on_where_it_ended(tmp_path: Path) -> None:
    for epochs in (1, 2):
        options = {'--root': tmp_path / 'shop', '--output': tmp_path / 'out', '--epochs': epochs}
        command = [sys.executable, str(SCRIPT), *(str(x) for pair in options.items() for x in pair)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert 'test_recall@20' in done.stdout
    validated = {epoch for epoch, row in rows(tmp_path / 'out').items() if row['val_recall@20']}
    assert validated == {0, 1}


def rows(folder: Path) -> dict[int, dict[str, str]]:
    return job.rows(folder)
