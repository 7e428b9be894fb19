from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ['best_rows', 'rounding_of']


def rounding_of(channels: int, length: float) -> float:
    r"""Return a bound of the error of a float32 inner product of two vectors.

    With :math:`C` channels it is :math:`(C + 2) \, 2^{-24} \lVert \mathbf{q} \rVert \lVert
    \mathbf{z} \rVert`, in whatever order the products are added; here it is twice that.

    Args:
        channels: The number of channels.
        length: The product of the lengths of both vectors.
    """
    return 2 * (channels + 2) * 2.0**-24 * length


def best_rows(
    scores: NDArray[np.float32],
    k: int,
    exact: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    error: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows with the largest exact scores, which float32 scores narrow down.

    Float32 scores depend on how many are computed at a time. So they only say which rows can be
    among the best; these are compared by their exact scores, and equal ones by their rows.

    Args:
        scores: Scores in float32, ``-inf`` for what is left out. Shape: ``[num_rows]``.
        k: Number of rows; there are fewer if fewer aren't left out.
        exact: Returns the exact scores of some rows.
        error: What :obj:`scores` differ from the exact ones by at most.

    Returns:
        The rows and their exact scores, the best first. Shape of both: ``[k]``.
    """
    least = -np.inf
    if k < len(scores):
        least = float(np.partition(scores, len(scores) - k)[len(scores) - k]) - 2 * error
    is_near = scores >= np.float32(least) if np.isfinite(least) else scores > -np.inf
    rows = np.flatnonzero(is_near)
    found = exact(rows)
    order = np.argsort(-found, kind='stable')[:k]
    return rows[order], found[order]
