"""The SHA-256 of files, by which damaged ones are found."""

import hashlib
from pathlib import Path
from typing import BinaryIO

from pyg_mmgef.files.atomic import disk_errors_name

__all__ = ['check_sha256', 'damaged', 'digest_of', 'has_sha256', 'sha256_of']

_CHUNK = 2**20


def damaged(path: Path, reason: str, advice: str) -> ValueError:
    """Return the error about a damaged file: its path, what is wrong, and what to do."""
    return ValueError(f'{str(path)!r} is damaged ({reason}); {advice}')


def digest_of(file: BinaryIO, size: int) -> str:
    """Return the SHA-256 of the next bytes of an open file, in hexadecimal."""
    digest = hashlib.sha256()
    while size > 0 and (chunk := file.read(min(size, _CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with disk_errors_name(path), open(path, 'rb') as file:
        return digest_of(file, path.stat().st_size)


def has_sha256(path: Path, expected: str) -> bool:
    """Return whether a file exists and has this SHA-256."""
    return path.is_file() and sha256_of(path) == expected


def check_sha256(path: Path, expected: str, advice: str) -> None:
    """Compare a file with its SHA-256.

    Args:
        path: The file.
        expected: Its SHA-256 in hexadecimal.
        advice: What to do if it is another, for the message.

    Raises:
        ValueError: If the file is missing or has changed.
    """
    if not path.is_file():
        raise damaged(path, 'it is missing', advice)
    if sha256_of(path) != expected:
        raise damaged(path, 'its checksum is wrong', advice)
