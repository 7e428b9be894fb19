"""Writing files so that a reader never sees half of one."""

import os
import uuid
from pathlib import Path

__all__ = ['write_atomically']


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name in the same folder, then rename."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp')
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
