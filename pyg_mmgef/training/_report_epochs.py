from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ['ReportEpochs']


class ReportEpochs(Callback):
    """Reports the metric of each epoch to a search, which may stop the training by an exception.

    Args:
        metric: The name of the metric.
        report: Called with the number of the epoch, from 0, and the value.
    """

    def __init__(self, metric: str, report: Callable[[int, float], None]) -> None:
        self._metric, self._report = metric, report

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report."""
        self._report(trainer.current_epoch, float(trainer.callback_metrics[self._metric]))
