"""A reader of the files that multimodal recommendation research shares."""

import copy
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Dataset, HeteroData

from pyg_mmgef.datasets._folders import existing_folder
from pyg_mmgef.datasets.tables._interaction_table import (
    Ids,
    InteractionTable,
    read_interaction_table,
)
from pyg_mmgef.files import load_arrays

__all__ = ['MMRecFolder']


class MMRecFolder(Dataset):
    r"""Reads a folder in the format of MMRec and RecBole.

    The folder holds

    * one ``*.inter`` file: interactions, tab-separated, with a header. Columns are found by name:
      ``userID`` or ``user_id``, ``itemID`` or ``item_id``, and optionally ``rating``, ``timestamp``
      and ``x_label``; RecBole's typed names such as ``user_id:token`` are understood.
    * features of the items, ``<modality>_feat.npy``, one row per item.
    * item graphs, as ``.npz`` files with ``row``, ``col``, ``val`` and ``shape``.

    With ``x_label`` (0 train, 1 validation, 2 test) the data set has three graphs:

    .. code-block:: python

        train, val, test = MMRecFolder(root)

    All three have the *same* ``edge_index``, the train interactions, because only these propagate;
    ``edge_label_index`` holds the interactions of the part itself. Without ``x_label`` there is one
    graph with all interactions.

    ``data['user', 'interacts', 'item']`` has ``time`` (int64) and ``rating`` (float32), aligned
    with ``edge_index``, if the file has them. The items have ``x_<modality>`` (float32) and
    ``has_<modality>`` (bool, false where the row of the feature file is zero).

    **Ids.** If features or item graphs are read, an item's id is its row there, and the number of
    items is the number of rows. Otherwise, and for users, ids that aren't ``0 ... n-1`` (gaps,
    other starts, strings) are replaced by their rank among the sorted distinct ids. The ids are
    then kept as ``data['user'].id`` and ``data['item'].id``: an int64 tensor or, for strings, a
    list.

    **Item graphs.** The matrix :math:`\mathbf{A}` of a file is read as an operator
    :math:`\mathbf{A} \mathbf{h}`: row :math:`i` receives from column :math:`j`. The edges
    of ``data['item', name, 'item']`` run source → target, so ``edge_index`` is ``[col, row]``.

    Nothing is written, so the folder may be read-only.

    Args:
        root: The folder.
        inter: Name of the interaction file; :obj:`None` means the only one in the folder.
            (default: :obj:`None`)
        features: Feature files by modality, such as ``{'text': 'text_minilm384.npy'}``; :obj:`None`
            means every ``<modality>_feat.npy``, ``{}`` none. (default: :obj:`None`)
        item_graphs: Graph files by the name of their relation, such as
            ``{'similar_image': 'image_knn10_symnorm.npz'}``. (default: :obj:`None`)
        transform: Applied to each graph at every access. (default: :obj:`None`)
        pre_transform: Applied to each graph once, when the folder is read. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If the folder or a file is missing.
        ValueError: If a file's content isn't as described above.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        inter: str | None = None,
        features: Mapping[str, str | os.PathLike[str]] | None = None,
        item_graphs: Mapping[str, str | os.PathLike[str]] | None = None,
        transform: Callable[[HeteroData], HeteroData] | None = None,
        pre_transform: Callable[[HeteroData], HeteroData] | None = None,
    ) -> None:
        folder = existing_folder(root)
        super().__init__(str(folder), transform, pre_transform)
        path = _find_interactions(folder, inter)
        table = read_interaction_table(path)
        if features is None:
            features = {
                p.name[: -len('_feat.npy')]: p.name for p in sorted(folder.glob('*_feat.npy'))
            }
        x = {name: _read_features(folder, name, file) for name, file in features.items()}
        graphs = {
            name: _read_graph(folder, name, file) for name, file in (item_graphs or {}).items()
        }
        num_rows = _agreed_num_items(
            {str(features[name]): len(rows) for name, rows in x.items()}
            | {str((item_graphs or {})[name]): g.num_nodes for name, g in graphs.items()}
        )
        users = _contiguous(table.user)
        items = (
            _contiguous(table.item) if num_rows is None else _as_rows(path, table.item, num_rows)
        )
        base = _base_graph(users, items, x, graphs)
        splits = _split(path, base, table, torch.stack([users.rows, items.rows]))
        self._splits = splits if pre_transform is None else list(map(pre_transform, splits))

    def len(self) -> int:
        """Return the number of graphs: three if the file has splits, else one."""
        return len(self._splits)

    def get(self, idx: int) -> HeteroData:
        """Return a shallow copy of one graph: train, validation and test, in this order."""
        return copy.copy(self._splits[idx])


class _Nodes(NamedTuple):
    """The nodes of one type: the row of each interaction, their number, and replaced ids."""

    rows: Tensor
    num_nodes: int
    original: Tensor | list[str] | None


class _Graph(NamedTuple):
    edge_index: Tensor
    edge_weight: Tensor
    num_nodes: int


def _find_interactions(folder: Path, inter: str | None) -> Path:
    if inter is not None:
        return _existing(folder, 'inter', inter)
    found = sorted(path.name for path in folder.glob('*.inter'))
    if not found:
        raise FileNotFoundError(f"no '*.inter' file in 'root' ({str(folder)!r})")
    if len(found) > 1:
        raise ValueError(
            f"'root' holds {len(found)} interaction files ({', '.join(found)}); "
            "choose one with 'inter'"
        )
    return folder / found[0]


def _existing(folder: Path, argument: str, name: str | os.PathLike[str]) -> Path:
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"'{argument}' names {str(path)!r}, which doesn't exist")
    return path


def _contiguous(ids: Ids) -> _Nodes:
    distinct, index = np.unique(ids, return_inverse=True)
    index = index.reshape(-1).astype(np.int64)
    original: Tensor | list[str] | None = None
    if distinct.dtype.kind == 'U':
        original = distinct.tolist()
    elif int(distinct[-1]) != len(distinct) - 1:
        original = torch.from_numpy(distinct)
    return _Nodes(torch.from_numpy(index), len(distinct), original)


def _as_rows(path: Path, ids: Ids, num_rows: int) -> _Nodes:
    if ids.dtype.kind == 'U':
        raise ValueError(
            f"'{path.name}' holds item ids such as {ids[0]!s}, which are not rows of the feature "
            'files; number the items from 0 in the order of the rows, or pass features={}'
        )
    if int(ids.max()) >= num_rows:
        raise ValueError(
            f"'{path.name}' holds the item id {ids.max()}, but the features or item graphs have "
            f'only {num_rows} rows; an item id is its row there, counted from 0'
        )
    return _Nodes(torch.from_numpy(ids.astype(np.int64)), num_rows, None)


def _agreed_num_items(num_rows: dict[str, int]) -> int | None:
    if len(set(num_rows.values())) > 1:
        listed = ', '.join(f'{name}: {rows}' for name, rows in num_rows.items())
        raise ValueError(f'the files of the items differ in their number of rows ({listed})')
    return next(iter(num_rows.values()), None)


def _read_features(folder: Path, modality: str, name: str | os.PathLike[str]) -> Tensor:
    if not re.fullmatch(r'\w+', modality):
        raise ValueError(
            f"'features' names the modality {modality!r}; use letters, digits and underscores"
        )
    path = _existing(folder, 'features', name)
    try:
        raw = load_arrays(path)
    except ValueError as error:
        raise ValueError(f"'{path.name}' is not a plain .npy array: {error}") from error
    if not isinstance(raw, np.ndarray) or raw.ndim != 2 or raw.dtype.kind not in 'fiub':
        what = f'{raw.dtype} {list(raw.shape)}' if isinstance(raw, np.ndarray) else 'an archive'
        raise ValueError(
            f"'{path.name}' must hold real numbers of shape [num_items, channels] (got {what})"
        )
    with np.errstate(over='ignore'):  # what doesn't fit into float32 is reported just below
        features = raw.astype(np.float32)
    num_bad = int((~np.isfinite(features)).any(axis=1).sum())
    if num_bad > 0:
        raise ValueError(
            f"'{path.name}' holds NaN or infinite values in {num_bad} of {len(features)} rows; "
            'repair them, or zero these rows to mark the items as missing'
        )
    return torch.from_numpy(features)


def _read_graph(folder: Path, relation: str, name: str | os.PathLike[str]) -> _Graph:
    path = _existing(folder, 'item_graphs', name)
    try:
        archive = load_arrays(path)
        if isinstance(archive, np.ndarray):
            raise ValueError('it holds a single array')
        absent = {'row', 'col', 'val', 'shape'} - set(archive)
        if absent:
            raise ValueError(f'no {", ".join(map(repr, sorted(absent)))} in the archive')
        row, col, val, shape = (archive[key] for key in ('row', 'col', 'val', 'shape'))
        return _to_graph(row, col, val, tuple(np.atleast_1d(shape).tolist()))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"'{path.name}', the item graph {relation!r}, must be an .npz file with 'row', 'col', "
            f"'val' and 'shape' of a square matrix: {error}"
        ) from error


def _to_graph(
    row: NDArray[np.generic],
    col: NDArray[np.generic],
    val: NDArray[np.generic],
    shape: tuple[int, ...],
) -> _Graph:
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f'the shape is {list(shape)}')
    if row.ndim != 1 or row.shape != col.shape or row.shape != val.shape:
        raise ValueError(f'row, col and val have shapes {row.shape}, {col.shape} and {val.shape}')
    if row.dtype.kind not in 'iu' or col.dtype.kind not in 'iu':
        raise ValueError(f'row and col have the types {row.dtype} and {col.dtype}, not integers')
    # The neighbour's column is the source, the receiving row the target.
    edge_index = torch.from_numpy(np.stack([col, row]).astype(np.int64))
    edge_weight = torch.from_numpy(val.astype(np.float32))
    if (
        edge_index.numel() > 0
        and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < shape[0]
    ):
        raise ValueError(
            f'row and col hold ids from {int(edge_index.min())} to {int(edge_index.max())}, '
            f'outside of [0, {shape[0]})'
        )
    if not bool(edge_weight.isfinite().all()):
        raise ValueError('val holds NaN or infinite values')
    return _Graph(edge_index, edge_weight, int(shape[0]))


def _base_graph(
    users: _Nodes, items: _Nodes, features: dict[str, Tensor], graphs: dict[str, _Graph]
) -> HeteroData:
    data = HeteroData()
    for node_type, ids in (('user', users), ('item', items)):
        data[node_type].num_nodes = ids.num_nodes
        if ids.original is not None:
            data[node_type].id = ids.original
    for modality, x in features.items():
        data['item'][f'x_{modality}'] = x
        data['item'][f'has_{modality}'] = (x != 0).any(dim=1)
    for relation, graph in graphs.items():
        data['item', relation, 'item'].edge_index = graph.edge_index
        data['item', relation, 'item'].edge_weight = graph.edge_weight
    return data


def _split(
    path: Path, base: HeteroData, table: InteractionTable, edges: Tensor
) -> list[HeteroData]:
    label = None if table.label is None else torch.from_numpy(table.label)
    propagating = torch.ones(edges.size(1), dtype=torch.bool) if label is None else label == 0
    if not bool(propagating.any()):
        raise ValueError(f"'{path.name}' holds no train interaction (x_label 0)")
    interacts = base['user', 'interacts', 'item']
    interacts.edge_index = edges[:, propagating]
    if table.time is not None:
        interacts.time = torch.from_numpy(table.time)[propagating]
    if table.rating is not None:
        interacts.rating = torch.from_numpy(table.rating)[propagating]
    if label is None:
        return [base]
    splits = []
    for value in (0, 1, 2):
        data = copy.copy(base)
        data['user', 'interacts', 'item'].edge_label_index = edges[:, label == value]
        splits.append(data)
    return splits
