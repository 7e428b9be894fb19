"""The protocols of encoders of pictures and of texts."""

import os
from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor

__all__ = ['ImageEncoder', 'PathLike', 'TextEncoder']

PathLike: TypeAlias = str | os.PathLike[str]


@runtime_checkable
class ImageEncoder(Protocol):
    """Turns picture files into vectors.

    Any object with these two members is one; there is no base class.
    """

    @property
    def fingerprint(self) -> str:
        """The encoder's name and every setting that changes its output, as a key for caches."""

    def encode_images(self, paths: Sequence[PathLike | None]) -> tuple[Tensor, Tensor]:
        """Encode one picture per path.

        A picture that is :obj:`None` or that can't be read (no such file, truncated, not a picture,
        far too large) is *missing*: its row is zero. One :class:`UserWarning` counts those that
        can't be read.

        Args:
            paths: Picture files, or :obj:`None` for items without a picture.

        Returns:
            The vectors, float32 of shape ``[n, channels]``, and a mask of the present ones, bool of
            shape ``[n]``. Both are on the CPU.
        """


@runtime_checkable
class TextEncoder(Protocol):
    """Turns texts into vectors.

    Any object with these two members is one; there is no base class.
    """

    @property
    def fingerprint(self) -> str:
        """The encoder's name and every setting that changes its output, as a key for caches."""

    def encode_texts(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """Encode one text per item.

        A text that is :obj:`None` or blank is *missing*: its row is zero.

        Args:
            texts: Texts, or :obj:`None` for items without one.

        Returns:
            The vectors, float32 of shape ``[n, channels]``, and a mask of the present ones, bool of
            shape ``[n]``. Both are on the CPU.
        """
