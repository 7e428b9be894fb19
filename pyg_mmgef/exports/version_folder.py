"""Folders whose content is replaced as a whole, while others read it."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyg_mmgef._spelling import spelt
from pyg_mmgef.files import (
    has_sha256,
    make_folder,
    sha256_of,
    sync_folder,
    write_atomically,
)

__all__ = ['DESCRIPTION', 'VERSIONS', 'NewVersion', 'new_version']

DESCRIPTION, README, VERSIONS = 'export.json', 'README.md', 'versions'
_NEW = '.new'


class NewVersion:
    """A version that is being written.

    Args:
        path: The folder into which its files are written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """The folder into which the files are written. Those in folders below aren't listed."""
        self.about: dict[str, Any] = {}
        """What ``export.json`` says beside ``"folder"`` and ``"files"``."""
        self.readme = ''
        """The text of ``README.md``."""


@contextmanager
def new_version(folder: Path) -> Iterator[NewVersion]:
    """Write a version of a folder that takes the place of the one before when the block ends.

    ``export.json`` names the folder of the version, ``versions/SHA-256 of its files``, and the
    SHA-256 of each file. It is replaced last, in one step, so a reader finds the old version or the
    new one. A version never changes; the one before is kept until the next is written, for those
    who still read it. If the block raises, all stays as it was.

    Args:
        folder: The folder; it is made if need be.

    Yields:
        Where to write the files, and what to say about them.

    Raises:
        ValueError: If the folder holds something else.
        TimeoutError: If another process is writing to it.
    """
    from filelock import FileLock, Timeout

    _check_free(folder)
    versions = folder / VERSIONS
    make_folder(versions)
    try:
        with FileLock(versions / '.lock', timeout=0):
            shutil.rmtree(versions / _NEW, ignore_errors=True)  # of a process that was killed
            try:
                new = NewVersion(versions / _NEW)
                new.path.mkdir()
                yield new
                _replace(folder, new)
            finally:
                shutil.rmtree(versions / _NEW, ignore_errors=True)
    except Timeout as error:
        raise TimeoutError(
            f'another process is exporting to {str(folder)!r}; wait until it has ended'
        ) from error


def _check_free(folder: Path) -> None:
    if (folder / DESCRIPTION).is_file() or not folder.exists():
        return
    others = sorted({entry.name for entry in folder.iterdir()} - {README, VERSIONS})
    if others:
        raise ValueError(
            f'{spelt("folder")} names {str(folder)!r}, which is no export, as it holds '
            f'{others[0]!r}; give a new or an empty folder'
        )


def _replace(folder: Path, new: NewVersion) -> None:
    files = {path.name: sha256_of(path) for path in sorted(new.path.iterdir()) if path.is_file()}
    # What isn't listed file by file is part of what the version says about itself.
    content = json.dumps([files, {k: v for k, v in new.about.items() if k != 'created'}])
    name = hashlib.sha256(content.encode()).hexdigest()[:16]
    before = _folder_in_use(folder)
    target = folder / VERSIONS / name
    _put_in_place(new.path, target, files)
    about = {**new.about, 'folder': f'{VERSIONS}/{name}', 'files': files}
    write_atomically(folder / README, new.readme.encode())
    write_atomically(folder / DESCRIPTION, (json.dumps(about, indent=2) + '\n').encode())
    for entry in (folder / VERSIONS).iterdir():
        if entry.is_dir() and entry.name not in (name, before):
            # On Windows, files that a reader has mapped can't be removed; the next export does.
            shutil.rmtree(entry, ignore_errors=True)


def _folder_in_use(folder: Path) -> str | None:
    try:
        about = json.loads((folder / DESCRIPTION).read_bytes())
        return Path(about['folder']).name
    except (OSError, ValueError, KeyError, TypeError):  # There is none, or it is damaged.
        return None


def _put_in_place(new: Path, target: Path, files: Mapping[str, str]) -> None:
    """Give the new folder its name; if the version exists and is whole, that one stays."""
    if target.exists() and not all(has_sha256(target / name, sha) for name, sha in files.items()):
        shutil.rmtree(target)
    if not target.exists():
        if hasattr(os, 'sync'):  # Not on Windows.
            os.sync()  # One call for all the files, of which there may be many.
        os.replace(new, target)
    sync_folder(target.parent)
