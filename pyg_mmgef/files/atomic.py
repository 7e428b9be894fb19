"""Atomic writes: a reader finds the old file or the whole new one, never half of one."""

import errno
import os
import platform
import re
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import psutil

__all__ = [
    'disk_errors_name',
    'make_folder',
    'open_atomically',
    'remove_leftovers',
    'sync_folder',
    'write_atomically',
]

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_HOST = f'{zlib.crc32(platform.node().encode()):08x}'
_TEMPORARY = re.compile(rf'\.(.+)\.{_HOST}-([0-9]+)-[0-9a-f]{{8}}\.tmp')


@contextmanager
def disk_errors_name(path: str | os.PathLike) -> Iterator[None]:
    """Add :obj:`path` to errors of the disk in a block, such as that it is full.

    The system names no file in these.

    Args:
        path: The file that the block writes or reads.
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
    If the block raises, the temporary file is deleted and :obj:`path` stays as it was. Those that
    killed processes left behind are removed first, see :func:`remove_leftovers`.

    Args:
        path: The file to write. Its folder must exist.
        sync: Whether to sync, and to look for what killed processes left. To write many files and
            then one that marks them as complete, do so only for the last, after a single
            ``os.sync()``. (default: :obj:`True`)

    Yields:
        The temporary file, open for writing bytes.

    Raises:
        OSError: If the file can't be written; it always names a file.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp')
    if sync:
        remove_leftovers(path.parent, path.name)
    with disk_errors_name(path):
        try:
            with temporary.open('wb') as file:
                yield file
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        if sync:
            sync_folder(path.parent)


def write_atomically(path: str | os.PathLike, content: bytes, *, sync: bool = True) -> None:
    """Write :obj:`content` to :obj:`path` atomically, see :func:`open_atomically`."""
    with open_atomically(path, sync=sync) as file:
        file.write(content)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files of processes of this machine that no longer run.

    Args:
        folder: The folder, which need not exist.
        name: Only those of the file with this name; :obj:`None` means all. (default: :obj:`None`)
    """
    try:
        entries = os.listdir(folder)
    except OSError:  # What is then written there says what is wrong.
        return
    for entry in entries:
        found = _TEMPORARY.fullmatch(entry)
        if found and name in (None, found[1]) and not psutil.pid_exists(int(found[2])):
            with suppress(OSError):  # Another process may remove it, or another user own it.
                (folder / entry).unlink()


def make_folder(path: Path) -> None:
    """Make a folder and those above it, and sync the names of the new ones."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk."""
    if os.name != 'posix':  # Elsewhere a folder can't be opened.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
