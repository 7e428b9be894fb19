"""Reader of the item table: texts, and paths of pictures."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.tables import Table

__all__ = [
    'align',
    'find_named_pictures',
    'find_pictures_of_ids',
    'joined',
    'picture_folder',
]

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp')


def align(
    values: list[str | None], item_of_row: NDArray[np.int32], num_items: int
) -> tuple[list[str | None], int]:
    """Return the value of each item's first row, and the number of repeated rows.

    Args:
        values: One value per row of the table.
        item_of_row: The item of each row, ``-1`` for items that were dropped.
        num_items: Number of items.
    """
    stays = item_of_row >= 0
    items, first = np.unique(item_of_row[stays], return_index=True)
    out: list[str | None] = [None] * num_items
    rows = np.flatnonzero(stays)[first]
    for item, row in zip(items.tolist(), rows.tolist(), strict=True):
        out[item] = values[row]
    return out, int(stays.sum()) - len(items)


def joined(columns: Sequence[Sequence[str | None]], num_items: int) -> list[str | None]:
    """Return the texts of some columns, joined with blanks, for each item."""
    if not columns:
        return [None] * num_items
    return [
        ' '.join(text for text in texts if text is not None) or None
        for texts in zip(*columns, strict=True)
    ]


def find_named_pictures(
    names: Sequence[str | None], folder: Path
) -> tuple[list[Path | None], dict[str, int]]:
    """Return the path of each name if the file exists below the folder, and count the others."""
    paths: list[Path | None] = []
    num_outside = num_absent = 0
    for name in names:
        path = None if name is None or _leads_outside(name) else folder / name
        num_outside += name is not None and path is None
        if path is not None and not _is_file(path):
            num_absent += 1
            path = None
        paths.append(path)
    return paths, {
        'picture names that lead outside of the folder': num_outside,
        'picture names without a file': num_absent,
    }


def find_pictures_of_ids(ids: Sequence[str | int], folder: Path) -> list[Path | None]:
    """Return the path of each id's picture: ``<id>.jpg`` or another common suffix."""
    best: dict[str, tuple[int, str]] = {}
    for path in folder.iterdir():
        suffix = path.suffix.lower()
        if suffix not in IMAGE_SUFFIXES:
            continue
        found = (IMAGE_SUFFIXES.index(suffix), path.name)
        best[path.stem] = min(found, best.get(path.stem, found))
    names = (best.get(str(item)) for item in ids)
    return [None if name is None else folder / name[1] for name in names]


def _leads_outside(name: str) -> bool:
    # A name may come from either system: absolute paths and '..' are refused in both forms.
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.root or path.drive or '..' in path.parts:
            return True
    return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a null byte
        return False


def picture_folder(
    image_folder: str | os.PathLike[str] | None, image: str | None, items: Table | None
) -> Path | None:
    """Return the folder of the pictures, :obj:`None` if no pictures are asked for.

    Raises:
        FileNotFoundError: If it doesn't exist.
        ValueError: If the pictures have names but no folder.
    """
    if image_folder is None:
        if image is None:
            return None
        if items is None or items.folder is None:
            raise ValueError(
                "'image' names picture files, but 'items' is no file, so their folder is unknown; "
                "pass 'image_folder'"
            )
        return items.folder
    folder = Path(image_folder).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"'image_folder' must be an existing folder (got {str(folder)!r})")
    return folder
