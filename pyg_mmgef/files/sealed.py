"""Files that end with a line that has the SHA-256 of all before it.

The line is JSON, so a file of JSON Lines remains one. Readers of zip files, such as
:func:`torch.load` and :func:`numpy.load`, ignore it.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from pyg_mmgef.files.atomic import disk_errors_name, open_atomically
from pyg_mmgef.files.sha256 import damaged, digest_of

__all__ = ['check_sealed', 'open_sealed', 'read_sealed', 'write_sealed']


_START = b'{"sha256": "'


def _seal(digest: str) -> bytes:
    return _START + digest.encode() + b'"}\n'


_SIZE = len(_seal('0' * 64))


class _HashingFile:
    """Passes bytes on to a file, and keeps their hash and the first error.

    A disk that is full raises nothing within :func:`torch.save`, which would report its own
    failure instead.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write bytes, unless a write has failed before."""
        self.digest.update(content)
        self._unless_failed(lambda: self._file.write(content))
        return memoryview(content).nbytes

    def flush(self) -> None:
        """Flush the file."""
        self._unless_failed(self._file.flush)

    def _unless_failed(self, function: Callable[[], object]) -> None:
        if self.error is None:
            try:
                function()
            except OSError as error:
                self.error = error


@contextmanager
def open_sealed(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a file that is written atomically and ends with its checksum.

    Args:
        path: The file to write. Its folder must exist.

    Yields:
        An object with the methods ``write`` and ``flush``.

    Raises:
        OSError: If the file can't be written.
    """
    with open_atomically(path) as file:
        hashing = _HashingFile(file)
        yield cast(BinaryIO, hashing)
        if hashing.error is not None:
            raise hashing.error
        file.write(_seal(hashing.digest.hexdigest()))


def write_sealed(path: str | os.PathLike, content: bytes) -> None:
    """Write :obj:`content` and its checksum to :obj:`path` atomically."""
    with open_sealed(path) as file:
        file.write(content)


def check_sealed(path: Path, advice: str) -> None:
    """Compare a file with the checksum at its end.

    Args:
        path: The file.
        advice: What to do if it is damaged, for the message.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file has changed since it was written, or has no checksum.
    """
    with disk_errors_name(path), open(path, 'rb') as file:
        digest = digest_of(file, os.fstat(file.fileno()).st_size - _SIZE)
        _compare(path, file.read(), digest, advice)


def read_sealed(path: Path, advice: str) -> bytes:
    """Return the content of a file without its checksum, see :func:`check_sealed`."""
    with disk_errors_name(path):
        raw = path.read_bytes()
    content = raw[:-_SIZE]
    _compare(path, raw[-_SIZE:], hashlib.sha256(content).hexdigest(), advice)
    return content


def _compare(path: Path, seal: bytes, digest: str, advice: str) -> None:
    if seal != _seal(digest):
        has_one = seal.startswith(_START)
        reason = 'its checksum is wrong' if has_one else 'it does not end with a checksum'
        raise damaged(path, reason, advice)
