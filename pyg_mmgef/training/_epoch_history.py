from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ['EpochHistory']


class EpochHistory(Callback):
    """Keeps the loss and the metrics of each epoch, so that checkpoints have them.

    A checkpoint has a checksum, and unlike the logs it has each epoch once, whatever was
    interrupted. The rows are in ``checkpoint['callbacks']['EpochHistory']['rows']``.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a row."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({'epoch': trainer.current_epoch, **metrics})

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {'rows': list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the rows of a checkpoint."""
        self.rows = list(state_dict['rows'])
