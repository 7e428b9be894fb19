import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.catalog import Catalog
from pyg_mmgef.catalog.content_weights import ContentWeights
from pyg_mmgef.catalog.fold_in import FoldIn
from pyg_mmgef.files import check_sha256, damaged, load_arrays
from pyg_mmgef.serving._ids import IdLookup

__all__ = ['DESCRIPTION', 'ExportFolder', 'load_export', 'read_version']

DESCRIPTION = 'export.json'
FORMAT = 1
ADVICE = 'export the run again'


@dataclass(frozen=True, eq=False)
class ExportFolder:
    """What a server reads of an exported run; the vectors are memory maps, which workers share."""

    version: str
    """The start of the SHA-256 of ``export.json``."""
    meta: dict[str, Any]
    """The content of ``export.json``."""
    user_ids: IdLookup
    catalog: Catalog
    """The items, in the order of the rows."""
    user_vectors: NDArray[np.float32]
    """Shape: ``[num_users, channels]``."""
    item_vectors: NDArray[np.float32]
    """Shape: ``[num_items, channels]``."""
    seen_indptr: NDArray[np.int64]
    """Where each user's items begin in :obj:`seen_indices`. Shape: ``[num_users + 1]``."""
    seen_indices: NDArray[np.int32]
    """Rows of the items that users have."""
    popularity: NDArray[np.float32]
    """Number of train interactions. Shape: ``[num_items]``."""
    fold_in: FoldIn | None
    """Makes a user's vector of items; :obj:`None` where the model can't."""
    content: ContentWeights | None
    """Makes an item's vector of features; :obj:`None` where the model can't."""
    history: ContentWeights | None
    """Makes of features what a new item adds to :obj:`fold_in`; :obj:`None` likewise."""
    pictures: dict[int, Path]
    """The thumbnails by row of the item."""

    @property
    def num_users(self) -> int:
        """Number of users."""
        return len(self.user_vectors)

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.item_vectors)

    @property
    def channels(self) -> int:
        """Length of a vector."""
        return self.item_vectors.shape[1]

    def seen(self, user: int) -> NDArray[np.int32]:
        """Return the rows of the items that a user has."""
        return self.seen_indices[self.seen_indptr[user] : self.seen_indptr[user + 1]]


def read_version(folder: Path) -> str:
    """Return the version of an export, which changes with the content of ``export.json``.

    Raises:
        OSError: If the file can't be read.
    """
    return hashlib.sha256((folder / DESCRIPTION).read_bytes()).hexdigest()[:12]


def files_of(folder: Path) -> list[Path]:
    """Return the files of an export, the first of which describes the others.

    Raises:
        OSError: If a folder can't be read.
    """
    folder = folder.resolve()
    try:
        meta = _read_description(folder / DESCRIPTION)
        return [folder / DESCRIPTION, *(folder / meta.get('folder', '') / n for n in meta['files'])]
    except ValueError:
        return [folder / DESCRIPTION]


def load_export(folder: Path) -> ExportFolder:
    """Read an exported run; each file that is read is compared with its checksum.

    Args:
        folder: The folder. All files are of one export, also if another takes its place meanwhile.

    Raises:
        OSError: If a file can't be read.
        ValueError: If a file is damaged, or the parts don't fit together.
    """
    if not (folder / DESCRIPTION).is_file():
        raise ValueError(
            f'{str(folder)!r} has no {DESCRIPTION}; name a folder that "pyg-mmgef export" wrote'
        )
    folder = folder.resolve()
    version = read_version(folder)
    meta = _read_description(folder / DESCRIPTION)
    folder = folder / meta.get('folder', '')
    users, items, channels = (meta[name] for name in ('num_users', 'num_items', 'channels'))
    reader = _Reader(folder, meta['files'])
    catalog = Catalog.load(reader.path('items.parquet'))
    export = ExportFolder(
        version=version,
        meta=meta,
        user_ids=IdLookup(_id_column(reader.path('users.parquet'))),
        catalog=catalog,
        user_vectors=reader.array('user_vectors.npy', np.float32, (users, channels)),
        item_vectors=reader.array('item_vectors.npy', np.float32, (items, channels)),
        seen_indptr=reader.array('seen_indptr.npy', np.int64, (users + 1,)),
        seen_indices=reader.array('seen_indices.npy', np.int32, (None,)),
        popularity=reader.array('popularity.npy', np.float32, (items,)),
        fold_in=_fold_in(meta.get('fold_in'), reader),
        content=_content(meta.get('content'), reader, 'content_'),
        history=_content(meta.get('history'), reader, 'history_'),
        pictures=_pictures(folder / 'pictures', items),
    )
    _check(export, folder)
    return export


