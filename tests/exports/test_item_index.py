"""Indices of inner products keep what they promise, measured with users that are no items."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pyg_mmgef.exports import inner_product_index
from pyg_mmgef.exports import item_index as module

Floats = NDArray[np.float32]


def vectors(num_items: int = 1200, spread: float = 0.5) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    item = rng.standard_normal((num_items, 16), np.float32)
    item *= np.exp(spread * rng.standard_normal((num_items, 1), np.float32))
    return item, rng.standard_normal((300, 16), np.float32)


def recall_of(index: object, item: Floats, user: Floats, k: int) -> float:
    _, found = index.search(user, k)  # type: ignore[attr-defined]
    best = np.argsort(-(user @ item.T), axis=1)[:, :k]
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(found, best, strict=True)]))


def test_a_flat_index_is_exact() -> None:
    item, user = vectors()
    made = inner_product_index(item, user, k=10)
    assert (made.kind, made.recall, made.sample) == ('flat', None, 0)
    assert recall_of(made.index, item, user, 10) == 1


@pytest.mark.parametrize('recall', [0.5, 0.9, 0.99])
def test_the_recall_is_that_of_users(recall: float) -> None:
    item, user = vectors()
    made = inner_product_index(item, user, 'approximate', recall=recall, k=10)
    assert made.sample == len(user)
    assert made.recall is not None
    assert made.recall >= recall
    # Nobody is left out of so small a sample, so it is the recall of all.
    assert recall_of(made.index, item, user, 10) == pytest.approx(made.recall, abs=1e-6)


def test_where_a_graph_falls_short_cells_are_searched_until_the_recall_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, 'BREADTHS', ())
    item, user = vectors()
    some = inner_product_index(item, user, 'approximate', recall=0.8, k=10)
    assert some.kind == 'ivf'
    assert 1 < some.index.nprobe < some.index.nlist
    every = inner_product_index(item, user, 'approximate', recall=1.0, k=10)
    assert every.recall == 1
    assert every.index.nprobe <= every.index.nlist


def test_small_catalogues_and_users_without_a_vector() -> None:
    item, user = vectors(3)
    made = inner_product_index(item, user, 'approximate', k=10)
    assert (made.k, made.recall) == (3, 1.0)
    nobody = inner_product_index(item, np.zeros_like(user), 'approximate', k=10)
    assert (nobody.kind, nobody.sample) == ('flat', 0)


def test_equal_items_count_alike() -> None:
    item, user = vectors(200)
    made = inner_product_index(np.repeat(item[:10], 20, axis=0), user, 'approximate', k=5)
    assert made.recall is not None
    assert made.recall >= 0.95


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'kind': 'hnsw'}, "'kind' must be one of 'flat', 'approximate'"),
        ({'recall': 1.5}, "'recall' must lie in"),
        ({'k': 0}, "'k' must be a positive integer"),
    ],
)
def test_mistakes_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inner_product_index(*vectors(20), **options)
