"""The pictures of items: files that a column names, or files named after the items' ids."""

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pyg_mmgef._spelling import spelt
from pyg_mmgef.datasets.tables._picture_download import download_pictures, file_of_address
from pyg_mmgef.tables._picture_folder import (
    NotFound,
    PictureFolder,
    check_picture_folder,
    nearby_pictures,
)
from pyg_mmgef.tables._picture_names import is_address, picture_names
from pyg_mmgef.validate import check_choice

__all__ = ['ItemPictures', 'find_pictures', 'picture_folder']

IMAGES = ('first', 'mean')
NOT_DOWNLOADED = 'picture addresses that are not downloaded'

_FEW = 0.1


class ItemPictures(NamedTuple):
    """The picture files of each item, and counts for the report."""

    paths: list[list[Path]]
    report: dict[str, int]


def picture_folder(
    image_folder: str | os.PathLike[str] | None,
    image: str | None,
    items_folder: Path | None,
    create: bool = False,
) -> Path | None:
    """Return the folder of the pictures, :obj:`None` if no pictures are asked for.

    Args:
        image_folder: The folder that was given.
        image: The column of names that was given.
        items_folder: Folder of the table of items, if it is a file.
        create: Whether to create the folder. (default: :obj:`False`)

    Raises:
        FileNotFoundError: If it doesn't exist.
        ValueError: If the pictures have names but no folder.
    """
    if image_folder is None:
        if image is None:
            return None
        if items_folder is None:
            raise ValueError(
                f'{spelt("image")} names picture files, but {spelt("items")} is no file, so their '
                f'folder is unknown; give it with {spelt("image_folder")}'
            )
        return items_folder
    folder = Path(image_folder).expanduser()
    if create:
        folder.mkdir(parents=True, exist_ok=True)
    check_picture_folder(folder)
    return folder


def find_pictures(
    cells: Sequence[str | None] | None,
    ids: Sequence[str | int],
    folder: Path,
    images: str = 'first',
    *,
    download: bool = False,
    verbose: bool = False,
) -> ItemPictures:
    """Find the picture files of items.

    Args:
        cells: The names of each item's pictures, see
            :func:`~pyg_mmgef.tables._picture_names.picture_names`; :obj:`None` if the
            files are named after the ids.
        ids: The ids of the items.
        folder: The folder of the files.
        images: ``'first'`` keeps one picture of an item, ``'mean'`` all. (default: ``'first'``)
        download: Whether to download the pictures whose names are addresses into the folder.
            (default: :obj:`False`)
        verbose: Whether to show the progress of the download. (default: :obj:`False`)

    Raises:
        ValueError: If no item has a name of a picture, or none has a file.

    Warns:
        UserWarning: If there are files for few items, or names are addresses.
    """
    check_choice('images', images, IMAGES)
    files = PictureFolder(folder)
    if cells is None:
        found = _find_ids(files, ids, images)
        num_asked, what = len(ids), f'have a picture named after their id (such as {str(ids[0])!r})'
    else:
        names = [_names_of(files, cell) for cell in cells]
        if not any(names):
            raise ValueError(f'{spelt("image")} is a column that names no picture; give another')
        failed = _download(names, files, images, verbose) if download else {}
        found = _find_names(files, names, images, has_tried=download)
        found.report.update(failed)
        num_asked = sum(map(bool, names))
        example = next((of_item[0] for of_item in names if of_item), None)
        what = f'with a picture name in {spelt("image")} (such as {example!r}) have their file'
    _check(found, files, num_asked, what)
    found.report['items without a picture'] = sum(not paths for paths in found.paths)
    return found


def _names_of(files: PictureFolder, cell: str | None) -> list[str]:
    if cell is None:
        return []
    names = picture_names(cell)
    return [cell] if names != [cell] and cell in files else names


def _find_ids(files: PictureFolder, ids: Sequence[str | int], images: str) -> ItemPictures:
    names = [str(item) for item in ids]
    found, counts = files.find_ids(names)
    most = 1 if images == 'first' else None
    report = {reason.value: count for reason, count in counts.items()}
    return ItemPictures([found.get(name, [])[:most] for name in names], report)


def _find_names(
    files: PictureFolder, names: Sequence[Sequence[str]], images: str, *, has_tried: bool
) -> ItemPictures:
    report = {reason.value: 0 for reason in NotFound}
    num_missing, paths = 0, []
    for of_item in names:
        found: list[Path] = []
        for name in dict.fromkeys(of_item):
            if is_address(name):
                name = file_of_address(name)
                if name not in files:
                    num_missing += 1
                    continue
            file = files.find(name)
            if isinstance(file, Path):
                found.append(file)
            else:
                report[file.value] += 1
            if found and images == 'first':
                break
        paths.append(found)
    return ItemPictures(paths, report if has_tried else {**report, NOT_DOWNLOADED: num_missing})


def _download(
    names: Sequence[Sequence[str]], files: PictureFolder, images: str, verbose: bool
) -> dict[str, int]:
    """Download what the names ask for, and return counts of what fails, by reason."""
    wanted: list[str] = []
    for of_item in names:
        for name in of_item:
            if is_address(name):
                wanted.append(name)
            elif not isinstance(files.find(name), Path):
                continue
            if images == 'first':
                break
    failed = download_pictures(wanted, files.path, verbose=verbose)
    return Counter(f'pictures not downloaded: {reason}' for reason in failed.values())


def _check(found: ItemPictures, files: PictureFolder, num_asked: int, what: str) -> None:
    num_found = sum(map(bool, found.paths))
    folder = str(files.path)
    reasons = [f'{count} {reason}' for reason, count in found.report.items() if count]
    message = '; '.join(
        [f'{num_found or "none"} of {num_asked} items {what} in {folder!r}', *reasons]
    )
    if found.report.get(NOT_DOWNLOADED):
        hint = f"addresses of pictures aren't files; download them with {spelt('download_images')}"
    else:
        held = f'pictures such as {files.example!r}' if files.example else 'no pictures'
        hint = f'the folder holds {held}; {nearby_pictures(files.path)}'
    if num_found == 0:
        raise ValueError(f'{message}; {hint}')
    if found.report.get(NOT_DOWNLOADED) or num_found < _FEW * num_asked:
        warnings.warn(f'{message}; {hint}', UserWarning, stacklevel=4)
