import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from pyg_mmgef.nn import LightGCN
from pyg_mmgef.training import (
    AtomicCheckpointIO,
    EpochProgress,
    InteractionDataModule,
    RankingModule,
    make_trainer,
)
from tests.training import job


class Watch(Callback):
    """Notes which epochs ended."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.append(trainer.current_epoch)


def callbacks_of(trainer: Trainer) -> list[Callback]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return callbacks


def fit(folder: Path, **kwargs: Any) -> Trainer:
    parts = job.shop_parts()
    options: dict[str, Any] = {'max_epochs': 2, 'accelerator': 'cpu', **kwargs}
    trainer = make_trainer(folder, **options)
    module = RankingModule(LightGCN.from_data(parts[0], embedding_dim=4))
    trainer.fit(module, InteractionDataModule(*parts, batch_size=100))
    return trainer


def names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))


def test_what_a_run_leaves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    fit(tmp_path)
    assert names(tmp_path, 'checkpoints/*') == ['checkpoints/best.ckpt', 'checkpoints/last.ckpt']
    assert len(names(tmp_path, 'tensorboard/version_0/events.*')) == 1
    assert {path.name for path in tmp_path.iterdir()} == {'checkpoints', 'csv', 'tensorboard'}
    rows = job.rows(tmp_path)
    assert [int(row['step']) for row in rows.values()] == [6, 13]
    assert set(rows[0]) == {'epoch', 'step', 'train_loss'} | {
        f'val_{name}@{k}' for name in ('recall', 'precision', 'ndcg') for k in (10, 20)
    }
    assert all(value for row in rows.values() for value in row.values()), 'a row per epoch'
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith('epoch')] == ['1/2', '2/2']
    # What is left is Lightning's own, about torch's pytrees.
    warned = [str(warning.message) for warning in recwarn if 'lightning' in warning.filename]
    assert [text for text in warned if 'LeafSpec' not in text] == []


def test_checkpoints_hold_no_code(tmp_path: Path) -> None:
    fit(tmp_path)
    state = torch.load(tmp_path / 'checkpoints' / 'last.ckpt', weights_only=True)
    assert {'state_dict', 'optimizer_states', 'callbacks', 'loops'} < state.keys()


def test_last_is_written_in_every_epoch_and_best_in_the_best(tmp_path: Path) -> None:
    watch = Watch()
    parts = job.shop_parts()
    trainer = make_trainer(tmp_path, max_epochs=4, callbacks=[watch], accelerator='cpu')
    module = RankingModule(LightGCN.from_data(parts[0], embedding_dim=4), lr=1e-9)
    trainer.fit(module, InteractionDataModule(*parts, batch_size=100))
    epochs = [
        torch.load(tmp_path / 'checkpoints' / f'{name}.ckpt', weights_only=True)['epoch']
        for name in ('best', 'last')
    ]
    assert watch.epochs == [0, 1, 2, 3]
    assert epochs == [0, 3], 'nothing is learned, so the first epoch stays the best'


def test_settings(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_epochs=7, patience=3, monitor='val_ndcg@10')
    assert type(trainer) is Trainer
    assert trainer.max_epochs == 7
    (stop,) = trainer.early_stopping_callbacks
    assert (stop.monitor, stop.mode, stop.patience) == ('val_ndcg@10', 'max', 3)
    best, last = trainer.checkpoint_callbacks
    assert isinstance(best, ModelCheckpoint)
    assert isinstance(last, ModelCheckpoint)
    assert (best.monitor, best.mode, last.monitor) == ('val_ndcg@10', 'max', None)
    assert [type(logger) for logger in trainer.loggers] == [CSVLogger, TensorBoardLogger]
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)
    assert isinstance(trainer.progress_bar_callback, EpochProgress)


def test_arguments_replace_settings_and_callbacks_join_them(tmp_path: Path) -> None:
    watch = Watch()
    trainer = make_trainer(
        tmp_path,
        callbacks=[watch],
        logger=False,
        enable_progress_bar=False,
        log_every_n_steps=5,
        precision='bf16-mixed',
    )
    assert watch in callbacks_of(trainer)
    assert any(isinstance(callback, EarlyStopping) for callback in callbacks_of(trainer))
    assert trainer.progress_bar_callback is None
    assert trainer.loggers == []
    assert trainer.log_every_n_steps == 5  # type: ignore[attr-defined]
    assert trainer.precision == 'bf16-mixed'


def test_one_callback_or_none_will_do(tmp_path: Path) -> None:
    """As for Lightning's own trainer."""
    timer, bar = Timer(), TQDMProgressBar()
    assert make_trainer(tmp_path, callbacks=bar).progress_bar_callback is bar
    assert timer in callbacks_of(make_trainer(tmp_path, callbacks=timer))
    none: Any
    for none in (None, [], ()):
        trainer = make_trainer(tmp_path, callbacks=none)
        assert len(callbacks_of(trainer)) == len(callbacks_of(make_trainer(tmp_path)))


@pytest.mark.parametrize('monitor', ['val_recall@20', None])
def test_without_checkpoints(tmp_path: Path, monitor: str | None) -> None:
    trainer = fit(tmp_path, monitor=monitor, enable_checkpointing=False)
    assert trainer.checkpoint_callbacks == []
    assert len(trainer.early_stopping_callbacks) == int(monitor is not None)
    assert not (tmp_path / 'checkpoints').exists()
    assert len(job.rows(tmp_path)) == 2


def test_without_validation(tmp_path: Path) -> None:
    fit(tmp_path, monitor=None)
    assert names(tmp_path, 'checkpoints/*') == ['checkpoints/last.ckpt']
    rows = job.rows(tmp_path)
    assert set(rows[1]) == {'epoch', 'step', 'train_loss'}
    assert float(rows[1]['train_loss']) > 0


def test_validation_in_some_epochs(tmp_path: Path) -> None:
    fit(tmp_path, max_epochs=4, check_val_every_n_epoch=2)
    rows = job.rows(tmp_path)
    assert [bool(row['val_recall@20']) for row in rows.values()] == [False, True, False, True]
    assert all(row['train_loss'] for row in rows.values())


def test_lightning_is_named_where_it_is_missing() -> None:
    script = 'import sys; sys.modules["lightning"] = None; import pyg_mmgef.training'
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode != 0
    assert 'pip install "pyg-mmgef[cli]"' in done.stderr
