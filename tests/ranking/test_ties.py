"""Equal scores: an uninformed ranking must score as chance, whatever the numbering."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import ItemKNN, Popularity
from pyg_mmgef.ranking import evaluate_ranking, per_user_metrics, scoring
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.transforms import SplitColdItems

USERS, ITEMS = 3000, 60


def favourites() -> Tensor:
    """Each user has one of the first ten items: a numbering as if by popularity."""
    generator = torch.Generator().manual_seed(0)
    return torch.stack([torch.arange(USERS), torch.randint(10, (USERS,), generator=generator)])


@pytest.mark.parametrize('layout', ['dense', 'sparse', 'double'])
def test_constant_scores_are_chance(layout: str) -> None:
    z_user, z_item = torch.ones(USERS, 2), torch.ones(ITEMS, 2)
    if layout == 'sparse':
        z_user, z_item = z_user.to_sparse_csr(), z_item.to_sparse_csr()
    elif layout == 'double':
        z_user, z_item = z_user.double(), z_item.double()
    metrics = evaluate_ranking(z_user, z_item, favourites(), k=(6, 12), metrics=('recall', 'ndcg'))
    spread = 4 * math.sqrt(0.2 * 0.8 / USERS)
    assert metrics['recall@6'] == pytest.approx(0.1, abs=spread)
    assert metrics['recall@12'] == pytest.approx(0.2, abs=spread)
    gain = sum(1 / math.log2(rank + 2) for rank in range(12)) / ITEMS
    assert metrics['ndcg@12'] == pytest.approx(gain, abs=spread)


@pytest.mark.parametrize('scale', [0.0, 1.0])
def test_ties_of_some_users_and_at_the_cutoff(scale: float) -> None:
    # Item 0 is first, items 1 to 20 tie; of these five are shown.
    z_item = torch.zeros(ITEMS, 3)
    z_item[0], z_item[1:21] = 2.0, 1.0
    z_user = torch.ones(USERS, 3)
    z_user[::2] *= scale  # Users without a history have zeros: all items tie.
    target = torch.stack([torch.arange(USERS), torch.full((USERS,), 7)])
    _, values = per_user_metrics(z_user, z_item, target, k=6, metrics='recall')
    tied, untied = values['recall@6'][::2].mean(), values['recall@6'][1::2].mean()
    assert float(untied) == pytest.approx(5 / 20, abs=0.05)
    assert float(tied) == pytest.approx(5 / 20 if scale else 6 / 60, abs=0.05)
    first = torch.stack([torch.arange(1, USERS, 2), torch.zeros(USERS // 2, dtype=torch.long)])
    assert evaluate_ranking(z_user, z_item, first, k=1, metrics='recall')['recall@1'] == 1.0


def test_the_seed_sets_the_order_and_nothing_else_does() -> None:
    z_user, z_item = torch.ones(USERS, 2), torch.ones(ITEMS, 2)
    target = favourites()

    def values(**options: Any) -> Tensor:
        return per_user_metrics(z_user, z_item, target, k=6, metrics='recall', **options)[1][
            'recall@6'
        ]

    assert torch.equal(values(), values(tie_seed=0, batch_size=7))
    assert not torch.equal(values(), values(tie_seed=1))
    double = per_user_metrics(z_user.double(), z_item.double(), target, k=6, metrics='recall')
    assert torch.equal(values(), double[1]['recall@6'])


def test_other_scores_keep_their_order() -> None:
    generator = torch.Generator().manual_seed(0)
    z_user = torch.randn(500, 8, generator=generator)
    z_item = torch.randn(ITEMS, 8, generator=generator)
    none, every = torch.empty(0, dtype=torch.long), torch.arange(500)
    arguments = (z_user, z_item, every, 10, none, torch.arange(ITEMS), 2048)
    expected = scoring.top_items(*arguments)
    for seed in (0, 5):
        assert all(
            torch.equal(a, b)
            for a, b in zip(scoring.top_items(*arguments, tie_seed=seed), expected, strict=True)
        )


def test_excluded_items_stay_out() -> None:
    exclude = torch.cartesian_prod(torch.arange(USERS), torch.arange(0, ITEMS, 2)).t()
    target = torch.stack([torch.arange(USERS), torch.full((USERS,), 1)])
    z_user, z_item = torch.ones(USERS, 2), torch.ones(ITEMS, 2)
    metrics = evaluate_ranking(z_user, z_item, target, exclude=exclude, k=15, metrics='recall')
    assert metrics['recall@15'] == pytest.approx(0.5, abs=0.05)


@pytest.mark.realdata
def test_an_uninformed_ranking_of_cold_films_is_chance(movies: HeteroData) -> None:
    train, _, test = SplitColdItems(0.2, seed=0)(movies)
    target = test[INTERACTS].edge_label_index
    candidates = target[1].unique()
    chance = 20 / candidates.numel()
    for model in (Popularity.from_data(train), ItemKNN.from_data(train)):
        model.content_map = None
        with torch.no_grad():
            z_user, z_item = model.eval()(train)
        recalls = [
            evaluate_ranking(
                z_user, z_item, target, candidates=candidates, k=20, metrics='recall', tie_seed=seed
            )['recall@20']
            for seed in range(20)
        ]
        assert sum(recalls) / 20 == pytest.approx(chance, abs=0.005)


@pytest.fixture
def movies(realdata_root: str) -> HeteroData:
    from pathlib import Path

    from pyg_mmgef.datasets import MMRecFolder

    data = MMRecFolder(Path(realdata_root) / 'ml100k_multimodal')[0]
    liked = data[INTERACTS].rating >= 4
    for key in ('edge_index', 'rating', 'time'):
        data[INTERACTS][key] = data[INTERACTS][key][..., liked]
    return data
