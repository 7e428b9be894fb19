"""How far a user's scores lie apart: the unit in which scores are boosted."""

import numpy as np
from numpy.typing import NDArray

__all__ = ['item_covariance', 'score_spread']

_ROWS = 2**16


def item_covariance(item_vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    r"""Return :math:`\Sigma = \frac{1}{n} \sum_i (z_i - \bar z)(z_i - \bar z)^\top` of the items.

    Args:
        item_vectors: The vectors, which may be mapped to memory. Shape: ``[num_items, channels]``.

    Returns:
        The covariance. Shape: ``[channels, channels]``.
    """
    num_items, channels = item_vectors.shape
    covariance = np.zeros((channels, channels))
    if num_items == 0:
        return covariance
    mean = item_vectors.mean(axis=0, dtype=np.float64)
    for start in range(0, num_items, _ROWS):
        centred = item_vectors[start : start + _ROWS] - mean
        covariance += centred.T @ centred
    return covariance / num_items


def score_spread(
    user_vectors: NDArray[np.floating], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    r"""Return :math:`\sigma_u = \sqrt{z_u^\top \Sigma z_u}`, one if it is zero.

    This is the standard deviation of a user's inner products with all items, without computing
    them. An amount :math:`b_i` of a boost adds :math:`\sigma_u b_i` to the score of an item, so it
    means the same to users and models whose scores differ in size and sign. Adding it is still an
    inner product, of :math:`(z_u, \sigma_u)` and :math:`(z_i, b_i)`.

    Args:
        user_vectors: The vectors of users. Shape: ``[num_users, channels]``.
        covariance: What :func:`item_covariance` returns. Shape: ``[channels, channels]``.

    Returns:
        The unit of each user. Shape: ``[num_users]``.

    Example:
        >>> items, users = np.array([[1.0, 0.0], [0.0, 3.0]]), np.array([[2.0, 0.0], [0.0, -1.0]])
        >>> score_spread(users, item_covariance(items))
        array([1. , 1.5])
        >>> (users @ items.T).std(axis=1)
        array([1. , 1.5])
    """
    users = np.asarray(user_vectors, np.float64)
    variance = np.einsum('uc,cd,ud->u', users, covariance, users, optimize=True)
    return np.sqrt(np.where(variance > 0, variance, 1.0))
