from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from pyg_mmgef.cli.run_folder import HISTORY

__all__ = ['EpochHistory']


class EpochHistory(Callback):
    """Keeps the loss and the metrics of each epoch, which checkpoints then have with a checksum."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    @property
    def state_key(self) -> str:
        """The part of a checkpoint that has the state."""
        return HISTORY

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
