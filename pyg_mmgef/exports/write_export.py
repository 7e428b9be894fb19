"""The writer of exports: all that a server needs, in files that need no torch to be read."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef import __version__
from pyg_mmgef._spelling import spelt
from pyg_mmgef.catalog import Catalog, ContentWeights, FoldIn
from pyg_mmgef.exports.item_index import INDICES, inner_product_index
from pyg_mmgef.exports.programs import ContentProgram, export_program, write_onnx, write_program
from pyg_mmgef.exports.thumbnails import write_thumbnails
from pyg_mmgef.exports.version_folder import new_version
from pyg_mmgef.files import (
    Entry,
    import_arrow,
    open_atomically,
    safetensors_pieces,
    write_array,
)
from pyg_mmgef.validate import check_choice, check_fraction

__all__ = ['check_options', 'write_export']

FORMAT = 1
WRITERS = {'pt2': write_program, 'onnx': write_onnx}
BLOCK = 2**16  # Rows that are in memory at once.


def write_export(
    folder: str | os.PathLike[str],
    z_user: NDArray[np.float32],
    z_item: NDArray[np.float32],
    *,
    user_ids: Sequence[Any] | NDArray[Any],
    catalog: Catalog,
    seen: tuple[NDArray[np.int64], NDArray[np.int32]],
    popularity: NDArray[np.float32],
    model: str,
    fold_in: FoldIn | None = None,
    content: ContentWeights | None = None,
    history: ContentWeights | None = None,
    index: str = 'flat',
    recall: float = 0.95,
    pictures: bool = True,
    programs: Sequence[str] = (),
    verbose: bool = False,
) -> Path:
    """Write vectors of any model, and what belongs to them, as an export that a server loads.

    ``export.json`` describes the export and names the folder of its files:

    * ``user_vectors.npy`` and ``item_vectors.npy``, float32, whose inner products are the scores;
      ``vectors.safetensors`` has both for other tools;
    * ``users.parquet`` with the users' ids and ``items.parquet`` with the
      :class:`~pyg_mmgef.catalog.Catalog`, both in the order of the vectors;
    * ``seen_indptr.npy`` and ``seen_indices.npy``, the items that each user has, in CSR form;
    * ``item_index.faiss``, see :func:`~pyg_mmgef.exports.inner_product_index`;
    * ``popularity.npy``, the number of train interactions of each item, for unknown users;
    * where they are given: ``fold_in_*.npy``, the arrays of the
      :class:`~pyg_mmgef.catalog.FoldIn` that makes a user's vector of liked items,
      ``content_*.npy``, those of the :class:`~pyg_mmgef.catalog.ContentWeights` that make an
      item's vector of features, and ``history_*.npy``, those that make what a new item gives to
      the users who like it;
    * ``pictures/<row>.jpg``, small pictures;
    * if asked for, ``content.pt2`` and ``content.onnx``, which also make an item's vector of
      features.

    An export into the folder of an earlier one replaces it in one step, see
    :func:`~pyg_mmgef.exports.new_version`; a server that reads it finds the old or the new one.
    Arrays may be memory-mapped: they are copied block by block, but for the item vectors, which the
    index holds.

    Args:
        folder: The folder: a new one, an empty one, or that of an earlier export.
        z_user: User vectors. Shape: ``[num_users, channels]``.
        z_item: Item vectors. Shape: ``[num_items, channels]``.
        user_ids: The id of each user, all integers or all strings.
        catalog: The items, in the order of their vectors.
        seen: The items that each user has, in CSR form: where those of each begin, of shape
            ``[num_users + 1]``, and the items, ascending.
        popularity: The number of train interactions of each item. Shape: ``[num_items]``.
        model: The name of the model.
        fold_in: What embeds users by the items they like. (default: :obj:`None`)
        content: What embeds items by their features. (default: :obj:`None`)
        history: What new items give to the users who like them. (default: :obj:`None`)
        index: ``'flat'``, which is exact, or ``'approximate'``. (default: ``'flat'``)
        recall: The recall that users must have of an approximate index. (default: ``0.95``)
        pictures: Whether to write small pictures. (default: :obj:`True`)
        programs: The programs to write, ``'pt2'`` (:func:`torch.export`) and ``'onnx'``.
            (default: ``()``)
        verbose: Show progress bars. (default: :obj:`False`)

    Returns:
        The folder.

    Raises:
        ValueError: If sizes don't fit each other, programs are asked for without :obj:`content`,
            an argument is out of range, or the folder holds something else.
        ImportError: If an optional package is missing.
    """
    check_options(index, recall, programs)
    _check_sizes(z_user, z_item, user_ids, catalog, seen, popularity)
    folder = Path(folder).expanduser()
    with new_version(folder) as new:
        path = new.path
        _write_vectors(path, {'user_vectors': z_user, 'item_vectors': z_item})
        _write_ids(path / 'users.parquet', user_ids)
        catalog.save(path / 'items.parquet')
        write_array(path / 'seen_indptr.npy', seen[0], sync=False)
        write_array(path / 'seen_indices.npy', seen[1], sync=False)
        write_array(path / 'popularity.npy', popularity, sync=False)
        _write_programs(path, programs, content, model)
        new.about = {
            'format': FORMAT,
            'created': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'pyg_mmgef': __version__,
            'model': model,
            'num_users': len(z_user),
            'num_items': len(z_item),
            'channels': z_item.shape[1],
            'score': 'inner product',
            'index': _write_index(path, z_item, z_user, index, recall),
            'fold_in': _write_fold_in(path, fold_in),
            'content': _write_content(path, 'content', content),
            'history': _write_content(path, 'history', history),
            'pictures': _write_pictures(path, catalog, verbose) if pictures else None,
        }
        new.readme = resources.files('pyg_mmgef.exports').joinpath('readme.md').read_text('utf-8')
    return folder


def check_options(index: str, recall: float, programs: Sequence[str]) -> None:
    """Raise a :class:`ValueError` if an option of :func:`write_export` is out of range.

    So it can be known before anything is computed for the export.
    """
    check_choice('index', index, INDICES)
    check_fraction('recall', recall, '(0, 1]')
    for name in programs:
        if name not in WRITERS:
            raise ValueError(f'{spelt("programs")} must be among {list(WRITERS)} (got {name!r})')


def _check_sizes(
    z_user: NDArray[np.float32],
    z_item: NDArray[np.float32],
    user_ids: Sequence[Any] | NDArray[Any],
    catalog: Catalog,
    seen: tuple[NDArray[np.int64], NDArray[np.int32]],
    popularity: NDArray[np.float32],
) -> None:
    if z_user.ndim != 2 or z_item.ndim != 2 or z_user.shape[1] != z_item.shape[1]:
        raise ValueError(
            f"'z_user' and 'z_item' must be matrices of one width (got {list(z_user.shape)} and "
            f'{list(z_item.shape)})'
        )
    for name, found, expected in (
        ('user_ids', len(user_ids), len(z_user)),
        ('catalog', len(catalog.ids), len(z_item)),
        ('popularity', len(popularity), len(z_item)),
        ("the first array of 'seen'", len(seen[0]), len(z_user) + 1),
        ("the second array of 'seen'", len(seen[1]), int(seen[0][-1]) if len(seen[0]) else 0),
    ):
        if found != expected:
            raise ValueError(f'{name} must have {expected} entries (got {found})')
    if bool((np.diff(seen[0]) < 0).any()) or seen[0][0] != 0:
        raise ValueError("the first array of 'seen' must begin with 0 and must not decrease")
    if len(seen[1]) and not 0 <= int(seen[1].min()) <= int(seen[1].max()) < len(z_item):
        raise ValueError(
            f"'seen' must hold items in [0, {len(z_item)}) (got item {int(seen[1].max())})"
        )


def _write_vectors(path: Path, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    for name, array in arrays.items():
        write_array(path / f'{name}.npy', array, sync=False)
    entries = {name: Entry('F32', x.shape, _blocks(x)) for name, x in arrays.items()}
    with open_atomically(path / 'vectors.safetensors', sync=False) as file:
        for piece in safetensors_pieces(entries):
            file.write(piece)


def _blocks(x: NDArray[np.float32]) -> Iterator[bytes]:
    for first in range(0, len(x), BLOCK):
        yield np.ascontiguousarray(x[first : first + BLOCK], '<f4').tobytes()


def _write_ids(path: Path, ids: Sequence[Any] | NDArray[Any]) -> None:
    pa, parquet = import_arrow(), import_arrow('parquet')
    parquet.write_table(pa.table({'id': pa.array(ids)}), path)


def _write_index(
    path: Path, z_item: NDArray[np.float32], z_user: NDArray[np.float32], kind: str, recall: float
) -> dict[str, Any]:
    import faiss

    made = inner_product_index(z_item, z_user, kind, recall=recall)
    faiss.write_index(made.index, str(path / 'item_index.faiss'))
    return {
        'kind': made.kind,
        'metric': 'inner product',
        'recall': made.recall,
        'k': made.k,
        'sample': made.sample,
    }


def _write_fold_in(path: Path, fold_in: FoldIn | None) -> dict[str, Any] | None:
    if fold_in is None:
        return None
    _write_arrays(path, 'fold_in', fold_in.to_arrays())
    return fold_in.settings


def _write_content(path: Path, start: str, weights: ContentWeights | None) -> dict[str, Any] | None:
    if weights is None:
        return None
    _write_arrays(path, start, weights.to_arrays())
    return {'modalities': list(weights.in_channels), 'channels': weights.in_channels}


def _write_programs(
    path: Path, names: Sequence[str], weights: ContentWeights | None, model: str
) -> None:
    if names and weights is None:
        raise ValueError(
            f"{spelt('programs')} asks for what makes an item's vector of its features, which "
            f"{model} can't with these data; leave it out"
        )
    if names and weights is not None:
        program = export_program(ContentProgram(weights), weights.in_channels)
        for name in names:
            WRITERS[name](program, path / f'content.{name}')


def _write_arrays(path: Path, start: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, array in arrays.items():
        write_array(path / f'{start}_{name}.npy', array, sync=False)


def _write_pictures(path: Path, catalog: Catalog, verbose: bool) -> dict[str, Any]:
    folder = path / 'pictures'
    folder.mkdir()
    sha256 = write_thumbnails(catalog.pictures, folder, verbose=verbose)
    listing = ''.join(f'{row}.jpg {digest}\n' for row, digest in sha256.items())
    return {'count': len(sha256), 'sha256': hashlib.sha256(listing.encode()).hexdigest()}
