"""Hashes of pictures and texts, by which a feature store identifies items."""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tqdm import tqdm

from pyg_mmgef.encoders._inputs import is_blank
from pyg_mmgef.encoders._pictures import (
    UnreadablePictureError,
    check_regular_file,
    why_not_opened,
)
from pyg_mmgef.encoders.protocol import PathLike

__all__ = ['Contents', 'Signature', 'contents_of_pictures', 'contents_of_texts', 'is_unchanged']

Signature: TypeAlias = tuple[int, int, int]
"""Size, time of modification and time of status change of a file, the times in nanoseconds."""

_SETTLED_NS = 2_000_000_000
_BLOCK = 1 << 20


@dataclass
class Contents:
    """The items of a run: one entry per row in each list."""

    keys: list[str | None]
    """SHA-256 of each content, in hexadecimal; :obj:`None` if there is nothing to encode."""
    paths: list[str | None]
    """Absolute path of each picture."""
    signatures: list[Signature | None]
    """Signature of each picture's file, from before it was hashed."""
    settled: list[bool]
    """Whether each file was old enough when hashed that its signature identifies it later."""
    reasons: dict[int, str]
    """Why there is nothing to encode, by row."""

    def known(self) -> dict[str, tuple[Signature, str]]:
        """Return signature and key of each path that need not be hashed again if unchanged."""
        rows = zip(self.paths, self.signatures, self.keys, self.settled, strict=True)
        return {
            path: (signature, key)
            for path, signature, key, settled in rows
            if settled and path is not None and signature is not None and key is not None
        }


def _signature(status: os.stat_result) -> Signature:
    """Return values that change with a file's content, at the latest after two seconds."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_unchanged(contents: Contents, row: int) -> bool:
    """Return whether a row's file, if it has one, is unchanged since it was hashed."""
    path = contents.paths[row]
    if path is None:
        return True
    try:
        return _signature(check_regular_file(path)) == contents.signatures[row]
    except UnreadablePictureError:
        return False


def contents_of_pictures(
    paths: Sequence[PathLike | None],
    known: Mapping[str, tuple[Signature, str]],
    verbose: bool,
) -> Contents:
    """Hash the picture files, except those with a known signature.

    Args:
        paths: Picture files, or :obj:`None` for items without a picture.
        known: Signature and key by absolute path, from an earlier run.
        verbose: Whether to show a progress bar.

    Returns:
        The contents. Paths that can't be read have a reason instead of a key.
    """
    out = _nothing_known(len(paths))
    rows = tqdm(paths, desc='comparing pictures', unit=' pictures', disable=not verbose)
    for row, given in enumerate(rows):
        if given is None:
            out.reasons[row] = 'no picture given'
            continue
        path = os.path.abspath(os.fspath(given))
        out.paths[row] = path
        now = time.time_ns()
        try:
            found = _signature(check_regular_file(path))
            if path in known and known[path][0] == found:
                out.keys[row], out.settled[row] = known[path][1], True
            else:
                out.keys[row] = _hash_file(path)
                # A file may change twice within a tick of the file system's clock.
                out.settled[row] = now - max(found[1:]) > _SETTLED_NS
            out.signatures[row] = found
        except UnreadablePictureError as error:
            out.reasons[row] = str(error)
    return out


def contents_of_texts(texts: Sequence[str | None]) -> Contents:
    """Hash the texts; blank ones have a reason instead of a key."""
    out = _nothing_known(len(texts))
    for row, text in enumerate(texts):
        if text is None or is_blank(text):
            out.reasons[row] = 'no text given' if text is None else 'the text is blank'
        else:
            out.keys[row] = hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()
    return out


def _nothing_known(num_rows: int) -> Contents:
    return Contents(
        keys=[None for _ in range(num_rows)],
        paths=[None for _ in range(num_rows)],
        signatures=[None for _ in range(num_rows)],
        settled=[False for _ in range(num_rows)],
        reasons={},
    )


def _hash_file(path: str) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, 'rb', buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise UnreadablePictureError(why_not_opened(error)) from error
    return digest.hexdigest()
