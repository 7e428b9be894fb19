"""Shards of one, two and three processes give what one process computes; see shards.py."""

from pathlib import Path

import pytest
import torch.multiprocessing as mp

from tests.distributed import shards


@pytest.mark.parametrize('check', shards.CHECKS, ids=lambda check: check.__name__)
def test_one_process_without_a_group(check: shards.Check, tmp_path: Path) -> None:
    check(tmp_path)


# One launch runs all checks, as starting a process takes seconds.
@pytest.mark.parametrize('size', [2, 3])
def test_processes(size: int, tmp_path: Path) -> None:
    mp.spawn(shards.run, (size, str(tmp_path)), nprocs=size)
