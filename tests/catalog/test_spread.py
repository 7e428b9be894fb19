import numpy as np
import pytest

from pyg_mmgef.catalog import item_covariance, score_spread


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_spread_is_the_standard_deviation_of_all_scores(dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(0)
    items = (3 + rng.standard_normal((500, 6))).astype(dtype)
    users = rng.standard_normal((20, 6)).astype(dtype)
    expected = (users.astype(float) @ items.astype(float).T).std(axis=1)
    found = score_spread(users, item_covariance(items))
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype is np.float32 else 1e-12)


def test_parts_of_the_items_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    items = np.random.default_rng(0).standard_normal((100, 4))
    whole = item_covariance(items)
    np.testing.assert_allclose(whole, np.cov(items.T, bias=True))
    monkeypatch.setattr('pyg_mmgef.catalog.spread._ROWS', 7)
    np.testing.assert_allclose(item_covariance(items), whole)


def test_users_without_a_spread_have_the_unit_one() -> None:
    items = np.array([[1.0, 2.0], [1.0, 5.0]])
    users = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    assert score_spread(users, item_covariance(items)).tolist() == [1, 1, 3]
    assert score_spread(users, item_covariance(np.zeros((0, 2)))).tolist() == [1, 1, 1]


def test_boosted_scores_are_inner_products_too() -> None:
    rng = np.random.default_rng(1)
    items, users, boosts = rng.standard_normal((9, 3)), rng.standard_normal((4, 3)), rng.random(9)
    unit = score_spread(users, item_covariance(items))
    boosted = users @ items.T + unit[:, None] * boosts
    longer = np.column_stack([users, unit]) @ np.column_stack([items, boosts]).T
    np.testing.assert_allclose(longer, boosted)
