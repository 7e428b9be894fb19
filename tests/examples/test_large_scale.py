"""The example on a random shop, by two processes: from files to an export that a server loads."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pyg_mmgef.serving.export_folder import load_export

pytestmark = pytest.mark.distributed
pytest.importorskip('torchrec')

SCRIPT = Path(__file__).parents[2] / 'examples' / 'large_scale.py'
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']


def run(output: Path, epochs: int) -> str:
    done = subprocess.run(
        [*TORCHRUN, SCRIPT, '--quick', '--epochs', str(epochs), '--output', output],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=os.environ | {'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_from_files_to_an_export(tmp_path: Path) -> None:
    text = run(tmp_path, 1)
    assert text.count('epoch 1/1') == 1, 'only the first process prints'
    assert text.count('held at most') == 2
    again = run(tmp_path, 2)
    assert 'epoch 1/2' not in again, 'it goes on from the checkpoint'
    recall = re.findall(r'(best-sellers|MMGEF):.* recall@20 (\S+)', again)
    of_sellers, of_model = (float(value) for _, value in recall)
    assert of_model > 1.5 * of_sellers

    export = load_export(tmp_path / 'export')
    lists = pq.read_table(tmp_path / 'lists').sort_by(
        [('user', 'ascending'), ('rank', 'ascending')]
    )
    assert lists.num_rows == 2000 * 20
    seen = pq.read_table(tmp_path / 'data-2000-1000' / 'interactions')
    for user in (0, 1234, 1999):
        score = export.item_vectors @ export.user_vectors[user]
        own = seen.filter(np.equal(seen['user'], user))['item'].to_numpy()
        score[own] = -np.inf
        best = [f'i{row}' for row in (-score).argsort(kind='stable')[:20]]
        assert lists['item'][user * 20 : (user + 1) * 20].to_pylist() == best
