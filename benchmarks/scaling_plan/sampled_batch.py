"""What a batch of the loader with sampled neighbours holds, in expectation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson
from scaling_plan.shop import Shop, item_cells

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
    positives, negatives = batch * share / size, batch / shop.items
    user_samples, item_samples = float(batch), positives + negatives
    users, items = _seen(user_samples / shop.users), _seen(item_samples)
    new_users, new_items, edges = users, items, 0.0
    known = positives / item_samples  # The share of items that an edge led to.
    for count in num_neighbors:
        to_users = shop.users * float(new_users) * _sampled(active, count, 1.0)
        to_items = size * new_items * _sampled(popular, count, known)
        edges += float(to_users.sum() + to_items.sum())
        # Among them is the edge that led to the node: it leads back to one that is there.
        to_users = to_users - shop.users * float(new_users) * _share(active, count)
        to_items = to_items - size * new_items * known * _share(popular, count)
        user_samples += float(to_items.sum())
        item_samples = item_samples + to_users * share / size
        new_users = _seen(user_samples / shop.users) - users
        new_items = _seen(item_samples) - items
        users, items = users + new_users, items + new_items
        known = np.ones_like(known)
    return SampledBatch(shop.users * float(users), float((size * items).sum()), edges, items)


def _seen(samples: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.expm1(-np.asarray(samples, dtype=np.float64))


def _sampled(
    mean: NDArray[np.float64], count: int, known: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how many neighbours of a node are sampled, where one is known to be there or not."""
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
