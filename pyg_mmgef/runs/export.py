import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_mmgef.exports import write_export
from pyg_mmgef.exports.write_export import check_options
from pyg_mmgef.runs.run import Run
from pyg_mmgef.schema import interactions

__all__ = ['export']


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

    The files are those of :func:`~pyg_mmgef.exports.write_export`, all that the model can give.

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
    check_options(index, recall, programs)
    model = type(run.model).__name__
    z_user, z_item = (_vectors(z, model) for z in (run.z_user, run.z_item))
    count = interactions(run.train)[1].bincount(minlength=len(z_item))
    return write_export(
        folder,
        z_user,
        z_item,
        user_ids=run.user_ids.ids.numpy()
        if isinstance(run.user_ids.ids, Tensor)
        else run.user_ids.ids,
        catalog=run.catalog,
        seen=_seen(run.all_interactions, len(z_user), len(z_item)),
        popularity=count.cpu().numpy().astype(np.float32),
        model=model,
        fold_in=run.fold_in_if_any(),
        content=run.content_weights,
        history=run.history_weights,
        index=index,
        recall=recall,
        pictures=pictures,
        programs=programs,
        verbose=verbose,
    )


def _vectors(z: Tensor, model: str) -> NDArray[np.float32]:
    if z.layout != torch.strided:
        raise ValueError(
            f'{model} has a channel for each item, which no table of vectors holds; export a run '
            'of a model with dense embeddings, such as ContentIALS or LightGCN'
        )
    return np.ascontiguousarray(z.detach().cpu().float().numpy())


def _seen(
    edge_index: Tensor, num_users: int, num_items: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    user, item = edge_index.cpu().numpy()
    seen = sp.csr_array((np.ones(len(user), np.bool_), (user, item)), shape=(num_users, num_items))
    seen.sum_duplicates()  # which also sorts the items of a user
    return seen.indptr.astype(np.int64), seen.indices.astype(np.int32)
