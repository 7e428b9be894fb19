"""A folder of pictures: files by name, anywhere below it, without leaving it."""

import os
import re
import unicodedata
from collections import deque
from collections.abc import Collection, Iterator
from enum import Enum
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath

from pyg_mmgef._spelling import spelt

__all__ = [
    'IMAGE_SUFFIXES',
    'NotFound',
    'PictureFolder',
    'check_picture_folder',
    'near_folders',
    'nearby_pictures',
]

IMAGE_SUFFIXES = (
    *('.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp', '.tif', '.tiff', '.avif'),
    *('.heic', '.heif', '.svg'),  # These are found to be listed as unreadable.
)
"""Suffixes of pictures that are named after ids, the preferred ones first."""

_NUMBERED = re.compile(r'(.+)_(\d{1,4})')
_MOST_SCANNED, _MOST_LISTED, _MOST_NAMED, _DEPTH = 200, 10_000, 3, 2


class NotFound(Enum):
    """Why there is no file of a name; the values are the words of a report."""

    OUTSIDE = 'picture names that lead outside of the folder'
    LINK = 'picture names behind links that lead outside of the folder'
    AMBIGUOUS = 'picture names that several files have'
    ABSENT = 'picture names without a file'


class PictureFolder:
    """Finds pictures below a folder; it lists the folder at most once, when it has to.

    Hidden files and folders are skipped, links to folders aren't followed.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = path.resolve()
        self._is_inside: dict[str, bool] = {}
        self._num_links_out = 0

    def __contains__(self, name: str) -> bool:
        """Return whether a file has exactly this name, relative to the folder."""
        try:
            return not _leads_outside(name) and (self.path / name).is_file()
        except (OSError, ValueError):  # a name that is too long, or holds a null byte
            return False

    def find(self, name: str) -> Path | NotFound:
        """Return the file of a name.

        The name is relative to the folder, or that of a single file anywhere below. It may begin
        with the folder's own name, and have backslashes.
        """
        if _leads_outside(name):
            return NotFound.OUTSIDE
        slashed = name.replace('\\', '/')
        for candidate in (name, slashed, *self._without_own_name(slashed)):
            if candidate in self:
                return self._checked(self.path / candidate)
        wanted = '/' + _normal(slashed)
        below = self._by_name.get(_normal(slashed).rsplit('/', 1)[-1], [])
        found = [path for path in below if ('/' + _normal(path)).endswith(wanted)]
        if len(found) > 1:
            return NotFound.AMBIGUOUS
        return self._checked(self.path / found[0]) if found else NotFound.ABSENT

    def find_ids(self, ids: Collection[str]) -> tuple[dict[str, list[Path]], dict[NotFound, int]]:
        """Return the files named after each id, and counts of those that can't be used.

        Either the files have the names ``<id>.jpg``, ``<id>_1.jpg``, ..., in the folder or below,
        or all files of a subfolder ``<id>`` belong to the id; whichever gives more ids a picture.
        """
        wanted = {_normal(name): name for name in ids}
        chosen, counts = _named_after(wanted, self._pictures)
        of_folders = _folders_of(wanted, self._pictures)
        if len(of_folders) > len(chosen):
            chosen, counts = of_folders, {}
        if self._num_links_out:
            counts[NotFound.LINK] = self._num_links_out
        return {key: [self.path / path for path in files] for key, files in chosen.items()}, counts

    @property
    def example(self) -> str | None:
        """The relative path of one of the pictures."""
        return next(iter(self._pictures), None)

    @cached_property
    def _files(self) -> list[str]:
        """The relative paths of all files, with slashes."""
        return list(self._walk())

    @cached_property
    def _pictures(self) -> list[str]:
        return [path for path in self._files if _is_picture(path)]

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        by_name: dict[str, list[str]] = {}
        for path in self._files:
            by_name.setdefault(_normal(path).rsplit('/', 1)[-1], []).append(path)
        return by_name

    def _walk(self) -> Iterator[str]:
        waiting = ['']
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(self.path / folder) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except OSError:  # a folder that may not be read
                continue
            for entry in listed:
                if entry.name.startswith('.'):
                    continue
                if entry.is_symlink():
                    path = Path(entry.path)
                    if not self._stays_inside(path):
                        self._num_links_out += _is_picture(entry.name) or path.is_dir()
                    elif path.is_file():
                        yield f'{folder}{entry.name}'
                elif entry.is_dir():
                    waiting.append(f'{folder}{entry.name}/')
                elif entry.is_file():
                    yield f'{folder}{entry.name}'

    def _without_own_name(self, name: str) -> Iterator[str]:
        parts = name.split('/')
        for count in range(1, len(parts)):
            if self._root.parts[-count:] == tuple(parts[:count]):
                yield '/'.join(parts[count:])

    def _checked(self, path: Path) -> Path | NotFound:
        return path if self._stays_inside(path) else NotFound.LINK

    def _stays_inside(self, path: Path) -> bool:
        if path.is_symlink():
            return Path(os.path.realpath(path)).is_relative_to(self._root)
        folder = str(path.parent)
        if folder not in self._is_inside:
            target = Path(os.path.realpath(folder))
            self._is_inside[folder] = target.is_relative_to(self._root)
        return self._is_inside[folder]


def check_picture_folder(folder: Path) -> None:
    """Raise a :class:`FileNotFoundError` unless a folder exists."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{spelt("image_folder")} must be an existing folder (got {str(folder)!r}); '
            f'{nearby_pictures(folder)}'
        )


