"""The sizes of a shop, and how popular its items are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ['EXPONENT', 'Shop', 'item_cells']

EXPONENT = 2 / 3
"""The item of rank r is interacted with in proportion to r to the minus this, as in random_shop of
benchmarks/scaling.py."""
CELLS = 2000


class Shop(NamedTuple):
    """Sizes."""

    users: int
    items: int
    interactions: int

    @property
    def rows(self) -> int:
        """Rows of the tables of users and items together."""
        return self.users + self.items


def item_cells(shop: Shop) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many items are in each of some ranges of ranks, and their share of interactions.

    Ranges grow by the same factor, from the most popular item on, so items of one are about equally
    popular.
    """
    bounds = np.concatenate([[0.0], np.geomspace(min(1 / shop.items, 0.5), 1.0, CELLS)])
    return np.diff(bounds) * shop.items, np.diff(bounds ** (1 - EXPONENT))
