from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from pyg_mmgef.training.atomic_checkpoint_io import AtomicCheckpointIO

__all__ = ['make_trainer']


def make_trainer(
    folder: str | Path,
    *,
    max_epochs: int = 1000,
    monitor: str | None = 'val_recall@20',
    patience: int = 20,
    **kwargs: Any,
) -> Trainer:
    """Return a Lightning trainer that stops early, can be interrupted, and costs little per step.

    It is a plain :class:`lightning.pytorch.Trainer` with Lightning's own callbacks and loggers:

    - ``checkpoints/last.ckpt`` after every epoch, written by :class:`AtomicCheckpointIO`. Passed as
      ``ckpt_path`` to ``trainer.fit``, it continues as if there had been no interruption.
    - ``checkpoints/best.ckpt`` for the best epoch, and early stopping.
    - ``csv/version_N/metrics.csv`` and ``tensorboard/version_N``, a new version for every start;
      an epoch that was interrupted and trained again has equal rows in both.
    - A progress bar that is drawn every 20 steps. Nothing is logged step by step, and there is no
      trial validation before training.

    Args:
        folder: Where everything is written.
        max_epochs: Number of epochs after which training ends. (default: ``1000``)
        monitor: The metric that decides which epoch is best, larger being better; :obj:`None`
            trains without validation, early stopping and a best checkpoint.
            (default: ``'val_recall@20'``)
        patience: Validations without improvement until training stops. (default: ``20``)
        **kwargs: Arguments of :class:`lightning.pytorch.Trainer`, such as ``devices`` or
            ``precision``. ``callbacks`` are added to those above; others replace what is set here.

    Returns:
        The trainer.
    """
    checkpoints = Path(folder) / 'checkpoints'
    callbacks: list[Callback] = []
    if monitor is not None:
        callbacks += [
            EarlyStopping(monitor, mode='max', patience=patience),
            ModelCheckpoint(
                checkpoints,
                filename='best',
                monitor=monitor,
                mode='max',
                enable_version_counter=False,
            ),
        ]
    # `save_last=True` of the callback above would write only in epochs that are the best so far.
    callbacks.append(
        ModelCheckpoint(
            checkpoints,
            filename='last',
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
    )
    if kwargs.get('enable_progress_bar', True):
        callbacks.append(TQDMProgressBar(refresh_rate=20))
    if 'logger' not in kwargs:
        kwargs['logger'] = [
            CSVLogger(folder, name='csv'),
            TensorBoardLogger(folder, name='tensorboard'),
        ]
    defaults = {
        'default_root_dir': folder,
        'limit_val_batches': None if monitor is not None else 0,
        'log_every_n_steps': 0,
        'num_sanity_val_steps': 0,
        'plugins': AtomicCheckpointIO(),
        'use_distributed_sampler': False,
    }
    callbacks += kwargs.pop('callbacks', ())
    return Trainer(max_epochs=max_epochs, callbacks=callbacks, **(defaults | kwargs))
