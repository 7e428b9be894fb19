"""Which share of the rows of a batch each process owns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scaling_plan.sampled_batch import expected_batch
from scaling_plan.shop import Shop, item_cells

__all__ = ['row_shares']


def row_shares(
    shop: Shop,
    batch: int,
    num_neighbors: Sequence[int],
    processes: int,
    *,
    by_popularity: bool = False,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return which share of the rows that a process reads are those of each process.

    A process owns a contiguous range of users and of items, and all read the most popular items in
    every step. Ids come in any order, or by popularity, the most popular first.

    Args:
        shop: The sizes.
        batch: Triplets of a process in a step.
        num_neighbors: Neighbours of a node in each hop.
        processes: Number of processes.
        by_popularity: Whether ids are in the order of popularity. (default: :obj:`False`)
        seed: Seed of the order and of the batches. (default: ``0``)

    Returns:
        Shape: ``[processes, processes]``, sender by owner; the sum of each row is about 1.
    """
    rng = np.random.default_rng(seed)
    found = expected_batch(shop, batch, num_neighbors)
    size, _ = item_cells(shop)
    if by_popularity:
        bounds = np.concatenate([[0.0], size.cumsum()])
        total = np.concatenate([[0.0], (size * found.seen).cumsum()])
        of_owner = np.diff(np.interp(np.linspace(0, shop.items, processes + 1), bounds, total))
    else:
        of_owner = (rng.poisson(size[:, None] / processes, (len(size), processes)).T) @ found.seen
    of_owner = of_owner + found.users / processes
    rows = rng.poisson(np.broadcast_to(of_owner, (processes, processes)))
    shares: NDArray[np.float64] = rows / found.rows
    return shares