def nearby_pictures(folder: Path) -> str:
    """Return a question about :func:`near_folders`."""
    near = near_folders(folder)
    if not near:
        return 'no other folder near it has pictures'
    return f'did you mean {" or ".join(map(repr, near))}?'


def near_folders(folder: Path) -> list[str]:
    """Return some folders with pictures that lie beside a folder, which may not exist."""
    start = folder.parent
    while not start.is_dir() and start != start.parent:
        start = start.parent
    found: list[str] = []
    waiting = deque([(start, 0)])
    for _ in range(_MOST_SCANNED):
        if not waiting or len(found) == _MOST_NAMED:
            break
        place, depth = waiting.popleft()
        try:
            with os.scandir(place) as entries:
                listed = sorted(islice(entries, _MOST_LISTED), key=lambda entry: entry.name)
        except OSError:
            continue
        if any(_is_picture(entry.name) for entry in listed):
            found.append(str(place))
        if depth < _DEPTH:
            inside = [place / e.name for e in listed if e.is_dir(follow_symlinks=False)]
            waiting.extend(
                (path, depth + 1) for path in inside if path != folder and path.name[0] != '.'
            )
    return found


def _named_after(
    wanted: dict[str, str], paths: list[str]
) -> tuple[dict[str, list[str]], dict[NotFound, int]]:
    """Return the files ``<id>.jpg``, ``<id>_1.jpg``, ... of each id, and counts of the others.

    Of several folders with such files, the one nearest to the top counts; of several suffixes, the
    preferred one.
    """
    found: dict[str, dict[str, dict[int, tuple[int, str]]]] = {}
    for path in paths:
        folder, _, name = path.rpartition('/')
        stem, dot, suffix = _normal(name).rpartition('.')
        number = 0
        if stem not in wanted:
            numbered = _NUMBERED.fullmatch(stem)
            if numbered is None or numbered[1] not in wanted:
                continue
            stem, number = numbered[1], 1 + int(numbered[2])
        of_folder = found.setdefault(wanted[stem], {}).setdefault(folder, {})
        candidate = (IMAGE_SUFFIXES.index((dot + suffix).lower()), path)
        of_folder[number] = min(candidate, of_folder.get(number, candidate))
    chosen: dict[str, list[str]] = {}
    num_ambiguous = 0
    for key, of_folders in found.items():
        top = min(folder.count('/') + bool(folder) for folder in of_folders)
        first, *others = (f for f in of_folders if f.count('/') + bool(f) == top)
        if others:
            num_ambiguous += 1
        else:
            chosen[key] = [path for _, (_, path) in sorted(of_folders[first].items())]
    return chosen, {NotFound.AMBIGUOUS: num_ambiguous} if num_ambiguous else {}


def _folders_of(wanted: dict[str, str], paths: list[str]) -> dict[str, list[str]]:
    """Return the files in a subfolder ``<id>`` of each id, in the order of their numbers."""
    found: dict[str, list[str]] = {}
    for path in paths:
        parents = map(_normal, reversed(path.split('/')[:-1]))
        key = next((wanted[parent] for parent in parents if parent in wanted), None)
        if key is not None:
            found.setdefault(key, []).append(path)
    for files in found.values():
        files.sort(key=_natural)
    return found


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part or 0), text) for text, part in re.findall(r'(\D*)(\d*)', path)]


def _is_picture(path: str) -> bool:
    return path.lower().endswith(IMAGE_SUFFIXES)


def _normal(name: str) -> str:
    # A name may be composed (NFC), as most programs write it, or decomposed, as macOS does.
    return name if name.isascii() else unicodedata.normalize('NFC', name)


def _leads_outside(name: str) -> bool:
    # A name may come from either system: absolute paths and '..' are refused in both forms.
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.root or path.drive or '..' in path.parts:
            return True
    return False
