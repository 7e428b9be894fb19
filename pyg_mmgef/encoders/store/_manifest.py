"""The manifest, which describes the contents of a subfolder of a feature store."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyg_mmgef.encoders.missing_item import MissingItem
from pyg_mmgef.encoders.store._contents import Contents
from pyg_mmgef.files import write_atomically

__all__ = ['DamagedManifestError', 'Manifest', 'read_manifest', 'write_manifest']

_NAME = 'manifest.json'
_FORMAT = 'pyg_mmgef.encoders.FeatureStore'
_VERSION = 1


class DamagedManifestError(Exception):
    """Raised if a manifest has changed since it was written."""


@dataclass
class Manifest:
    """The encoder, the array and the items of a subfolder."""

    kind: str
    """``'image'`` or ``'text'``."""
    fingerprint: str
    """The fingerprint of the encoder."""
    channels: int
    """The length of a vector."""
    array: str
    """The common part of the names of the array's files."""
    contents: Contents
    """The contents of the items."""
    missing: list[MissingItem]
    """The rows without a vector, as far as they are known."""
    sizes: list[int] | None = None
    """The number of rows of each item; :obj:`None` if each has one."""


def read_manifest(folder: Path) -> Manifest | None:
    """Read and check the manifest.

    Returns:
        The manifest, or :obj:`None` if there is none.

    Raises:
        DamagedManifestError: If it has changed since it was written.
        ValueError: If another program wrote it, or another version of the format.
    """
    path = folder / _NAME
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        stored = json.loads(raw)
    except ValueError as error:
        raise DamagedManifestError(f'{_NAME} is not JSON: {error}') from error
    if not isinstance(stored, dict) or stored.get('format') != _FORMAT:
        raise ValueError(
            f'{str(path)!r} was not written by FeatureStore; choose another folder or name, or '
            'move it away'
        )
    if stored.get('version') != _VERSION:
        raise ValueError(
            f'{str(path)!r} has version {stored.get("version")!r} of the format, this release '
            f'reads version {_VERSION}; use the release that wrote it, or delete the folder to '
            'encode again'
        )
    content = stored.get('content')
    if stored.get('checksum') != _checksum(content):
        raise DamagedManifestError(f'{_NAME} has a wrong checksum')
    assert isinstance(content, dict)  # or its checksum would not fit
    return _from_json(content)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest atomically, so that a reader finds the old or the new one."""
    parts = vars(manifest.contents) | {'reasons': list(manifest.contents.reasons.items())}
    # Through JSON first, so that the checksum is of what will be read.
    content = json.loads(json.dumps(vars(manifest) | {'contents': parts}))
    stored = {
        'format': _FORMAT,
        'version': _VERSION,
        'checksum': _checksum(content),
        'content': content,
    }
    write_atomically(folder / _NAME, json.dumps(stored, separators=(',', ':')).encode())


def _checksum(content: Any) -> str:
    canonical = json.dumps(content, separators=(',', ':'), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _from_json(content: dict[str, Any]) -> Manifest:
    parts = content.pop('contents')
    contents = Contents(
        keys=parts['keys'],
        paths=parts['paths'],
        signatures=[None if entry is None else tuple(entry) for entry in parts['signatures']],
        settled=parts['settled'],
        reasons=dict(parts['reasons']),
    )
    missing = [MissingItem(*item) for item in content.pop('missing')]
    return Manifest(contents=contents, missing=missing, **content)
