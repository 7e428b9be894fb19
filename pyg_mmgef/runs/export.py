import hashlib
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from pyg_mmgef import __version__
from pyg_mmgef._spelling import spelt
from pyg_mmgef.catalog import Catalog, ContentWeights
from pyg_mmgef.datasets import IdMap
from pyg_mmgef.exports import (
    ContentProgram,
    export_program,
    inner_product_index,
    new_version,
    write_onnx,
    write_program,
    write_thumbnails,
)
from pyg_mmgef.exports.item_index import INDICES
from pyg_mmgef.files import write_array
from pyg_mmgef.runs.run import Run
from pyg_mmgef.schema import interactions
from pyg_mmgef.tables._arrow_table import arrow
from pyg_mmgef.validate import check_choice, check_fraction

__all__ = ['export']

FORMAT = 1
WRITERS = {'pt2': write_program, 'onnx': write_onnx}


def export(
    run: Run,
    folder: str | os.PathLike[str],
    *,
    index: str = 'flat',
    recall: float = 0.95,
    pictures: bool = True,
    programs: Sequence[str] = (),
    verbose: bool = False,
) -> Path:
    """Write what a server needs of a run: NumPy, pyarrow and FAISS read it, without torch.

    ``export.json`` describes the export and names the folder of its files:

    * ``user_vectors.npy`` and ``item_vectors.npy``, float32, whose inner products are the scores;
      ``vectors.safetensors`` has both for other tools;
    * ``users.parquet`` with the users' ids and ``items.parquet`` with the
      :class:`~pyg_mmgef.catalog.Catalog`, both in the order of the vectors;
    * ``seen_indptr.npy`` and ``seen_indices.npy``, the items that each user has, in CSR form;
    * ``item_index.faiss``, see :func:`~pyg_mmgef.exports.inner_product_index`;
    * ``popularity.npy``, the number of train interactions of each item, for unknown users;
    * where the model can: ``fold_in_*.npy``, the arrays of the
      :class:`~pyg_mmgef.catalog.FoldIn` that makes a user's vector of liked items,
      ``content_*.npy``, those of the :class:`~pyg_mmgef.catalog.ContentWeights` that make an
      item's vector of features, and ``history_*.npy``, those that make what a new item gives to
      the users who like it;
    * ``pictures/<row>.jpg``, small pictures;
    * if asked for, ``content.pt2`` and ``content.onnx``, which also make an item's vector of
      features.

    An export into the folder of an earlier one replaces it in one step, see
    :func:`~pyg_mmgef.exports.new_version`; a server that reads it finds the old or the new one.

    Args:
        run: The run.
        folder: The folder: a new one, an empty one, or that of an earlier export.
        index: ``'flat'``, which is exact, or ``'approximate'``. (default: ``'flat'``)
        recall: The recall that users must have of an approximate index. (default: ``0.95``)
        pictures: Whether to write small pictures. (default: :obj:`True`)
        programs: The programs to write, ``'pt2'`` (:func:`torch.export`) and ``'onnx'``.
            (default: ``()``)
        verbose: Show progress bars. (default: :obj:`False`)

    Returns:
        The folder.

    Raises:
        ValueError: If the model has a channel for each item instead of vectors, programs are asked
            for where it can't embed items by their features, an argument is out of range, or the
            folder holds something else.
        ImportError: If an optional package is missing.
    """
    check_choice('index', index, INDICES)
    check_fraction('recall', recall, '(0, 1]')
    for name in programs:
        if name not in WRITERS:
            raise ValueError(f'{spelt("programs")} must be among {list(WRITERS)} (got {name!r})')
    folder = Path(folder).expanduser()
    model_name = type(run.model).__name__
    z_user, z_item = (_vectors(z, model_name) for z in (run.z_user, run.z_item))
    with new_version(folder) as version:
        path = version.path
        _write_vectors(path, z_user, z_item)
        _write_ids(path / 'users.parquet', run.user_ids)
        run.catalog.save(path / 'items.parquet')
        _write_seen(path, run.all_interactions, len(z_user), len(z_item))
        count = interactions(run.train)[1].bincount(minlength=len(z_item))
        write_array(path / 'popularity.npy', count.cpu().numpy().astype(np.float32), sync=False)
        _write_programs(path, programs, run.content_weights, model_name)
        version.about = {
            'format': FORMAT,
            'created': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'pyg_mmgef': __version__,
            'model': model_name,
            'num_users': len(z_user),
            'num_items': len(z_item),
            'channels': z_item.shape[1],
            'score': 'inner product',
            'index': _write_index(path, z_item, z_user, index, recall),
            'fold_in': _write_fold_in(path, run),
            'content': _write_content(path, 'content', run.content_weights),
            'history': _write_content(path, 'history', run.history_weights),
            'pictures': _write_pictures(path, run.catalog, verbose) if pictures else None,
        }
        version.readme = (
            resources.files('pyg_mmgef.exports').joinpath('readme.md').read_text('utf-8')
        )
    return folder


def _vectors(z: Tensor, model: str) -> NDArray[np.float32]:
    if z.layout != torch.strided:
        raise ValueError(
            f'{model} has a channel for each item, which no table of vectors holds; export a run '
            'of a model with dense embeddings, such as ContentIALS or LightGCN'
        )
    return np.ascontiguousarray(z.detach().cpu().float().numpy())


def _write_vectors(path: Path, z_user: NDArray[np.float32], z_item: NDArray[np.float32]) -> None:
    named = {'user_vectors': z_user, 'item_vectors': z_item}
    for name, array in named.items():
        write_array(path / f'{name}.npy', array, sync=False)
    save_file(named, path / 'vectors.safetensors')


def _write_ids(path: Path, ids: IdMap) -> None:
    pa = arrow()
    column = pa.array(ids.ids.numpy()) if isinstance(ids.ids, Tensor) else pa.array(ids.ids)
    arrow('parquet').write_table(pa.table({'id': column}), path)


def _write_seen(path: Path, edge_index: Tensor, num_users: int, num_items: int) -> None:
    user, item = edge_index.cpu().numpy()
    seen = sp.csr_array((np.ones(len(user), np.bool_), (user, item)), shape=(num_users, num_items))
    seen.sum_duplicates()  # which also sorts the items of a user
    write_array(path / 'seen_indptr.npy', seen.indptr.astype(np.int64), sync=False)
    write_array(path / 'seen_indices.npy', seen.indices.astype(np.int32), sync=False)


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


def _write_fold_in(path: Path, run: Run) -> dict[str, Any] | None:
    fold_in = run.fold_in_if_any()
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


def _write_arrays(path: Path, start: str, arrays: dict[str, NDArray[Any]]) -> None:
    for name, array in arrays.items():
        write_array(path / f'{start}_{name}.npy', array, sync=False)


def _write_pictures(path: Path, catalog: Catalog, verbose: bool) -> dict[str, Any]:
    folder = path / 'pictures'
    folder.mkdir()
    sha256 = write_thumbnails(catalog.pictures, folder, verbose=verbose)
    listing = ''.join(f'{row}.jpg {digest}\n' for row, digest in sha256.items())
    return {'count': len(sha256), 'sha256': hashlib.sha256(listing.encode()).hexdigest()}
