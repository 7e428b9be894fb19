"""Tests of whether one model ranks better than another, over the same users."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pyg_mmgef.validate import check_fraction

__all__ = ['PairedTest', 'holm', 'paired_t_test']


class PairedTest(NamedTuple):
    """The difference of two models, over the users of both."""

    difference: float
    """The mean over users of the second model's metric minus the first's."""
    low: float
    """The lower end of its confidence interval."""
    high: float
    """The upper end of its confidence interval."""
    p_value: float
    """How probable a difference as large is if the models are equally good."""


def paired_t_test(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> PairedTest:
    r"""Compare the metric of two models user by user, with Student's two-sided paired t-test.

    With the differences :math:`d_u` of :math:`N` users, their mean :math:`\bar d` and standard
    deviation :math:`s`, the statistic is :math:`t = \bar d \, \sqrt{N} / s`. With the many users of
    a test part, it decides as a bootstrap or a permutation test does (`Smucker et al., 2007
    <https://doi.org/10.1145/1321440.1321528>`_).

    Args:
        first: The metric of each user by the first model, from
            :func:`~pyg_mmgef.ranking.per_user_metrics`. Shape: ``[N]``.
        second: That of the same users by the second model. Shape: ``[N]``.
        confidence: Level of the confidence interval. (default: ``0.95``)

    Returns:
        The mean difference, its confidence interval and the p-value. If the difference is the same
        for all users, the p-value is 1 where it is zero, else 0.

    Raises:
        ValueError: If the shapes differ, there are fewer than two users, a value isn't finite, or
            the level doesn't lie in (0, 1).

    Example:
        >>> test = paired_t_test([0.1, 0.2, 0.3, 0.4], [0.2, 0.4, 0.4, 0.5])
        >>> round(test.difference, 3), round(test.low, 3), round(test.high, 3)
        (0.125, 0.045, 0.205)
        >>> round(test.p_value, 4)
        0.0154
    """
    from scipy.stats import ttest_rel  # Here, as importing it takes a while.

    check_fraction('confidence', confidence, '(0, 1)')
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or a.size < 2:
        raise ValueError(
            "'first' and 'second' must be vectors with a value for each of the same users, at "
            f'least two (got shapes {list(a.shape)} and {list(b.shape)})'
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("'first' and 'second' must be finite; leave out users without a value")
    mean = float((b - a).mean())
    if np.ptp(b - a) == 0:  # No spread to divide by.
        return PairedTest(mean, mean, mean, float(mean == 0))
    test = ttest_rel(b, a)
    low, high = test.confidence_interval(confidence)
    return PairedTest(mean, float(low), float(high), float(test.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Return the p-values of several tests, corrected for their number by Holm's method.

    The :math:`j`-th smallest of :math:`m` becomes :math:`\max_{i \leq j} \min(1, (m - i + 1) \,
    p_{(i)})` (`Holm, 1979 <https://www.jstor.org/stable/4615733>`_). If all differences with a
    corrected value below 0.05 count as real, the probability that one of them isn't is at most 5 %.

    Args:
        p_values: The p-values.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.maximum.accumulate(factors * np.asarray(p_values)[order]).clip(max=1.0)
    return [float(p) for p in corrected[np.argsort(order)]]
