"""Download of a file, and the check that it hasn't changed since."""

import hashlib
import urllib.request
from pathlib import Path

from tqdm import tqdm

from pyg_mmgef.files import make_folder, open_atomically, sha256_of, write_atomically

__all__ = ['check_digest', 'fetch']

_CHUNK = 2**20


def fetch(url: str, path: Path, verbose: bool = False) -> None:
    """Download a file atomically, and write its SHA-256 beside it.

    Args:
        url: Address of the file.
        path: Where to write it; its folder is created.
        verbose: Whether to show a progress bar. (default: :obj:`False`)

    Raises:
        OSError: If the file can't be downloaded, or only in part.
    """
    make_folder(path.parent)
    digest, size = hashlib.sha256(), 0
    with urllib.request.urlopen(url, timeout=60) as response, open_atomically(path) as file:
        length = response.headers.get('Content-Length')
        total = None if length is None else int(length)
        bar = tqdm(desc=path.name, total=total, unit='B', unit_scale=True, disable=not verbose)
        with bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                bar.update(len(chunk))
        if total is not None and size != total:
            raise OSError(f'{url} broke off after {size} of {total} bytes; try again')
        write_atomically(_digest_path(path), f'{digest.hexdigest()}\n'.encode())


def check_digest(path: Path) -> None:
    """Raise a :class:`ValueError` if a downloaded file has changed; other files pass."""
    beside = _digest_path(path)
    if not beside.exists():
        return
    if beside.read_bytes() != f'{sha256_of(path)}\n'.encode():
        raise ValueError(
            f"'{path.name}' has changed since it was fetched (its SHA-256 isn't that of "
            f"'{beside.name}'); delete both to fetch it again"
        )


def _digest_path(path: Path) -> Path:
    return path.with_name(f'{path.name}.sha256')
