from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from pyg_mmgef.files import open_atomically

__all__ = ['AtomicCheckpointIO']


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning plugin that writes checkpoints atomically: a kill leaves the previous one whole.

    A checkpoint is written to a temporary file in its folder, which is then renamed. Lightning's
    own plugin writes to the system's folder for temporary files and moves the result. Where that
    folder is on another file system, moving is copying over the previous checkpoint. Pass it to a
    trainer as ``Trainer(plugins=AtomicCheckpointIO())``; :func:`make_trainer` does.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,
    ) -> None:
        """Write :obj:`checkpoint` to :obj:`path`; a URL is left to Lightning."""
        if storage_options is not None or '://' in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open_atomically(path) as file:
            torch.save(checkpoint, file)
