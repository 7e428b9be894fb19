from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, ProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from pyg_mmgef.training.atomic_checkpoint_io import AtomicCheckpointIO
from pyg_mmgef.training.epoch_progress import EpochProgress

__all__ = ['make_trainer']


def make_trainer(
    folder: str | Path,
    *,
    max_epochs: int = 1000,
    monitor: str | None = 'val_recall@20',
    patience: int = 20,
    **kwargs: Any,
) -> Trainer:
    """Return a Lightning trainer with early stopping, exact resume and little cost per step.

    It is a plain :class:`lightning.pytorch.Trainer` with Lightning's own callbacks and loggers:

    - It writes ``checkpoints/last.ckpt`` after every epoch, by :class:`AtomicCheckpointIO`. Passed
      as ``ckpt_path`` to ``trainer.fit``, it continues as if there had been no interruption.
    - It writes ``checkpoints/best.ckpt`` for the best epoch, and stops early.
    - It logs to ``csv/version_N/metrics.csv`` and ``tensorboard/version_N``, a new version for
      every start; an epoch that was interrupted and trained again has equal rows in both.
    - It shows one progress bar over the epochs, or lines where there is no terminal, by
      :class:`EpochProgress`. Nothing is logged step by step, and there is no trial validation
      before training.

    Args:
        folder: Folder for checkpoints and logs.
        max_epochs: Number of epochs after which training ends. (default: ``1000``)
        monitor: The metric that decides which epoch is best, larger being better; :obj:`None`
            trains without validation, early stopping and a best checkpoint.
            (default: ``'val_recall@20'``)
        patience: Validations without improvement until training stops. (default: ``20``)
        **kwargs: Arguments of :class:`lightning.pytorch.Trainer`, such as ``devices`` or
            ``precision``. ``callbacks``, one or a list, are added to those above; others replace
            the defaults set here, as does another progress bar. ``enable_checkpointing=False``
            leaves out both checkpoints.

    Returns:
        The trainer.
    """
    callbacks: list[Callback] = []
    if monitor is not None:
        callbacks.append(EarlyStopping(monitor, mode='max', patience=patience))
    if kwargs.get('enable_checkpointing', True):
        callbacks += _checkpoints(Path(folder) / 'checkpoints', monitor)
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
    more = kwargs.pop('callbacks', None) or []
    callbacks += [more] if isinstance(more, Callback) else more
    has_progress = any(isinstance(callback, ProgressBar) for callback in callbacks)
    if kwargs.get('enable_progress_bar', True) and not has_progress:
        callbacks.append(EpochProgress())
    return Trainer(max_epochs=max_epochs, callbacks=callbacks, **(defaults | kwargs))


def _checkpoints(folder: Path, monitor: str | None) -> list[Callback]:
    best: list[Callback] = []
    if monitor is not None:
        best = [
            ModelCheckpoint(
                folder, filename='best', monitor=monitor, mode='max', enable_version_counter=False
            )
        ]
    # `save_last=True` of the callback above would write only in epochs that are the best so far.
    last = ModelCheckpoint(
        folder, filename='last', enable_version_counter=False, save_on_train_epoch_end=True
    )
    return [*best, last]
