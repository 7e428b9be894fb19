"""Filters of interactions: one per user-item pair, and the k-core."""

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ['in_k_core', 'is_kept_of_pair']


def is_kept_of_pair(
    user: NDArray[np.int32],
    item: NDArray[np.int32],
    num_items: int,
    preference: tuple[NDArray[np.generic], ...] = (),
    *,
    first: bool = False,
) -> NDArray[np.bool_]:
    """Return a mask of one row per user-item pair: the most preferred, or the first row.

    Args:
        user: User of each row.
        item: Item of each row.
        num_items: Number of items.
        preference: Columns of which the row with the largest values is kept, the most important
            first; of equal rows the last is kept. (default: ``()``)
        first: Keep the first row instead, whatever the preference. (default: :obj:`False`)

    Returns:
        A mask over the rows.
    """
    key = user.astype(np.int64) * num_items + item
    # torch sorts integers by their digits, in several threads.
    ordered, places = torch.sort(torch.from_numpy(key), stable=True)
    order = places.numpy()
    same = np.diff(ordered.numpy()) == 0  # whether a row is of the same pair as the one before
    kept = np.ones(len(key), bool)
    if not same.any():
        return kept
    repeated = np.zeros(len(key), bool)
    repeated[1:] |= same
    repeated[:-1] |= same
    rows = order[repeated]
    key = key[rows]
    if not first:
        # Rows are in the file's order within their pair, and lexsort is stable.
        by_preference = np.lexsort((*(p[rows] for p in reversed(preference)), key))
        rows = rows[by_preference]  # the pairs keep their places, so 'key' stays as it is
    changes = np.diff(key) != 0
    kept[rows] = np.append(True, changes) if first else np.append(changes, True)
    return kept


def in_k_core(
    user: NDArray[np.int32], item: NDArray[np.int32], num_users: int, num_items: int, k: int
) -> NDArray[np.bool_]:
    """Return a mask of the k-core: every user and item in it has at least ``k`` of its rows."""
    rows = np.arange(len(user))
    while len(rows) > 0:
        of_user = np.bincount(user[rows], minlength=num_users)
        of_item = np.bincount(item[rows], minlength=num_items)
        enough = (of_user[user[rows]] >= k) & (of_item[item[rows]] >= k)
        if enough.all():
            break
        rows = rows[enough]
    kept = np.zeros(len(user), bool)
    kept[rows] = True
    return kept
