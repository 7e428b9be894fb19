"""The users of the synthetic shop: their tastes and their interactions."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.datasets.shop._catalogue import ATTRIBUTES

__all__ = ['Interactions', 'draw_interactions', 'draw_taste']

_BLOCK_SIZE = 1024
_TWO_YEARS = 2 * 365 * 24 * 3600
_OPENING = 1_600_000_000  # the time of the first interaction, in Unix seconds


class Interactions(NamedTuple):
    """Users, items and times of the interactions, ordered by user and time."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.int64]


def draw_taste(num_users: int, strength: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Sample the tastes of users: a few favourite values of the attributes they care about.

    Args:
        num_users: Number of users.
        strength: Mean utility of a favourite value in an attribute of average importance.
        rng: Random generator.

    Returns:
        One weight per attribute value. Shape: ``[num_users, total number of values]``.
    """
    # Most people care about two or three attributes and little about the others.
    importance = rng.dirichlet(np.full(len(ATTRIBUTES), 0.4), size=num_users) * len(ATTRIBUTES)
    blocks = []
    for column, values in enumerate(ATTRIBUTES.values()):
        num_favourites = rng.integers(1, 3, size=num_users)
        order = rng.random((num_users, len(values))).argsort(axis=1)
        favourite = order < num_favourites[:, None]
        liking = strength * rng.uniform(0.6, 1.4, size=(num_users, len(values)))
        blocks.append(np.where(favourite, liking, 0) * importance[:, column, None])
    return np.concatenate(blocks, axis=1).astype(np.float32)


def draw_interactions(
    taste: NDArray[np.float32],
    attributes: NDArray[np.float32],
    popularity: NDArray[np.float32],
    on_sale: NDArray[np.bool_],
    mean_interactions: float,
    rng: np.random.Generator,
) -> Interactions:
    """Sample the interactions: each user has those with the items of the highest attraction.

    Attraction is utility plus Gumbel noise, so the choices of a user follow a Plackett-Luce model:
    a softmax over the utilities, without replacement.

    Args:
        taste: Taste of the users. Shape: ``[num_users, values]``.
        attributes: One-hot attributes of the items. Shape: ``[num_items, values]``.
        popularity: Utility of each item for all users. Shape: ``[num_items]``.
        on_sale: Items that can have interactions. Shape: ``[num_items]``.
        mean_interactions: Rough mean number of interactions of a user.
        rng: Random generator of numbers, noise and times.

    Returns:
        The interactions, ordered by user and time.
    """
    items = on_sale.nonzero()[0]
    users, chosen_items, times = [], [], []
    for start in range(0, len(taste), _BLOCK_SIZE):
        block = taste[start : start + _BLOCK_SIZE]
        utility = block @ attributes[items].T + popularity[items]
        attraction = utility + rng.gumbel(size=utility.shape)
        counts = _draw_counts(len(block), mean_interactions, len(items), rng)
        ranking = np.argsort(-attraction, axis=1)[:, : counts.max()]
        chosen = np.arange(ranking.shape[1]) < counts[:, None]
        rows = chosen.nonzero()[0]
        users.append(start + rows)
        chosen_items.append(items[ranking[chosen]])
        # Times don't follow the ranking, or a user's last items would be the least liked.
        joined = rng.uniform(0, 0.8, size=len(block))
        moment = joined[rows] + (1 - joined[rows]) * rng.uniform(size=len(rows))
        times.append(_OPENING + (moment * _TWO_YEARS).astype(np.int64))
    user, item, time = (np.concatenate(parts) for parts in (users, chosen_items, times))
    order = np.lexsort((item, time, user))
    return Interactions(user[order], item[order], time[order])


def _draw_counts(
    num_users: int, mean: float, num_items: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Sample long-tailed counts between about a third and three times the mean."""
    sigma = 0.6
    raw = rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, size=num_users)
    counts = np.clip(raw.round(), max(1, round(mean * 0.36)), round(mean * 2.86))
    # At most half of the shop, so that there are items left to recommend.
    return np.clip(counts, 1, max(1, num_items // 2)).astype(np.int64)
