"""The processed graph of a data set: transformed once, stored, and read again."""

import hashlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.files import check_sealed, make_folder, open_sealed

__all__ = ['PreFilter', 'PreTransform', 'processed_graph']

PreTransform = Callable[[HeteroData], HeteroData]
PreFilter = Callable[[HeteroData], bool]


def processed_graph(
    data: HeteroData,
    root: Path | None,
    pre_transform: PreTransform | None,
    pre_filter: PreFilter | None,
    *,
    force_reload: bool = False,
) -> HeteroData:
    """Return the transformed graph, from ``root/processed`` if it is stored there already.

    The name of the file has a digest of the graph before the transform, so changed tables, options
    or features are processed again. As in PyG, a stored graph of another transform or filter is
    used, with a warning.

    Args:
        data: The graph to filter and to transform.
        root: Folder of the data set; :obj:`None` stores nothing.
        pre_transform: Applied to the graph, or :obj:`None`.
        pre_filter: Whether to keep the graph, or :obj:`None`.
        force_reload: Process the graph even if it is stored. (default: :obj:`False`)

    Raises:
        ValueError: If the filter refuses the graph, or the stored one is damaged.
    """
    if pre_transform is None and pre_filter is None:
        return data
    used = {'pre_transform': _described(pre_transform), 'pre_filter': _described(pre_filter)}
    path = None if root is None else root / 'processed' / f'graph_{_digest(data)}.pt'
    if path is not None and path.is_file() and not force_reload:
        return _read(path, used)
    if pre_filter is not None and not pre_filter(data):
        raise ValueError("'pre_filter' refuses the only graph of the data set; leave it out")
    out = data if pre_transform is None else pre_transform(data)
    if path is not None:
        make_folder(path.parent)
        with open_sealed(path) as file:
            torch.save({**used, 'graph': out.to_dict()}, file)
    return out


def _read(path: Path, used: dict[str, str]) -> HeteroData:
    check_sealed(path, 'pass force_reload=True to process the graph again')
    stored = torch.load(path, weights_only=True)
    for name, now in used.items():
        if stored[name] != now:
            warnings.warn(
                f"'{name}' is {now}, but the stored graph was processed with {stored[name]} and "
                'is used; pass force_reload=True to process it again',
                UserWarning,
                stacklevel=5,
            )
    return HeteroData.from_dict(stored['graph'])


def _described(function: object) -> str:
    """Return the representation of a transform without its address, which always differs."""
    return re.sub(r' at 0x[0-9a-fA-F]+', '', repr(function))


def _digest(data: HeteroData) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for store in data.stores:
        for name, value in store.items():
            digest.update(f'{store._key} {name}'.encode())
            if isinstance(value, Tensor):
                digest.update(f'{value.dtype} {list(value.shape)}'.encode())
                digest.update(value.contiguous().numpy().data)
            else:
                digest.update(repr(value).encode())
    return digest.hexdigest()
