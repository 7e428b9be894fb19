import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef.files import make_folder, open_atomically
from pyg_mmgef.ranking._inputs import candidate_items, check_embeddings, pair_keys
from pyg_mmgef.ranking.scoring import TopItems
from pyg_mmgef.search._rows import as_writable
from pyg_mmgef.validate import check_ids, check_positive

__all__ = ['Choose', 'Search', 'recommend_to_parquet']

Search: TypeAlias = Callable[
    [NDArray[np.int64], int], tuple[NDArray[np.int64], NDArray[np.float32]]
]
"""Returns items and scores of some users, by their places in the batch, and how many of each."""
Choose: TypeAlias = Callable[[NDArray[np.int64], Search], tuple[ArrayLike, ArrayLike]]
"""Returns the items and scores of a batch of users, given their rows and a search."""

RANKED = 2048  # Users ranked at a time, which bounds nothing but what is held in the cache.


@torch.no_grad()
def recommend_to_parquet(
    z_user: Tensor | NDArray[Any],
    z_item: Tensor | NDArray[Any],
    path: str | os.PathLike[str],
    *,
    k: int = 20,
    users: Tensor | None = None,
    user_ids: Sequence[int] | Sequence[str] | NDArray[Any] | Tensor | None = None,
    item_ids: Sequence[int] | Sequence[str] | NDArray[Any] | Tensor | None = None,
    exclude: Tensor | None = None,
    allowed: Tensor | NDArray[np.bool_] | None = None,
    choose: Choose | None = None,
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
        exclude: Interactions (user, item) whose items are not recommended to the user again.
            Shape: ``[2, E]``. (default: :obj:`None`)
        allowed: The items that may be recommended; :obj:`None` means all.
            Shape: ``[num_items]``, bool. (default: :obj:`None`)
        choose: A function that chooses among the best items of a batch, such as one of
            :meth:`Rules.choose <pyg_mmgef.catalog.Rules.choose>`; :obj:`None` takes the best. Its
            arguments are the rows of the users, and a function from places in the batch and a
            number of items to items and scores, -1 and :math:`-\infty` where there are no more. It
            returns items and scores, padded likewise. (default: :obj:`None`)
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
    check_positive('batch_size', batch_size)
    if users is None:
        users = torch.arange(z_user.size(0), dtype=torch.int64)
    check_ids('users', users, z_user.size(0), 'user')
    candidates = candidate_items(_rows_of(allowed, z_item.size(0)), z_item)
    excluded = pair_keys('exclude', exclude, z_user, z_item)
    rank = TopItems(z_user, z_item, excluded, candidates)
    table = _Table(_ids('user_ids', user_ids, len(z_user)), _ids('item_ids', item_ids, len(z_item)))

    path, num_rows = Path(path).expanduser(), 0
    make_folder(path.parent)
    with open_atomically(path) as file, table.writer(file) as writer:
        batches = users.long().to(z_user.device).split(batch_size)
        for batch in tqdm(batches, 'recommend', disable=not verbose):
            search = _Batch(rank, batch)
            rows = batch.cpu().numpy()
            if choose is None:
                items, scores = search(np.arange(len(rows)), k)
            else:
                items, scores = map(np.asarray, choose(rows, search))
            part = table.rows(rows, items, scores)
            writer.write_batch(part, row_group_size=max(1, len(part)))
            num_rows += len(part)
    return num_rows


class _Batch:
    """Searches the best items of some users."""

    def __init__(self, rank: TopItems, users: Tensor) -> None:
        self._rank, self._users = rank, users

    def __call__(
        self, places: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        users = self._users[torch.from_numpy(places).to(self._users.device)]
        score, item = self._rank(users, min(k, len(self._rank.candidates)), RANKED)
        return item.cpu().numpy(), score.cpu().numpy()


class _Table:
    """The rows of the file, as Arrow has them."""

    def __init__(self, user_ids: Any, item_ids: Any) -> None:
        self._pa = _pyarrow()
        self._users, self._items = self._pa.array(user_ids), self._pa.array(item_ids)

    def writer(self, file: Any) -> Any:
        from pyarrow.parquet import ParquetWriter

        pa = self._pa
        schema = pa.schema(
            {
                'user': self._users.type,
                'rank': pa.int32(),
                'item': self._items.type,
                'score': pa.float32(),
            }
        )
        # Nearly every score is another one, so a dictionary of them would be as long.
        dictionaries = [name for name in schema.names if name != 'score']
        return ParquetWriter(file, schema, compression='zstd', use_dictionary=dictionaries)

    def rows(self, users: NDArray[np.int64], items: NDArray[Any], scores: NDArray[Any]) -> Any:
        """Return the rows of a batch, without those that have no item."""
        is_item = items >= 0
        user, _ = is_item.nonzero()
        columns = {
            'user': self._users.take(self._pa.array(users[user])),
            'rank': (is_item.cumsum(axis=1))[is_item].astype(np.int32),
            'item': self._items.take(self._pa.array(items[is_item])),
            'score': scores[is_item].astype(np.float32),
        }
        return self._pa.record_batch(columns)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            'a Parquet file needs pyarrow; install it with: pip install "pyg-mmgef[cli]"'
        ) from error
    return pyarrow


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


def _ids(name: str, ids: Any, count: int) -> Any:
    if ids is None:
        return np.arange(count)
    if len(ids) != count:
        raise ValueError(f"'{name}' must have {count} ids, one for each row (got {len(ids)})")
    if isinstance(ids, Tensor):
        return ids.cpu().numpy()
    return ids if isinstance(ids, np.ndarray) else list(ids)
