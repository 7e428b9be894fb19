from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from pyg_mmgef.files import check_sealed, make_folder, open_sealed

__all__ = ['AtomicCheckpointIO']


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning plugin that writes checkpoints atomically, and refuses damaged ones.

    A checkpoint is written to a temporary file in its folder, synced and then renamed, so a killed
    process or a power cut leaves the previous checkpoint whole. Lightning's own plugin writes to
    the system's temporary folder and moves the file; across file systems that copies over the
    previous checkpoint. The file ends with its SHA-256, which is compared when it is loaded;
    :func:`torch.load` ignores it. Pass the plugin to a trainer as
    ``Trainer(plugins=AtomicCheckpointIO())``; :func:`make_trainer` does.
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
        if storage_options is not None or _is_url(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        make_folder(Path(path).parent)
        with open_sealed(path) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint; other arguments are those of Lightning's plugin.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged, or another plugin wrote it. URLs aren't checked.
        """
        if not _is_url(path):
            check_sealed(
                Path(path), 'start from another checkpoint, or train again into a new folder'
            )
        return super().load_checkpoint(path, *args, **kwargs)


def _is_url(path: str | Path) -> bool:
    return '://' in str(path)