class _Reader:
    """Reads the files that are listed in ``export.json``, and no others."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self._folder, self._files = folder, files

    def path(self, name: str) -> Path:
        if name not in self._files:
            raise damaged(self._folder, f'its {DESCRIPTION} does not list {name}', ADVICE)
        path = self._folder / name
        check_sha256(path, self._files[name], ADVICE)
        return path

    def array(self, name: str, dtype: type, shape: tuple[int | None, ...]) -> NDArray[Any]:
        path = self.path(name)
        try:
            found = np.load(path, mmap_mode='r', allow_pickle=False)
        except ValueError:  # An empty file can't be mapped.
            found = load_arrays(path)
        fits = found.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, found.shape, strict=True)
        )
        if found.dtype != dtype or not fits:
            raise damaged(
                path,
                f'it holds {found.dtype} of shape {found.shape}, not {np.dtype(dtype)} of {shape}',
                ADVICE,
            )
        return found

    def arrays(self, start: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of the files whose names begin so, by the rest of the name."""
        return {
            name[len(start) : -len('.npy')]: np.load(
                self.path(name), mmap_mode='r', allow_pickle=False
            )
            for name in self._files
            if name.startswith(start) and name.endswith('.npy')
        }


def _read_description(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_bytes())
        numbers = [meta[name] for name in ('num_users', 'num_items', 'channels')]
        complete = all(isinstance(x, int) and x >= 0 for x in numbers)
        complete = complete and isinstance(meta['files'], dict) and _is_below(meta.get('folder'))
        found = meta['format']
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, f'{type(error).__name__}: {error}', ADVICE) from error
    if found != FORMAT:
        raise ValueError(
            f'{str(path)!r} has the format {found!r}, and this version reads {FORMAT}; '
            'export and serve with the same version'
        )
    if not complete:
        raise damaged(path, 'num_users, num_items, channels, folder or files are wrong', ADVICE)
    return meta


def _is_below(folder: Any) -> bool:
    if folder is None:
        return True
    return isinstance(folder, str) and not ({'..', '/'} & set(Path(folder).parts))


def _id_column(path: Path) -> Any:
    import pyarrow.parquet as pq

    ids = pq.read_table(path, columns=['id'])['id'].combine_chunks()
    return ids.chunk(0) if hasattr(ids, 'chunk') else ids


def _pictures(folder: Path, num_items: int) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    found = {
        int(path.stem): path
        for path in folder.iterdir()
        if path.suffix == '.jpg' and path.stem.isdecimal()
    }
    return {row: path for row, path in found.items() if row < num_items}


def _check(export: ExportFolder, folder: Path) -> None:
    """Raise a :class:`ValueError` unless the parts fit together."""
    meta = export.meta
    for name, ids, count in (
        ('users.parquet', export.user_ids, export.num_users),
        ('items.parquet', export.catalog, export.num_items),
    ):
        if len(ids) != count:
            raise damaged(folder / name, f'it has {len(ids)} rows, not {count}', ADVICE)
    made = {
        'fold_in': export.fold_in and export.fold_in.channels,
        'content': export.content and export.content.bias.size,
    }
    for name, channels in made.items():
        if channels not in (None, export.channels):
            raise damaged(
                folder / DESCRIPTION,
                f'{name} makes vectors of {channels} channels, not {export.channels}',
                ADVICE,
            )
    for name, array in (
        ('user_vectors.npy', export.user_vectors),
        ('item_vectors.npy', export.item_vectors),
        ('popularity.npy', export.popularity),
    ):
        if not np.isfinite(array).all():
            raise damaged(folder / name, 'a number in it is not finite', ADVICE)
    indptr, indices = export.seen_indptr, export.seen_indices
    if (
        indptr[0] != 0
        or indptr[-1] != len(indices)
        or (np.diff(indptr) < 0).any()
        or (len(indices) and not (indices.min() >= 0 and indices.max() < meta['num_items']))
    ):
        raise damaged(folder / 'seen_indptr.npy', 'the rows of users are out of range', ADVICE)


def _fold_in(settings: dict[str, Any] | None, reader: _Reader) -> FoldIn | None:
    if settings is None:
        return None
    return FoldIn.from_arrays(reader.arrays('fold_in_'), settings)


def _content(settings: dict[str, Any] | None, reader: _Reader, start: str) -> ContentWeights | None:
    if settings is None:
        return None
    arrays = reader.arrays(start)
    means = [f'mean_{name}' for name in settings['modalities']]
    return ContentWeights.from_arrays({name: arrays[name] for name in (*means, 'weight', 'bias')})
