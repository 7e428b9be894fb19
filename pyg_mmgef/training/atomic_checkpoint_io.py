from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from pyg_mmgef.files import open_atomically

__all__ = ['AtomicCheckpointIO']


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning plugin that writes checkpoints atomically.

    A checkpoint is written to a temporary file in its folder, which is then renamed, so a killed
    process leaves the previous checkpoint whole. Lightning's own plugin writes to the system's
    temporary folder and moves the file; across file systems that copies over the previous
    checkpoint. Pass the plugin to a trainer as ``Trainer(plugins=AtomicCheckpointIO())``;
    :func:`make_trainer` does.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,
    ) -> None:
        """Write :obj:`checkpoint` to :obj:`path`, atomically unless :obj:`path` is a URL.

        Raises:
            OSError: If it can't be written, as on a full disk.
        """
        if storage_options is not None or '://' in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open_atomically(path) as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # Closing the archive failed, too, after the real error.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise
