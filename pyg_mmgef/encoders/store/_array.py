"""Vectors on disk, each with a checksum of the vector, its content and the encoder."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.files import disk_errors_name

__all__ = ['MISSING', 'PRESENT', 'FeatureArray']

PRESENT, MISSING = 1, 2
_MARK = np.dtype([('state', 'u1'), ('seal', '<u8')])
_VECTOR = np.dtype('<f4')
_CHUNK_BYTES = 1 << 24


class FeatureArray:
    """Memory-mapped vectors and, beside them, a mark per row.

    A mark says whether the item is present, and has a digest of the vector, the key of its content
    and the encoder. A row counts as done only if its digest is right, so rows that were half
    written, damaged later, or made from other content are encoded again.

    Args:
        folder: Folder of the two files.
        name: The common part of their names.
        keys: The key of each row's content; :obj:`None` for a row that needs no vector.
        channels: The length of a vector.
        encoder: A string that identifies the encoder.
        mode: ``'r'`` opens the files for reading only. (default: ``'r+'``)

    Raises:
        ValueError: If the files have another shape or type, or can't be read.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        keys: Sequence[str | None],
        channels: int,
        encoder: str,
        mode: Literal['r', 'r+'] = 'r+',
    ) -> None:
        self.keys = list(keys)
        self.channels = channels
        self.path, self._marks_path = self.files(folder, name)
        self._salt = hashlib.sha256(encoder.encode('utf-8', 'surrogatepass')).digest()[:16]
        self._vectors = _open(self.path, (len(keys), channels), _VECTOR, mode)
        self._marks = _open(self._marks_path, (len(keys),), _MARK, mode)
        self.states = np.where(self._intact(), self._marks['state'], 0)

    @staticmethod
    def files(folder: Path, name: str) -> tuple[Path, Path]:
        """Return the paths of the vectors and of the marks."""
        return folder / f'x-{name}.npy', folder / f'marks-{name}.npy'

    @classmethod
    def create(
        cls, folder: Path, name: str, keys: Sequence[str | None], channels: int, encoder: str
    ) -> 'FeatureArray':
        """Create files of zeros, with no row done, and open them; for arguments see the class."""
        vectors, marks = cls.files(folder, name)
        _write_zeros(vectors, (len(keys), channels), _VECTOR)
        _write_zeros(marks, (len(keys),), _MARK)
        return cls(folder, name, keys, channels, encoder)

    def put(
        self, rows: Sequence[int], vectors: NDArray[np.float32], states: NDArray[np.uint8]
    ) -> None:
        """Write vectors and, once they are on disk, their marks."""
        if len(rows) == 0:
            return
        marks = np.zeros(len(rows), dtype=_MARK)
        marks['state'] = states
        vectors = np.ascontiguousarray(vectors, dtype=_VECTOR)
        marks['seal'] = [
            self._seal(row, state, vector)
            for row, state, vector in zip(rows, states.tolist(), vectors, strict=True)
        ]
        self._vectors[rows] = vectors
        self._vectors.flush()
        self._marks[rows] = marks
        self._marks.flush()
        self.states[rows] = states

    def take_over(self, other: 'FeatureArray') -> None:
        """Copy the rows that are done in the other array but not in this one, by content key.

        The other array may be this one; then vectors are copied to rows with the same content.
        """
        done = {key: row for row, key in enumerate(other.keys) if other.states[row] != 0}
        pairs = [
            (row, done[key])
            for row, key in enumerate(self.keys)
            if self.states[row] == 0 and key is not None and key in done
        ]
        step = max(1, _CHUNK_BYTES // (self.channels * _VECTOR.itemsize))
        for start in range(0, len(pairs), step):
            rows, sources = (list(ids) for ids in zip(*pairs[start : start + step], strict=True))
            self.put(rows, other._vectors[sources], other.states[sources])

    def _intact(self) -> NDArray[np.bool_]:
        intact = np.zeros(len(self.keys), dtype=bool)
        for row in np.isin(self._marks['state'], (PRESENT, MISSING)).nonzero()[0].tolist():
            mark = self._marks[row]
            seal = self._seal(row, int(mark['state']), self._vectors[row])
            intact[row] = seal is not None and seal == int(mark['seal'])
        return intact

    def _seal(self, row: int, state: int, vector: NDArray[Any]) -> int | None:
        key = self.keys[row]
        if key is None:
            return None
        digest = hashlib.blake2b(
            vector.data, digest_size=8, key=bytes.fromhex(key), salt=self._salt
        )
        digest.update(bytes([state]))
        return int.from_bytes(digest.digest(), 'little')


def _open(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], mode: Literal['r', 'r+']
) -> np.memmap[Any, Any]:
    try:
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f'{path.name}: {error}') from error
    if not isinstance(array, np.memmap) or array.shape != shape or array.dtype != dtype:
        raise ValueError(f'{path.name} does not hold {dtype} of shape {list(shape)}')
    if not array.flags.c_contiguous:
        raise ValueError(f'{path.name} is not in the order of rows')
    return array


def _write_zeros(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    # Real zeros, not a hole: a full disk is an error here, not a killed process at a later write
    # into the mapped memory.
    left = int(np.prod(shape)) * dtype.itemsize
    with disk_errors_name(path), path.open('wb') as file:
        header = {
            'descr': np.lib.format.dtype_to_descr(dtype),
            'fortran_order': False,
            'shape': shape,
        }
        np.lib.format.write_array_header_1_0(file, header)
        zeros = bytes(min(left, _CHUNK_BYTES))
        while left > 0:
            left -= file.write(zeros[:left])
        file.flush()
        os.fsync(file.fileno())
