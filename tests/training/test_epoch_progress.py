from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer

from pyg_mmgef.nn import LightGCN
from pyg_mmgef.training import EpochProgress, InteractionDataModule, RankingModule, make_trainer
from tests.training import job


def fit(folder: Path, lr: float = 1e-3, more: tuple[Callback, ...] = (), **kwargs: Any) -> None:
    parts = job.shop_parts()
    terminal = kwargs.pop('is_terminal', None)
    say = kwargs.pop('say', print)
    callbacks = [EpochProgress(say, terminal), *more]
    trainer = make_trainer(folder, callbacks=callbacks, accelerator='cpu', **kwargs)
    module = RankingModule(LightGCN.from_data(parts[0], embedding_dim=4), lr=lr)
    last = folder / 'checkpoints' / 'last.ckpt'
    ckpt_path = last if last.exists() else None
    data = InteractionDataModule(*parts, batch_size=100)
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)


def best_and_patience(line: str) -> str:
    return line.partition('best ')[2].partition(' ')[2].rpartition('  ')[0]


def test_a_line_has_the_best_epoch_and_the_patience(tmp_path: Path) -> None:
    lines: list[str] = []
    fit(tmp_path, lr=1e-9, say=lines.append, max_epochs=9, patience=2)
    assert [line.split('  ')[0] for line in lines] == ['epoch 1/9', 'epoch 2/9', 'epoch 3/9']
    assert [best_and_patience(line) for line in lines] == [
        '(epoch 1)  patience 0/2',
        '(epoch 1)  patience 1/2',
        '(epoch 1)  patience 2/2',
    ], 'nothing is learned'
    rows = job.rows(tmp_path)
    for line, row in zip(lines, rows.values(), strict=True):
        assert f'loss {float(row["train_loss"]):.4f}  ' in line
        assert f'val_recall@20 {float(row["val_recall@20"]):.4f}  ' in line


def test_long_training_has_at_most_50_lines(tmp_path: Path) -> None:
    lines: list[str] = []
    fit(tmp_path, say=lines.append, max_epochs=101, monitor=None, logger=False)
    epochs = [int(line.split()[1].partition('/')[0]) for line in lines]
    assert epochs == [1, *range(3, 100, 3), 101]
    assert all('best' not in line for line in lines)


def test_it_continues_after_the_epochs_of_a_checkpoint(tmp_path: Path) -> None:
    lines: list[str] = []
    fit(tmp_path, max_epochs=2)
    fit(tmp_path, say=lines.append, max_epochs=4)
    assert [line.split()[1] for line in lines] == ['3/4', '4/4']


def test_validation_in_some_epochs(tmp_path: Path) -> None:
    lines: list[str] = []
    fit(tmp_path, lr=1e-9, say=lines.append, max_epochs=4, check_val_every_n_epoch=2)
    assert 'best' not in lines[0]
    assert best_and_patience(lines[3]) == '(epoch 2)  patience 1/20'


def test_a_terminal_has_one_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, is_terminal=True, max_epochs=3)
    out = capsys.readouterr().out
    assert out.rpartition('\r')[2].count('\n') == 1
    assert out.endswith('s/epoch\n')
    assert 'epoch 3/3' in out.rpartition('\r')[2]


class Interrupt(Callback):
    """Presses Ctrl-C in the second epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt


def test_no_bar_is_left_after_ctrl_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path, is_terminal=True, max_epochs=3, more=(Interrupt(),))
    *_, blank, end = capsys.readouterr().out.split('\r')
    assert blank.strip() == end == ''


@pytest.mark.parametrize(
    ('seconds', 'text'), [(153.2, '153'), (10.04, '10'), (2.34, '2.3'), (0.0123, '0.012')]
)
def test_the_seconds_of_an_epoch_are_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, text: str
) -> None:
    clock = iter([0.0, seconds])
    own_time = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr('pyg_mmgef.training.epoch_progress.time', own_time)
    lines: list[str] = []
    fit(tmp_path, say=lines.append, max_epochs=1)
    assert lines[0].endswith(f'  {text} s/epoch')
