"""What a batch of the loader with sampled neighbours holds, in expectation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scaling_plan.shop import Shop, item_cells
from scipy.stats import poisson

__all__ = ['SampledBatch', 'expected_batch']


class SampledBatch(NamedTuple):
    """Numbers of what a batch holds."""

    users: float
    items: float
    edges: float
    seen: NDArray[np.float64]
    """How probable it is that an item is there, by its range of ranks. Shape: ``[C]``."""

    @property
    def rows(self) -> float:
        """Distinct users and items, whose rows are read."""
        return self.users + self.items


def expected_batch(shop: Shop, batch: int, num_neighbors: Sequence[int]) -> SampledBatch:
    r"""Return what a batch of ``TripletNeighborLoader`` holds in expectation.

    Interactions are independent: users are equally active, items are as popular as
    :func:`~scaling_plan.shop.item_cells` says. What is sampled :math:`m` times on average is there
    with the probability :math:`1 - e^{-m}`. Each hop expands what the hop before reached first, by
    at most so many neighbours each.

    Args:
        shop: The sizes.
        batch: Triplets of the process.
        num_neighbors: Neighbours of a node in each hop.
    """
    size, share = item_cells(shop)
    active, popular = np.array(shop.interactions / shop.users), shop.interactions * share / size
    # Of each user and item: how often it is sampled, and how many edges led to it.
    to_user, to_item = np.array(batch / shop.users), batch * share / size
    user_samples, item_samples = to_user, to_item + batch / shop.items
    users, items = _seen(user_samples), _seen(item_samples)
    new_users, new_items, edges = users, items, 0.0
    for count in num_neighbors:
        of_users = new_users * _sampled(active, count, _at_most_1(to_user, new_users))
        of_items = new_items * _sampled(popular, count, _at_most_1(to_item, new_items))
        edges += shop.users * float(of_users) + float((size * of_items).sum())
        # The edges that led to a node are among its own, and lead back to what is there.
        from_users = shop.users * (of_users - to_user * _share(active, count))
        from_items = (size * (of_items - to_item * _share(popular, count))).sum()
        more_users, more_items = from_items / shop.users, from_users * share / size
        user_samples, item_samples = user_samples + more_users, item_samples + more_items
        to_user, to_item = more_users * (1 - users), more_items * (1 - items)
        new_users, new_items = _seen(user_samples) - users, _seen(item_samples) - items
        users, items = users + new_users, items + new_items
    return SampledBatch(shop.users * float(users), float((size * items).sum()), edges, items)


def _seen(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.expm1(-samples)


def _at_most_1(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(1.0, part / np.maximum(whole, 1e-300))


def _sampled(
    mean: NDArray[np.float64], count: int, known: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how many neighbours of a node are sampled; one is known with some probability."""
    if count < 0:
        return mean + known
    fewer, all_of_them = (
        poisson.sf(np.arange(number)[:, None], mean.reshape(1, -1)).sum(axis=0).reshape(mean.shape)
        for number in (max(count - 1, 0), count)
    )
    return known * (min(count, 1) + fewer) + (1 - known) * all_of_them


def _share(mean: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the probability that a certain one of the neighbours of a node is sampled."""
    return np.ones_like(mean) if count < 0 else np.minimum(1.0, count / (1 + mean))
