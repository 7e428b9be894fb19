import numpy as np
import pytest
from scipy.stats import bootstrap, ttest_rel

from pyg_mmgef.ranking import holm, paired_t_test


def two_models(num_users: int = 500) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    first = generator.random(num_users)
    return first, first + 0.02 + 0.2 * generator.standard_normal(num_users)


def test_is_the_paired_test_of_scipy() -> None:
    first, second = two_models()
    test = paired_t_test(first, second)
    assert test.p_value == ttest_rel(second, first).pvalue
    assert test.difference == pytest.approx(second.mean() - first.mean())
    mirrored = paired_t_test(second, first)
    assert (mirrored.difference, mirrored.low) == pytest.approx((-test.difference, -test.high))


def test_interval_is_that_of_a_bootstrap() -> None:
    first, second = two_models()
    test = paired_t_test(first, second, confidence=0.9)
    other = bootstrap((second - first,), np.mean, confidence_level=0.9, rng=0).confidence_interval
    assert (test.low, test.high) == pytest.approx((other.low, other.high), abs=1e-3)
    wider = paired_t_test(first, second)
    assert wider.low < test.low < test.difference < test.high < wider.high


def test_no_spread() -> None:
    assert paired_t_test([0.1, 0.2], [0.1, 0.2]) == (0, 0, 0, 1)
    assert paired_t_test([0.0, 0.5], [0.5, 1.0]) == (0.5, 0.5, 0.5, 0)


def test_holm_is_that_of_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r'for each of the same users, .* \[2\] and \[3\]'):
        paired_t_test([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match='at least two'):
        paired_t_test([1], [2])
    with pytest.raises(ValueError, match='must be finite'):
        paired_t_test([1, float('nan')], [2, 3])
    with pytest.raises(ValueError, match="'confidence' must lie in"):
        paired_t_test([1, 2], [2, 3], confidence=1.0)
