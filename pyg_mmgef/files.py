"""Atomic writes: a reader finds the old file or the whole new one, never half of one."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ['disk_errors_name', 'open_atomically', 'write_atomically']

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def disk_errors_name(path: str | os.PathLike) -> Iterator[None]:
    """Add :obj:`path` to errors of the disk in a block, such as that it is full.

    The system names no file in these.

    Args:
        path: The file that the block writes.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _OF_THE_DISK and error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextmanager
def open_atomically(path: str | os.PathLike, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside :obj:`path` that takes its name when the block ends.

    The content and the new name are synced to the disk, so the file also survives a power failure.
    If the block raises, the temporary file is deleted and :obj:`path` stays as it was.

    Args:
        path: The file to write. Its folder must exist.
        sync: Whether to sync. To write many files and then one that marks them as complete, sync
            only the last, after a single ``os.sync()``. (default: :obj:`True`)

    Yields:
        The temporary file, open for writing bytes.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp')
    try:
        with disk_errors_name(path), temporary.open('wb') as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if sync:
        _sync_folder(path.parent)


def write_atomically(path: str | os.PathLike, content: bytes, *, sync: bool = True) -> None:
    """Write :obj:`content` to :obj:`path` atomically, see :func:`open_atomically`."""
    with open_atomically(path, sync=sync) as file:
        file.write(content)


def _sync_folder(folder: Path) -> None:
    if os.name != 'posix':  # Elsewhere a folder can't be opened.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
