"""An encoder of files and texts that keeps a record of what it was asked."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pyg_mmgef.encoders.protocol import PathLike

__all__ = ['CountingEncoder']


class CountingEncoder:
    """Gives a file its size, its first byte and a constant; files that begin with ``bad`` nothing.

    Args:
        log: A file that gets the name of each picture that was encoded, across processes.
        scale: Factor of the vectors, part of the fingerprint.
    """

    def __init__(self, log: Path | None = None, scale: float = 1.0) -> None:
        self.log = log
        self.scale = scale
        self.pause = 0.0
        self.seen: list[str] = []

    @property
    def fingerprint(self) -> str:
        return f'CountingEncoder({self.scale})'

    def encode_images(self, paths: Sequence[PathLike | None]) -> tuple[Tensor, Tensor]:
        contents = [None if path is None else Path(path).read_bytes() for path in paths]
        time.sleep(self.pause)
        names = [Path(path).name for path in paths if path is not None]
        self.seen += names
        if self.log is not None:
            with self.log.open('a') as file:
                file.writelines(f'{name}\n' for name in names)
        return self._vectors(contents)

    def encode_texts(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        self.seen += [text for text in texts if text is not None]
        return self._vectors([None if text is None else text.encode() for text in texts])

    def _vectors(self, contents: list[bytes | None]) -> tuple[Tensor, Tensor]:
        x = torch.zeros(len(contents), 3)
        has = torch.zeros(len(contents), dtype=torch.bool)
        for row, content in enumerate(contents):
            if content and not content.startswith(b'bad'):
                x[row] = self.scale * torch.tensor([len(content), content[0], 1.0])
                has[row] = True
        return x, has
