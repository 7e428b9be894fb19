"""Exports of vectors that are spread over processes."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_mmgef.catalog import Catalog, LinearFoldIn
from pyg_mmgef.distributed._exchange import (
    fetch_rows,
    gather_rows,
    place_in,
    starts_of,
)
from pyg_mmgef.distributed._together import in_first_process, raise_together
from pyg_mmgef.distributed.sharded_data import ShardedData
from pyg_mmgef.exports import write_export
from pyg_mmgef.nn.parts import ContentMap
from pyg_mmgef.schema import ITEM
from pyg_mmgef.sparse import CSRPair

__all__ = ['sharded_export']

SAMPLE = 20_000  # Users who teach the map from histories to vectors.


@torch.no_grad()
def sharded_export(
    folder: str | os.PathLike[str],
    z_user: Tensor,
    z_item: Tensor,
    data: ShardedData,
    *,
    user_ids: Sequence[Any] | NDArray[Any] | None,
    catalog: Catalog | None,
    model: str,
    seen: Tensor | None = None,
    index: str = 'flat',
) -> None:
    r"""Write an export that ``pyg-mmgef serve`` loads; each process writes its own rows.

    The processes write their rows into files beside the folder, from which the first one makes the
    export (:func:`~pyg_mmgef.exports.write_export`). It needs memory for the vectors of all items,
    which the index holds, and for the ids; a server needs as much. All processes must see the same
    file system.

    New users are embedded by what they like as :meth:`~pyg_mmgef.nn.Recommender.fold_in` does it,
    by a linear map that up to 20,000 of the users teach.

    Args:
        folder: The folder of the export.
        z_user: Vectors of the users of this process. Shape: ``[len(data.users), channels]``.
        z_item: Vectors of the items of this process. Shape: ``[len(data.items), channels]``.
        data: The train data.
        user_ids: The ids of all users; the first process alone needs them.
        catalog: All items; the first process alone needs it.
        model: The name of the model.
        seen: All interactions (user, item) of the users of this process, those of train included,
            users numbered within the process; :obj:`None` means those of train.
            Shape: ``[2, E]``. (default: :obj:`None`)
        index: ``'flat'``, which is exact, or ``'approximate'``. (default: ``'flat'``)

    Raises:
        RuntimeError: If another process has failed.
        OSError: If the files can't be written.
        ValueError: If sizes don't fit each other, or the folder holds something else.
    """
    folder = Path(folder).expanduser()
    z_user, z_item = z_user.cpu(), z_item.cpu()  # As the data, and what is written.
    edge_index = data.interactions.edge_index if seen is None else seen
    pairs = (edge_index[0].long() * data.num_nodes[ITEM] + edge_index[1]).unique()
    user, item = pairs // data.num_nodes[ITEM], pairs % data.num_nodes[ITEM]
    first_pair = starts_of(len(pairs), z_user.device, data.group)[place_in(data.group)[0]]
    ends = user.bincount(minlength=len(data.users)).cumsum(0) + first_pair
    vectors, offset, explained = _fold_in(data, z_user, z_item)
    own = {
        'user_vectors': z_user.float(),
        'item_vectors': z_item.float(),
        'seen_ends': ends.long(),
        'seen_indices': item.int(),
        'popularity': data.rows[ITEM]['degree'].float(),
        'fold_in': vectors.float(),
    }
    parts = folder.with_name(f'{folder.name}.parts')
    arrays = _written_together(parts, {name: x.cpu().numpy() for name, x in own.items()}, data)

    def write() -> None:
        if user_ids is None or catalog is None:
            raise ValueError("the first process needs 'user_ids' and 'catalog'")
        write_export(
            folder,
            arrays['user_vectors'],
            arrays['item_vectors'],
            user_ids=user_ids,
            catalog=catalog,
            seen=(np.concatenate([[0], arrays['seen_ends']]), arrays['seen_indices']),
            popularity=arrays['popularity'],
            model=model,
            fold_in=LinearFoldIn(arrays['fold_in'], offset.cpu().numpy(), explained=explained),
            index=index,
        )

    try:
        in_first_process(write, z_user.device, data.group)
    finally:
        if place_in(data.group)[0] == 0:
            shutil.rmtree(parts, ignore_errors=True)


def _written_together(
    folder: Path, own: Mapping[str, NDArray[Any]], data: ShardedData
) -> dict[str, NDArray[Any]]:
    """Write the rows of all processes into a file for each name, and return these, as they lie."""
    device = data.interactions.edge_index.device
    starts = {name: starts_of(len(x), device, data.group) for name, x in own.items()}

    def make() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, x in own.items():
            _open(folder, name, 'w+', dtype=x.dtype, shape=(starts[name][-1], *x.shape[1:]))

    in_first_process(make, device, data.group)
    rank = place_in(data.group)[0]
    with raise_together(device, data.group):
        for name, x in own.items():
            rows = _open(folder, name, 'r+')
            rows[starts[name][rank] : starts[name][rank + 1]] = x
            rows.flush()
    return {name: _open(folder, name, 'r') for name in own}


def _open(folder: Path, name: str, mode: Any, **new: Any) -> np.memmap[Any, Any]:
    return np.lib.format.open_memmap(folder / f'{name}.npy', mode, **new)


def _fold_in(
    data: ShardedData, z_user: Tensor, z_item: Tensor
) -> tuple[Tensor, Tensor, float | None]:
    """Return what each item gives to a new user, what all users have, and how well that fits."""
    size = place_in(data.group)[1]
    active = data.rows['user']['degree'].nonzero().view(-1)
    some = active[:: max(1, -(-len(active) * size // SAMPLE))]
    user, item = data.interactions.edge_index.long()
    place = torch.full((len(data.users),), -1, device=user.device)
    place[some] = torch.arange(len(some), device=user.device)
    of_some = place[user] >= 0
    liked, place_of_item = item[of_some].unique(return_inverse=True)
    z_liked = fetch_rows(z_item, liked, data.starts[ITEM], data.group).double()
    ends = torch.stack([place_of_item, place[user][of_some]])
    sums = CSRPair(ends, None, (len(liked), len(some))).matmul(z_liked)
    x = sums / data.rows['user']['degree'][some].sqrt()[:, None]
    x, z = (gather_rows(rows, data.group) for rows in (x, z_user[some].double()))
    fitted = ContentMap().fit(x, z)
    return z_item.double() @ fitted.weight, fitted.bias, fitted.explained
