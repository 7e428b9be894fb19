"""The script of the guide, as it is printed, under torchrun."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.docs.pages import blocks

pytestmark = pytest.mark.distributed

TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node']
ENVIRONMENT = {
    'OMP_NUM_THREADS': '1',
    'PYTHONPATH': str(Path(__file__).parents[2]),
    'CUDA_VISIBLE_DEVICES': '',  # A machine may have one GPU.
}


def test_the_script_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train, export = blocks('guides/distributed.rst', 'python')
    assert len(train.splitlines()) < 60
    interrupted = train.replace('EPOCHS = 5', 'EPOCHS = 2')
    assert interrupted != train
    losses = []
    for number, script in ((2, interrupted), (1, train)):
        Path('train.py').write_text(script)
        done = subprocess.run(
            [*TORCHRUN, str(number), 'train.py'],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env=os.environ | ENVIRONMENT,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        losses += [float(x) for x in re.findall(r'loss (\S+)', done.stdout)]
    assert len(losses) == 5, 'the second run goes on from the checkpoint of the first'
    assert losses == sorted(losses, reverse=True)
    names: dict[str, Any] = {}
    exec(export, names)
    assert torch.isfinite(names['model'].user_embedding.weight).all()
