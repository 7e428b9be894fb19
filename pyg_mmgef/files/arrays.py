"""Reading of NumPy's files, which others may have damaged."""

import struct
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ['load_arrays']

_OF_DAMAGED_FILES = (
    *(ValueError, TypeError, EOFError, SyntaxError, KeyError, RuntimeError, MemoryError),
    *(TokenError, struct.error, zipfile.BadZipFile, zlib.error),
)
"""What :func:`numpy.load` raises, depending on which bytes are wrong."""


def load_arrays(
    path: Path, mmap_mode: Literal['c', 'r+'] | None = None
) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Return the array of an ``.npy`` file, or all arrays of an ``.npz`` file by name.

    Nothing is unpickled.

    Args:
        path: The file.
        mmap_mode: As in :func:`numpy.load`. (default: :obj:`None`)

    Raises:
        OSError: If the file can't be opened.
        ValueError: If it isn't such a file, or is damaged.
    """
    try:
        loaded = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (*_OF_DAMAGED_FILES, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:  # It can't be opened.
            raise
        raise ValueError(str(error) or type(error).__name__) from error
