"""Sharded checkpoints as plain models."""

from pathlib import Path

import pytest
import torch

from pyg_mmgef.distributed import export, export_checkpoint
from pyg_mmgef.nn import MMGEF, Recommender
from tests.distributed.shop import make_shop
from tests.distributed.test_checkpoint import tensors, train
from tests.distributed.together import run_together

pytestmark = pytest.mark.distributed


@pytest.mark.parametrize('num_processes', [1, 4])
def test_a_plain_model_has_what_was_trained(
    num_processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_together(train, num_processes, tmp_path / 'checkpoints', 1, 'MMGEF')[0]
    monkeypatch.setattr(export, 'BLOCK', 7)
    export_checkpoint(tmp_path / 'checkpoints', tmp_path / 'model', metrics={'recall@20': 0.5})
    model = Recommender.from_pretrained(tmp_path / 'model')
    assert isinstance(model, MMGEF)
    found = dict(model.named_parameters())
    assert set(found) == set(tensors(run))
    for key, x in tensors(run).items():
        assert torch.equal(found[key], x)
    with torch.no_grad():
        z_user, _ = model(make_shop())
    assert z_user.shape == (101, 16)
    assert 'recall@20' in (tmp_path / 'model' / 'README.md').read_text()


def test_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match='has no checkpoint; write one with save_checkpoint'
    ):
        export_checkpoint(tmp_path, tmp_path / 'model')
