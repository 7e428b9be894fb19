import itertools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.metrics import (
    LinkPredAveragePopularity,
    LinkPredCoverage,
    LinkPredDiversity,
    LinkPredPersonalization,
)

from pyg_mmgef.ranking import _list_sums
from pyg_mmgef.ranking.list_metrics import (
    average_popularity,
    coverage,
    diversity,
    exposure,
    gini,
    novelty,
    personalization,
)

Lists: TypeAlias = Callable[[], Tensor]
NUM_USERS, NUM_ITEMS, K = 40, 25, 6
NONE = torch.empty(2, 0, dtype=torch.int64)


def full_lists(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(NUM_USERS, NUM_ITEMS, generator=generator).argsort(dim=1)[:, :K]


def ragged_lists(seed: int = 0) -> Tensor:
    """Lists of 1 to ``K`` items."""
    items = full_lists(seed)
    return items.masked_fill(torch.arange(K) > torch.arange(NUM_USERS)[:, None] % K, -1)


def vectors(seed: int = 0) -> Tensor:
    x = torch.randn(NUM_ITEMS, 7, generator=torch.Generator().manual_seed(seed))
    x[3] = 0
    return x


def rows(items: Tensor) -> list[list[int]]:
    return [[item for item in row if item >= 0] for row in items.tolist()]


def pyg(metric: Any, items: Tensor) -> float:
    metric.update(items, NONE)
    return float(metric.compute())


def slow_diversity(items: Tensor, features: Tensor) -> list[float]:
    out = []
    for row in rows(items):
        cosines = [
            float(torch.cosine_similarity(features[i], features[j], dim=0))
            for i, j in itertools.permutations(row, 2)
        ]
        out.append(1 - sum(cosines) / len(cosines) if cosines else math.nan)
    return out


def slow_gini(count: list[int]) -> float:
    """The mean absolute difference of two items, relative to twice their mean."""
    differences = [abs(a - b) for a in count for b in count]
    return sum(differences) / len(count) ** 2 / (2 * sum(count) / len(count))


def slow_personalization(items: Tensor) -> float:
    sets = [set(row) for row in rows(items)]
    cosines = [len(a & b) / math.sqrt(len(a) * len(b)) for a, b in itertools.combinations(sets, 2)]
    return 1 - sum(cosines) / len(cosines)


@pytest.mark.parametrize('seed', range(3))
def test_equal_those_of_pyg(seed: int) -> None:
    items, popularity = full_lists(seed), torch.arange(NUM_ITEMS)
    category = torch.arange(NUM_ITEMS) % 4
    one_hot = torch.nn.functional.one_hot(category).float()
    assert coverage(exposure(items, 2 * NUM_ITEMS)) == pytest.approx(
        pyg(LinkPredCoverage(K, 2 * NUM_ITEMS), items)
    )
    assert personalization(items) == pytest.approx(pyg(LinkPredPersonalization(K), items), abs=1e-6)
    assert float(average_popularity(items, popularity).mean()) == pytest.approx(
        pyg(LinkPredAveragePopularity(K, popularity), items), rel=1e-6
    )
    assert float(diversity(items, one_hot).mean()) == pytest.approx(
        pyg(LinkPredDiversity(K, category), items), rel=1e-6
    )


@pytest.mark.parametrize('lists', [full_lists, ragged_lists])
@pytest.mark.parametrize('layout', ['dense', 'csr', 'float64', 'half'])
def test_diversity_is_that_of_all_pairs(
    lists: Lists, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_list_sums, 'BLOCK', 7)
    features = vectors().half().float()  # Half precision has the same numbers.
    out = diversity(
        lists(),
        {
            'dense': features,
            'csr': features.to_sparse_csr(),
            'float64': features.double(),
            'half': features.half(),
        }[layout],
    )
    assert out.dtype == torch.float32
    assert out.tolist() == pytest.approx(slow_diversity(lists(), features), abs=1e-5, nan_ok=True)


def test_diversity_of_vectors_whose_squares_overflow() -> None:
    for scale in (1e30, 1e-30):
        assert diversity(full_lists(), vectors() * scale).tolist() == pytest.approx(
            diversity(full_lists(), vectors()).tolist(), abs=1e-5
        )


@settings(max_examples=50)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any))
def test_gini_is_the_mean_difference(count: list[int]) -> None:
    assert gini(torch.tensor(count)) == pytest.approx(slow_gini(count), abs=1e-12)


def test_ends_of_gini() -> None:
    assert gini(torch.full((10,), 3)) == 0
    assert gini(torch.tensor([0] * 9 + [7])) == pytest.approx(0.9)
    assert math.isnan(gini(torch.zeros(3, dtype=torch.int64)))


@pytest.mark.parametrize('lists', [full_lists, ragged_lists])
def test_personalization_is_that_of_all_pairs(lists: Lists) -> None:
    assert personalization(lists()) == pytest.approx(slow_personalization(lists()))


def test_ends_of_personalization() -> None:
    same = torch.arange(K).expand(5, -1)
    assert personalization(same) == pytest.approx(0, abs=1e-12)
    assert personalization(torch.arange(20).view(5, 4)) == 1
    assert math.isnan(personalization(same[:1]))
    # Empty lists are no users.
    assert personalization(torch.cat([ragged_lists(), torch.full((3, K), -1)])) == pytest.approx(
        personalization(ragged_lists())
    )


def test_exposure_counts_lists() -> None:
    out = exposure(ragged_lists(), NUM_ITEMS)
    expected = [sum(item in row for row in rows(ragged_lists())) for item in range(NUM_ITEMS)]
    assert out.tolist() == expected
    assert coverage(out) == np.mean(np.array(expected) > 0)


def test_popularity_and_novelty_of_ragged_lists() -> None:
    items = ragged_lists()
    popularity = torch.arange(NUM_ITEMS) * 3
    assert average_popularity(items, popularity).tolist() == pytest.approx(
        [np.mean([3 * item for item in row]) for row in rows(items)], rel=1e-6
    )
    # An item without interactions counts as one with a single one.
    assert novelty(items, popularity, 100).tolist() == pytest.approx(
        [np.mean([-math.log2(max(3 * item, 1) / 100) for item in row]) for row in rows(items)],
        rel=1e-6,
    )


def test_empty_lists_have_no_value() -> None:
    items = torch.tensor([[-1, -1], [1, -1]])
    popularity = torch.tensor([1, 4])
    assert average_popularity(items, popularity).tolist() == pytest.approx(
        [math.nan, 4], nan_ok=True
    )
    assert novelty(items, popularity, 8).tolist() == pytest.approx([math.nan, 1], nan_ok=True)
    assert diversity(items, torch.eye(2)).isnan().all()
