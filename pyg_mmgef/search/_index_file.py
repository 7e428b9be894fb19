"""The file of an item index: its clustering, without the features."""

import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyg_mmgef.files import read_sealed, write_sealed
from pyg_mmgef.search._cells import Cells, Projection
from pyg_mmgef.search._rows import SearchRows

__all__ = ['Clustering', 'read_index', 'write_index']

FORMAT = 2  # A reader refuses files of other formats.


class Clustering(NamedTuple):
    """The projection of the items and the centroids of their cells."""

    projection: Projection
    centroids: Tensor


def write_index(path: str | os.PathLike, features: SearchRows, cells: Cells | None) -> None:
    """Write the clustering of some features atomically.

    Args:
        path: The file.
        features: The features, of which a checksum is written.
        cells: Their cells; :obj:`None` if no item has content.
    """
    none = np.empty((0, 0), dtype=np.float32)
    arrays = {
        'format': np.int64(FORMAT),
        'metric': np.array(features.metric),
        'fingerprint': np.array(features.fingerprint()),
        'mean': none.reshape(-1) if cells is None else cells.projection.mean.numpy(),
        'projection': none if cells is None else cells.projection.matrix.numpy(),
        'centroids': none if cells is None else cells.centroids.numpy(),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_sealed(path, buffer.getvalue())


def read_index(path: str | os.PathLike, x: Tensor | np.ndarray) -> tuple[SearchRows, Clustering]:
    """Read the clustering of the features :obj:`x`, and return both.

    Args:
        path: A file of :func:`write_index`.
        x: The features that the index was built from.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or not an index, is of another version or of other
            features.
    """
    content = read_sealed(Path(path), 'if it is an item index, build it again')
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    version = int(arrays['format'])
    if version != FORMAT:
        raise ValueError(
            f"'path' holds an index of format {version}, this version reads {FORMAT}; build it "
            'again'
        )
    features = SearchRows(x, str(arrays['metric']))
    if features.fingerprint() != str(arrays['fingerprint']):
        raise ValueError(f"'x' are not the features that {path} was built from")
    mean, matrix, centroids = (
        torch.from_numpy(arrays[name]) for name in ('mean', 'projection', 'centroids')
    )
    return features, Clustering(Projection(mean, matrix), centroids)
