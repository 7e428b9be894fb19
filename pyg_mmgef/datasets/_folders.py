"""The folder that holds the files of a data set."""

import os
from pathlib import Path

__all__ = ['existing_folder', 'names_in']


def existing_folder(root: str | os.PathLike[str]) -> Path:
    """Return the folder of a data set.

    Raises:
        FileNotFoundError: If it doesn't exist.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"'root' must be an existing folder (got {str(root)!r})")
    return folder


def names_in(folder: Path) -> list[str]:
    """Return the first names in a folder, for a message that says what it holds."""
    return sorted(path.name for path in folder.iterdir())[:20]
