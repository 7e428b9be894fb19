import math
import sys
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ProgressBar
from tqdm import tqdm

__all__ = ['EpochProgress']

MOST_LINES = 50


class EpochProgress(ProgressBar):
    """Lightning callback that shows how training goes: one bar over the epochs, or lines.

    In a terminal one bar is drawn; in a file, a pipe or a notebook there is a line for each epoch,
    or for every few, so that there are at most about 50. A line has the loss, the metric by which
    the best epoch is chosen, the best one so far, for how many of the epochs that it is allowed
    training hasn't improved, and the seconds of an epoch::

        epoch 33/200  loss 0.4100  val_recall@20 0.4332  best 0.4332 (epoch 33)  patience 0/20 ...

    Args:
        say: Called with each line. (default: :func:`print`)
        is_terminal: Whether to draw a bar; :obj:`None` asks standard output.
            (default: :obj:`None`)
    """

    def __init__(
        self, say: Callable[[str], object] = print, is_terminal: bool | None = None
    ) -> None:
        super().__init__()
        self._say, self._is_terminal = say, is_terminal
        self._bar: tqdm | None = None
        self._started, self._seconds = 0.0, 0.0
        self._first = self._epoch = self._shown = 0

    def disable(self) -> None:
        """Draw nothing; Lightning calls it on all devices but the first."""
        self._say, self._is_terminal = _say_nothing, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the bar, and the clock."""
        self._started = time.monotonic()
        self._first = self._epoch = self._shown = trainer.current_epoch
        is_terminal = sys.stdout.isatty() if self._is_terminal is None else self._is_terminal
        if is_terminal:
            self._bar = tqdm(
                desc='epoch 1',
                total=trainer.max_epochs,
                initial=trainer.current_epoch,
                bar_format='{bar:10} {desc}',
                dynamic_ncols=True,
                file=sys.stdout,
            )

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Move the bar by a part of an epoch."""
        if self._bar is not None:
            self._bar.update(1 / trainer.num_training_batches)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch; it is shown when its checkpoint is written and early stopping knows."""
        self._epoch = trainer.current_epoch + 1
        self._seconds = (time.monotonic() - self._started) / (self._epoch - self._first)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch before."""
        every = math.ceil((trainer.max_epochs or 1) / MOST_LINES)
        self._show(trainer, is_due=self._epoch % every == 0 or self._epoch == 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar, or show the last epoch."""
        self._show(trainer, is_due=True)
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Remove the bar, so that the prompt or the message starts in a line of its own."""
        if self._bar is not None:
            self._bar.leave = False
        self._close()

    def _show(self, trainer: Trainer, is_due: bool) -> None:
        """Show the last epoch that ended, unless that is done, or a line isn't due."""
        if self._shown == self._epoch:
            return
        line = self._line(trainer, self._epoch)
        if self._bar is not None:
            self._bar.n = self._epoch
            self._bar.set_description_str(line)
        elif is_due:
            self._say(line)
        else:
            return
        self._shown = self._epoch

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self, trainer: Trainer, epoch: int) -> str:
        metrics = trainer.callback_metrics
        parts = [f'epoch {epoch}/{trainer.max_epochs}']
        if 'train_loss' in metrics:
            parts.append(f'loss {metrics["train_loss"]:.4f}')
        if trainer.early_stopping_callbacks:
            stop = trainer.early_stopping_callbacks[0]
            assert isinstance(stop, EarlyStopping)
            if stop.monitor in metrics:
                every = trainer.check_val_every_n_epoch or 1
                best = (epoch // every - stop.wait_count) * every
                parts += [
                    f'{stop.monitor} {metrics[stop.monitor]:.4f}',
                    f'best {stop.best_score:.4f} (epoch {best})',
                    f'patience {stop.wait_count}/{stop.patience}',
                ]
        digits = '.0f' if self._seconds >= 10 else '.2g'
        return '  '.join([*parts, f'{self._seconds:{digits}} s/epoch'])


def _say_nothing(line: str) -> None:
    """Print nothing."""
