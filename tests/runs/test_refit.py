import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef import Run, fit
from pyg_mmgef.nn import LightGCN
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.training._epoch_history import EpochHistory
from tests.cli.command import pyg_mmgef
from tests.transforms.shops import random_shop


def logged_losses(run: Path) -> list[float]:
    """The loss of each epoch, as the logs have it."""
    with (run / 'csv' / 'version_0' / 'metrics.csv').open() as file:
        return [float(row['train_loss']) for row in csv.DictReader(file)]


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
        losses = [row['train_loss'] for row in live.history]
        assert losses == pytest.approx(logged_losses(tmp_path / 'live'))
        assert loaded.history == live.history
        assert (tmp_path / 'live' / 'curves.png').read_bytes().startswith(b'\x89PNG')
        for name, value in loaded.model.state_dict().items():
            assert torch.equal(value, live.model.state_dict()[name])
    with pytest.raises(ValueError, match='no held-out interaction'):
        live.evaluate()


def test_an_interrupted_refit_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit(random_shop(), 'lightgcn', split='random', epochs=4, lr=0.05, embedding_dim=8)
    run.metrics['best_epoch'] = 3  # Four epochs to train.
    whole = run.refit(tmp_path / 'whole')
    add_row = EpochHistory.on_train_epoch_end

    def ctrl_c(self: EpochHistory, trainer: Any, module: Any) -> None:
        if len(self.rows) == 2:
            raise KeyboardInterrupt
        add_row(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(EpochHistory, 'on_train_epoch_end', ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            run.refit(tmp_path / 'live')
    start, started = LightGCN.start_epoch, []

    def counted(self: LightGCN, data: HeteroData, epoch: int) -> None:
        started.append(epoch)
        start(self, data, epoch)

    monkeypatch.setattr(LightGCN, 'start_epoch', counted)
    live = run.refit(tmp_path / 'live')
    assert started == [2, 3]
    assert live.history == whole.history
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, live.model.state_dict()[name])


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
