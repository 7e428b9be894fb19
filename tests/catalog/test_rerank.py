"""Lists that a slow procedure over the whole ranking would choose too."""

import importlib
import re
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pyg_mmgef.catalog import rerank
from pyg_mmgef.catalog.rerank import POOL


class Shop(NamedTuple):
    """The whole ranking of one user, and rules."""

    scores: list[float]
    allowed: list[bool]
    has: list[bool]
    groups: list[tuple[list[int], int]]
    pins: list[int]
    k: int
    diversity: float
    vectors: NDArray[np.float64]


@st.composite
def shops(draw: st.DrawFn, most_users: int = 3) -> list[Shop]:
    """Draw users of one shop, who differ in scores and in what they have."""
    size = draw(st.integers(1, 40))
    items = st.integers(0, size - 1)
    flags = st.lists(st.booleans(), min_size=size, max_size=size)
    scores = st.lists(st.integers(-9, 9).map(float), min_size=size, max_size=size)
    group = st.tuples(st.lists(st.integers(-1, 3), min_size=size, max_size=size), st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    vectors = rng.standard_normal((size, 3))
    vectors[draw(items)] = 0
    allowed, groups = draw(flags), draw(st.lists(group, max_size=2))
    pins, k = draw(st.lists(items, max_size=3, unique=True)), draw(st.integers(1, 6))
    diversity = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return [
        Shop(draw(scores), allowed, draw(flags), groups, pins, k, diversity, vectors)
        for _ in range(draw(st.integers(1, most_users)))
    ]


def ranking(shop: Shop) -> list[int]:
    """All items that the user hasn't, the best first."""
    order = np.argsort(-np.array(shop.scores), kind='stable').tolist()
    return [item for item in order if not shop.has[item]]


def cosine(shop: Shop, one: int, other: int) -> float:
    a, b = shop.vectors[one], shop.vectors[other]
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm else 0.0


def check_greedy(shop: Shop, shown: list[int]) -> None:
    """Check that each item of a list is a best one for its place, by the definition."""
    pins = [item for item in shop.pins if shop.allowed[item] and not shop.has[item]]
    ranked = [i for i in ranking(shop) if shop.allowed[i] and i not in pins]
    pool = ranked[: POOL * shop.k] if shop.diversity else []
    low = min((shop.scores[i] for i in pool), default=0.0)
    spread = max((shop.scores[i] for i in pool), default=0.0) - low or 1.0

    def is_free(item: int, before: list[int]) -> bool:
        return item not in before and all(
            group[item] < 0 or sum(group[item] == group[other] for other in before) < most
            for group, most in shop.groups
        )

    def value(item: int, before: list[int]) -> float:
        closest = max([0.0, *(cosine(shop, item, other) for other in before)])
        relevance = (shop.scores[item] - low) / spread
        return (1 - shop.diversity) * relevance - shop.diversity * closest

    assert shown[: len(pins)] == pins[: shop.k]
    for place in range(len(pins), shop.k):
        before, free_in_pool = shown[:place], [i for i in pool if is_free(i, shown[:place])]
        following = [i for i in ranked if is_free(i, before)]
        if not following:
            assert len(shown) == place
            return
        if free_in_pool:
            best = max(value(i, before) for i in free_in_pool)
            assert shown[place] in free_in_pool
            assert value(shown[place], before) == pytest.approx(best, abs=1e-9)
        else:
            assert shown[place] == following[0]
    assert len(shown) == shop.k


def candidates(shops: list[Shop], depth: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The first items of each user's whole ranking."""
    items = np.full((len(shops), depth), -1)
    scores = np.full((len(shops), depth), -np.inf)
    for user, shop in enumerate(shops):
        first = ranking(shop)[:depth]
        items[user, : len(first)] = first
        scores[user, : len(first)] = [shop.scores[item] for item in first]
    return items, scores


def rules_of(shops: list[Shop]) -> dict[str, Any]:
    first = shops[0]
    pin_scores = [
        [np.nan if shop.has[item] else shop.scores[item] for item in shop.pins] for shop in shops
    ]
    return {
        'k': first.k,
        'allowed': np.array(first.allowed),
        'groups': [(np.array(group), most) for group, most in first.groups],
        'pinned': np.array(first.pins, np.int64),
        'pin_scores': np.array(pin_scores).reshape(len(shops), len(first.pins)),
        'diversity': first.diversity,
        'vectors': first.vectors,
    }


@settings(max_examples=400, deadline=None)
@given(shops(), st.integers(0, 45))
def test_complete_lists_are_those_of_the_whole_ranking(shops: list[Shop], depth: int) -> None:
    depth = min(depth, len(shops[0].scores))
    items, scores = candidates(shops, depth)
    found = rerank(items, scores, **rules_of(shops))
    for shop, row, row_scores, is_complete in zip(shops, *found, strict=True):
        shown = row[row >= 0].tolist()
        assert len(set(shown)) == len(shown)
        assert (row[len(shown) :] == -1).all()
        assert row_scores.tolist() == [shop.scores[i] if i >= 0 else -np.inf for i in row]
        if is_complete:
            check_greedy(shop, shown)
        assert is_complete or depth < len(shop.scores)


@settings(max_examples=100, deadline=None)
@given(shops())
def test_users_do_not_depend_on_each_other(shops: list[Shop]) -> None:
    depth = len(shops[0].scores)
    together = rerank(*candidates(shops, depth), **rules_of(shops))
    for user, shop in enumerate(shops):
        alone = rerank(*candidates([shop], depth), **rules_of([shop]))
        assert alone.items[0].tolist() == together.items[user].tolist()


@given(shops(most_users=1), st.sampled_from([0.01, 1000.0]), st.integers(-50, 50))
def test_scale_and_shift_of_scores_change_nothing(
    shops: list[Shop], scale: float, shift: int
) -> None:
    (shop,) = shops
    moved = shop._replace(scores=[scale * (score + shift) for score in shop.scores])
    depth = len(shop.scores)
    own, other = (
        rerank(*candidates([one], depth), **rules_of([one])).items for one in (shop, moved)
    )
    check_greedy(moved, own[0][own[0] >= 0].tolist())
    check_greedy(shop, other[0][other[0] >= 0].tolist())


def test_plain_lists_are_cut() -> None:
    found = rerank([[2, 0, 1]], [[3.0, 2.0, 1.0]], 2, allowed=np.ones(5, bool))
    assert found.items.tolist() == [[2, 0]]
    assert found.scores.tolist() == [[3, 2]]
    assert found.is_complete.tolist() == [True]


def test_says_where_more_candidates_are_needed() -> None:
    brand = np.array([0, 0, 0, 1, 1])
    found = rerank(
        [[0, 1, 2], [0, 1, 3], [0, 1, -1]],
        [[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, -np.inf]],
        2,
        allowed=np.ones(5, bool),
        groups=[(brand, 1)],
    )
    assert found.items.tolist() == [[0, -1], [0, 3], [0, -1]]
    assert found.is_complete.tolist() == [False, True, True]


def test_diversity_needs_its_pool() -> None:
    vectors = np.eye(30)
    items, scores = np.arange(30)[None], -np.arange(30.0)[None]
    for depth, is_complete in ((19, False), (20, True), (30, True)):
        found = rerank(
            items[:, :depth],
            scores[:, :depth],
            2,
            allowed=np.ones(30, bool),
            diversity=0.5,
            vectors=vectors,
        )
        assert found.is_complete.tolist() == [is_complete]


def test_diversity_prefers_what_differs() -> None:
    vectors = np.array([[1.0, 0.0], [0.99, 0.1], [0.0, 1.0], [-1.0, 0.0]], np.float32)
    items, scores = [[0, 1, 2, 3]], [[4.0, 3.9, 3.0, 0.0]]
    lists = [
        rerank(
            items, scores, 3, allowed=np.ones(4, bool), diversity=diversity, vectors=vectors
        ).items[0]
        for diversity in (0.0, 0.3, 1.0)
    ]
    assert [row.tolist() for row in lists] == [[0, 1, 2], [0, 2, 1], [0, 2, 3]]


def test_many_users_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores = -np.sort(-rng.standard_normal((50, 60)), axis=1)
    items = rng.permuted(np.tile(np.arange(60), (50, 1)), axis=1)
    arguments: dict[str, Any] = {
        'allowed': rng.random(60) < 0.8,
        'groups': [(rng.integers(0, 5, 60), 2)],
        'diversity': 0.4,
        'vectors': rng.standard_normal((60, 8)),
    }
    whole = rerank(items, scores, 5, **arguments)
    monkeypatch.setattr(importlib.import_module('pyg_mmgef.catalog.rerank'), '_CHUNK', 1000)
    parts = rerank(items, scores, 5, **arguments)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_items_without_a_score_are_no_candidates() -> None:
    scores = [[1.0, -np.inf, np.nan]]
    found = rerank([[2, 1, 0]], scores, 3, allowed=np.ones(3, bool))
    assert found.items.tolist() == [[2, -1, -1]]
    assert found.is_complete.all()


def test_no_users_and_no_candidates() -> None:
    empty = rerank(np.zeros((0, 4), int), np.zeros((0, 4)), 2, allowed=np.ones(4, bool))
    assert [len(part) for part in empty] == [0, 0, 0]
    none = rerank(np.zeros((2, 0), int), np.zeros((2, 0)), 2, allowed=np.zeros(4, bool))
    assert none.items.tolist() == [[-1, -1]] * 2
    assert none.is_complete.all()


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'k': 0}, "'k' must be a positive integer (got 0)"),
        ({'items': [0, 1]}, "'items' and 'scores' must have one shape [num_users, num_candidates]"),
        ({'scores': [[1.0]]}, '(got [1, 2] and [1, 1])'),
        ({'pinned': np.array([1])}, "'pin_scores' must have shape [1, 1], a score of each pinned"),
        ({'pinned': np.array([1]), 'pin_scores': [[1.0, 2.0]]}, '(got [1, 2])'),
        ({'diversity': 0.5}, "'diversity' compares items; give 'vectors', one an item"),
    ],
)
def test_arguments_that_are_refused(changed: dict[str, Any], message: str) -> None:
    arguments = {
        'items': [[0, 1]],
        'scores': [[2.0, 1.0]],
        'k': 1,
        'allowed': np.ones(3, bool),
        **changed,
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        rerank(**arguments)
