import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef.files import import_arrow, make_folder, open_atomically
from pyg_mmgef.ranking._inputs import candidate_items, check_embeddings, pair_keys
from pyg_mmgef.ranking.scoring import TopItems
from pyg_mmgef.search._rows import as_writable
from pyg_mmgef.validate import check_ids, check_positive

__all__ = ['Rank', 'recommend_to_parquet', 'write_recommendations']

Ids: TypeAlias = Sequence[int] | Sequence[str] | NDArray[Any] | Tensor
Rank: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Returns scores and items of some users, best first, padded by :math:`-\\infty` and -1."""


RANKED = 2048  # Users ranked at a time within a batch.


@torch.no_grad()
def recommend_to_parquet(
    z_user: Tensor | NDArray[Any],
    z_item: Tensor | NDArray[Any],
    path: str | os.PathLike[str],
    *,
    k: int = 20,
    users: Tensor | None = None,
    user_ids: Ids | None = None,
    item_ids: Ids | None = None,
    titles: Sequence[str | None] | None = None,
    exclude: Tensor | None = None,
    allowed: Tensor | NDArray[np.bool_] | None = None,
    batch_size: int = 2**15,
    verbose: bool = False,
) -> int:
    r"""Write the best items of all users to a Parquet file, a batch of users after the other.

    The items are those of :func:`recommend`, exact, and the largest inner products
    :math:`\mathbf{z}_u^{\top} \mathbf{z}_i`. What doesn't depend on the users is prepared once, and
    only the batch at hand is held, so memory doesn't grow with the number of users but for their
    embeddings, which may be memory-mapped, and the interactions to exclude. The file has a row
    group for each batch, and takes its name once it is whole.

    Args:
        z_user: User embeddings, a tensor or an array (also memory-mapped), or a sparse CSR tensor.
            Shape: ``[num_users, channels]``.
        z_item: Item embeddings, likewise. Shape: ``[num_items, channels]``.
        path: The file. Its columns are ``user``, ``rank`` (from 1), ``item`` and ``score``; users
            with fewer than :obj:`k` items have fewer rows.
        k: Number of items per user. (default: ``20``)
        users: The users to recommend to; :obj:`None` means all. Shape: ``[N]``.
            (default: :obj:`None`)
        user_ids: The id of each user; :obj:`None` means the row. Length: ``num_users``.
            (default: :obj:`None`)
        item_ids: The id of each item; :obj:`None` means the row. Length: ``num_items``.
            (default: :obj:`None`)
        titles: The title of each item, for a column ``title``; :obj:`None` leaves it out.
            Length: ``num_items``. (default: :obj:`None`)
        exclude: Interactions (user, item) whose items are not recommended to the user again.
            Shape: ``[2, E]``. (default: :obj:`None`)
        allowed: The items that may be recommended; :obj:`None` means all.
            Shape: ``[num_items]``, bool. (default: :obj:`None`)
        batch_size: Users of a batch. (default: ``32768``)
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        The number of rows.

    Raises:
        ValueError: As :func:`recommend`, or if ids or :obj:`allowed` have another length, or no
            item is allowed.
        ImportError: If pyarrow isn't installed.
    """
    z_user, z_item = _as_tensor('z_user', z_user), _as_tensor('z_item', z_item)
    check_embeddings(z_user, z_item)
    check_positive('k', k)
    for name, ids, z in (
        ('user_ids', user_ids, z_user),
        ('item_ids', item_ids, z_item),
        ('titles', titles, z_item),
    ):
        if ids is not None and len(ids) != z.size(0):
            raise ValueError(
                f"'{name}' must have {z.size(0)} entries, one for each row (got {len(ids)})"
            )
    if users is None:
        users = torch.arange(z_user.size(0), dtype=torch.int64)
    check_ids('users', users, z_user.size(0), 'user')
    candidates = candidate_items(_rows_of(allowed, z_item.size(0)), z_item)
    excluded = pair_keys('exclude', exclude, z_user, z_item)
    top, shown = TopItems(z_user, z_item, excluded, candidates), min(k, len(candidates))
    return write_recommendations(
        path,
        users.long().to(z_user.device),
        lambda batch: top(batch, shown, RANKED),
        user_ids=np.arange(z_user.size(0)) if user_ids is None else user_ids,
        item_ids=np.arange(z_item.size(0)) if item_ids is None else item_ids,
        titles=titles,
        batch_size=batch_size,
        verbose=verbose,
    )


def write_recommendations(
    path: str | os.PathLike[str],
    users: Tensor,
    rank: Rank,
    *,
    user_ids: Ids,
    item_ids: Ids,
    titles: Sequence[str | None] | None = None,
    batch_size: int = 2**15,
    verbose: bool = False,
) -> int:
    r"""Write what a function recommends, a batch of users after the other; the file is Parquet.

    :func:`recommend_to_parquet` writes the items with the largest inner products. This is for
    functions of your own, such as those that rank anew.

    Args:
        path: The file, see :func:`recommend_to_parquet`.
        users: The rows of the users. Shape: ``[N]``.
        rank: A function from some of the users to scores and item rows, both of shape ``[B, k]``,
            best first, :math:`-\infty` and -1 where there are no more.
        user_ids: The id of each user's row.
        item_ids: The id of each item's row.
        titles: The title of each item's row; :obj:`None` for no column. (default: :obj:`None`)
        batch_size: Users of a batch. (default: ``32768``)
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        The number of rows.

    Raises:
        ValueError: If :obj:`batch_size` isn't positive, or a row has no id.
        ImportError: If pyarrow isn't installed.
    """
    check_positive('batch_size', batch_size)
    check_ids('users', users, len(user_ids), 'user')
    table = _Table(user_ids, item_ids, titles)
    path, num_rows = Path(path).expanduser(), 0
    make_folder(path.parent)
    with open_atomically(path) as file, table.writer(file) as writer:
        for batch in tqdm(users.split(batch_size), 'recommend', disable=not verbose):
            scores, items = rank(batch)
            part = table.rows(batch, items, scores)
            writer.write_batch(part, row_group_size=max(1, len(part)))
            num_rows += len(part)
    return num_rows


class _Table:
    """The rows of the file, as Arrow has them."""

    def __init__(self, user_ids: Ids, item_ids: Ids, titles: Sequence[str | None] | None) -> None:
        self._pa = import_arrow()
        self._users, self._items = (
            self._pa.array(ids.cpu().numpy() if isinstance(ids, Tensor) else ids)
            for ids in (user_ids, item_ids)
        )
        self._titles = None if titles is None else self._pa.array(titles, self._pa.string())

    def writer(self, file: Any) -> Any:
        from pyarrow.parquet import ParquetWriter

        pa = self._pa
        types = {'user': self._users.type, 'rank': pa.int32(), 'item': self._items.type}
        types |= {'score': pa.float32()} | ({} if self._titles is None else {'title': pa.string()})
        schema = pa.schema(types)
        # Nearly every score is another one, so a dictionary of them would be as long.
        dictionaries = [name for name in schema.names if name != 'score']
        return ParquetWriter(file, schema, compression='zstd', use_dictionary=dictionaries)

    def rows(self, users: Tensor, items: Tensor, scores: Tensor) -> Any:
        """Return the rows of a batch, without those that have no item."""
        is_item = items >= 0
        rank = torch.arange(1, items.size(1) + 1, dtype=torch.int32).expand_as(items)
        columns = {
            'user': self._taken(self._users, users[:, None].expand_as(items)[is_item]),
            'rank': rank[is_item.cpu()].numpy(),
            'item': self._taken(self._items, items[is_item]),
            'score': scores[is_item].float().cpu().numpy(),
        }
        if self._titles is not None:
            columns['title'] = self._taken(self._titles, items[is_item])
        return self._pa.record_batch(columns)

    def _taken(self, ids: Any, rows: Tensor) -> Any:
        return ids.take(self._pa.array(rows.cpu().numpy()))


def _as_tensor(name: str, z: Tensor | NDArray[Any]) -> Tensor:
    if isinstance(z, np.ndarray):
        return torch.from_numpy(as_writable(z))
    if not isinstance(z, Tensor):
        raise ValueError(f"'{name}' must be a tensor or a NumPy array (got {type(z).__name__})")
    return z.detach()


def _rows_of(allowed: Tensor | NDArray[np.bool_] | None, num_items: int) -> Tensor | None:
    if allowed is None:
        return None
    mask = torch.as_tensor(allowed)
    if mask.dtype != torch.bool or mask.shape != (num_items,):
        raise ValueError(
            f"'allowed' must be a bool for each of the {num_items} items (got "
            f'{list(mask.shape)}, {mask.dtype})'
        )
    if not bool(mask.any()):
        raise ValueError("'allowed' allows no item; recommend nothing, or allow some")
    return mask.nonzero().view(-1)
