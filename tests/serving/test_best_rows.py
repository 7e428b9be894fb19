import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pyg_mmgef.serving._best_rows import best_rows, rounding_of


def slow(exact: np.ndarray, allowed: np.ndarray, k: int) -> list[int]:
    rows = [row for row in range(len(exact)) if allowed[row]]
    return sorted(rows, key=lambda row: (-exact[row], row))[:k]


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 60),
    k=st.integers(1, 70),
    distinct=st.sampled_from([1, 2, 7, 1000]),
)
@settings(max_examples=200, deadline=None)
def test_as_a_sort_of_the_exact_scores(seed: int, count: int, k: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    exact: NDArray[np.float64] = np.float64(1 / 7) * rng.integers(0, distinct, count)
    allowed = rng.random(count) < 0.8
    error = 0.05
    rounded = (exact + rng.uniform(-error, error, count)).astype(np.float32)
    rounded[~allowed] = -np.inf
    rows, scores = best_rows(rounded, k, lambda rows: exact[rows], error + 1e-6)
    assert rows.tolist() == slow(exact, allowed, k)
    assert scores.tolist() == exact[rows].tolist()


def test_nothing_is_left() -> None:
    rows, scores = best_rows(
        np.full(3, -np.inf, np.float32), 2, lambda rows: rows.astype(np.float64), 0.0
    )
    assert rows.size == scores.size == 0


@pytest.mark.parametrize('channels', [1, 64, 500])
def test_the_bound_holds(channels: int) -> None:
    rng = np.random.default_rng(channels)
    query, items = (rng.standard_normal((n, channels)).astype(np.float32) for n in (1, 3000))
    query *= 1e3
    exact = (items.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    length = float(np.linalg.norm(query)) * float(np.linalg.norm(items, axis=1).max())
    found = np.abs((items @ query[0]).astype(np.float64) - exact).max()
    assert found <= rounding_of(channels, length)
    assert rounding_of(channels, length) < 1e-4 * length  # It is of use.
