"""JSON files that hold the SHA-256 of their other content, under the key ``"sha256"``."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyg_mmgef.files.atomic import write_atomically
from pyg_mmgef.files.sha256 import damaged

__all__ = ['read_json', 'write_json']

_KEY = 'sha256'


def write_json(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Write an object and its checksum as JSON, atomically.

    Args:
        path: The file. Its folder must exist.
        content: The object; values that JSON doesn't know are written as strings.
    """
    plain = json.loads(json.dumps(content, default=str))
    sealed = {**plain, _KEY: _checksum(plain)}
    write_atomically(path, json.dumps(sealed, indent=2).encode())


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """Read an object that :func:`write_json` wrote, without the checksum.

    Args:
        path: The file.
        advice: What to do if it is damaged, for the message.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file has changed since it was written.
    """
    try:
        content = json.loads(path.read_bytes().decode())
    except ValueError as error:
        raise damaged(path, str(error), advice) from error
    if not isinstance(content, dict) or _KEY not in content:
        raise damaged(path, 'it has no checksum; earlier versions wrote none', advice)
    if content.pop(_KEY) != _checksum(content):
        raise damaged(path, 'its checksum is wrong', advice)
    return content


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
