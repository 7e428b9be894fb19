"""NumPy's files: written atomically, and read although others may have damaged them."""

import struct
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.files.atomic import open_atomically

__all__ = ['load_arrays', 'write_array']

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


def write_array(path: Path, array: NDArray[Any], *, sync: bool = True) -> None:
    """Write an ``.npy`` file atomically.

    Unlike :func:`numpy.save`, it raises an error that names the file where the disk is full.

    Args:
        path: The file. Its folder must exist.
        array: The array; a memory map is copied piece by piece.
        sync: See :func:`open_atomically`. (default: :obj:`True`)
    """
    array = np.ascontiguousarray(array)
    with open_atomically(path, sync=sync) as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)
