import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from pyg_mmgef.training import AtomicCheckpointIO


def test_writes_what_it_reads(tmp_path: Path) -> None:
    plugin = AtomicCheckpointIO()
    path = tmp_path / 'new' / 'folder' / 'last.ckpt'
    for value in (1.0, 2.0):
        plugin.save_checkpoint({'x': torch.tensor(value)}, path)
        assert plugin.load_checkpoint(path)['x'] == value
        assert torch.load(path, weights_only=True)['x'] == value
    assert [file.name for file in path.parent.iterdir()] == ['last.ckpt']
    plugin.remove_checkpoint(path)
    assert not path.exists()


def test_a_failure_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(state: object, file: Any) -> None:
        file.write(b'half')
        raise OSError('no space left on device')

    plugin, path = AtomicCheckpointIO(), tmp_path / 'last.ckpt'
    plugin.save_checkpoint({'epoch': 1}, path)
    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(OSError, match='no space'):
        plugin.save_checkpoint({'epoch': 2}, path)
    assert torch.load(path, weights_only=True) == {'epoch': 1}
    monkeypatch.undo()
    plugin.save_checkpoint({'epoch': 2}, path)
    assert torch.load(path, weights_only=True) == {'epoch': 2}
    assert [file.name for file in tmp_path.iterdir()] == ['last.ckpt']


def test_a_full_disk_names_the_checkpoint(tmp_path: Path) -> None:
    resource = pytest.importorskip('resource')
    plugin, path = AtomicCheckpointIO(), tmp_path / 'last.ckpt'
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match=re.escape(f'{str(path)!r}')):
            plugin.save_checkpoint({'x': torch.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_url_is_left_to_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(
        TorchCheckpointIO, 'save_checkpoint', lambda self, *arguments: seen.append(arguments[1])
    )
    AtomicCheckpointIO().save_checkpoint({}, 's3://bucket/last.ckpt')
    assert seen == ['s3://bucket/last.ckpt']
