from pathlib import Path
from typing import Any

import pytest
import torch

from pyg_mmgef import Run, fit
from pyg_mmgef.schema import INTERACTS
from tests.cli.command import pyg_mmgef
from tests.transforms.shops import random_shop


@pytest.mark.parametrize('model', ['ials', 'lightgcn', 'itemknn'])
def test_nothing_is_held_out(tmp_path: Path, model: str) -> None:
    data = random_shop()
    options: dict[str, Any] = {'epochs': 3} if model == 'lightgcn' else {}
    run = fit(data, model, split='random', **options)
    live = run.refit(tmp_path / 'live')
    assert live.train[INTERACTS].edge_index.size(1) == data[INTERACTS].edge_index.size(1)
    assert live.val[INTERACTS].edge_label_index.numel() == 0
    assert live.metrics['test_recall@10'] == run.metrics['test_recall@10']
    assert live.model.cold_scale == run.model.cold_scale
    loaded = Run.load(tmp_path / 'live')
    assert list(loaded.recommend(3)) == list(live.recommend(3))
    again = run.refit(tmp_path / 'live')
    assert list(again.recommend(3)) == list(live.recommend(3))
    if model == 'lightgcn':
        assert len(live.history) == run.metrics['best_epoch'] + 1
        for name, value in loaded.model.state_dict().items():
            assert torch.equal(value, live.model.state_dict()[name])
    with pytest.raises(ValueError, match='no held-out interaction'):
        live.evaluate()


def test_epochs_before_an_update_count() -> None:
    data = random_shop()
    run = fit(data, 'lightgcn', split='random', epochs=4, lr=0.05)
    updated = run.update(data)
    before = run.metrics['best_epoch'] + 1
    assert updated.metrics['epochs_before'] == before
    assert len(updated.refit().history) == before + updated.metrics['best_epoch'] + 1
    again = updated.update(data)
    assert again.metrics['epochs_before'] == before + updated.metrics['best_epoch'] + 1


def test_a_run_needs_a_split_first() -> None:
    with pytest.raises(ValueError, match=r"split='none' leaves nothing .* then refit"):
        fit(random_shop(), split='none')


def test_on_the_command_line(trained: Path, tmp_path: Path) -> None:
    shown = pyg_mmgef('refit', trained, '-o', tmp_path / 'live')
    assert 'trained on all interactions' in shown
    assert 'holds another run' in pyg_mmgef('refit', trained, '-o', trained, fails=1)
    assert len(pyg_mmgef('recommend', tmp_path / 'live', '--user', 'u3').splitlines()) == 11
