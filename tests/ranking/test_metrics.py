import math

import pytest
import torch
from torch import Tensor
from torch_geometric.metrics import (
    LinkPredHitRatio,
    LinkPredMAP,
    LinkPredMetric,
    LinkPredMRR,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)

from pyg_mmgef.ranking.metrics import METRICS, ranking_metrics

PYG: dict[str, type[LinkPredMetric]] = {
    'recall': LinkPredRecall,
    'precision': LinkPredPrecision,
    'ndcg': LinkPredNDCG,
    'map': LinkPredMAP,
    'mrr': LinkPredMRR,
    'hit_ratio': LinkPredHitRatio,
}
NUM_USERS, NUM_ITEMS, SHOWN = 60, 80, 25


def random_ranking(seed: int) -> tuple[Tensor, Tensor]:
    """The ranked items of some users and whether an item is a target; some have 1, some 40."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.zeros(NUM_USERS, NUM_ITEMS, dtype=torch.bool)
    for user in range(NUM_USERS):
        number = (1, 2, 5, 19, 20, 40)[user % 6]
        target[user, torch.randperm(NUM_ITEMS, generator=generator)[:number]] = True
    ranked = torch.rand(NUM_USERS, NUM_ITEMS, generator=generator).argsort(dim=1)[:, :SHOWN]
    return ranked, target


@pytest.mark.parametrize('name', METRICS)
@pytest.mark.parametrize('seed', range(3))
def test_equals_pyg_user_by_user(name: str, seed: int) -> None:
    ranked, target = random_ranking(seed)
    cutoffs = (1, 3, 10, 20, SHOWN)
    out = ranking_metrics(target.gather(1, ranked), target.sum(dim=1), cutoffs, (name,))
    assert list(out) == [f'{name}@{k}' for k in cutoffs]
    for k in cutoffs:
        values = out[f'{name}@{k}']
        assert values.dtype == torch.float32
        for user in range(NUM_USERS):
            metric = PYG[name](k)
            metric.update(ranked[user, None], target[user, None].nonzero().t())
            assert float(values[user]) == pytest.approx(float(metric.compute()), rel=1e-6)


def test_every_metric_is_compared() -> None:
    assert PYG.keys() == METRICS.keys()


def test_by_hand() -> None:
    # Hits at ranks 2 and 4, of three targets.
    hit = torch.tensor([[False, True, False, True]])
    out = ranking_metrics(hit, torch.tensor([3]), (2, 4), tuple(METRICS))
    two, three = 1 + 1 / math.log2(3), 1 + 1 / math.log2(3) + 1 / 2
    expected = {
        'recall@2': 1 / 3,
        'recall@4': 2 / 3,
        'precision@2': 1 / 2,
        'precision@4': 2 / 4,
        'ndcg@2': 1 / math.log2(3) / two,
        'ndcg@4': (1 / math.log2(3) + 1 / math.log2(5)) / three,
        'map@2': 1 / 2 / 2,
        'map@4': (1 / 2 + 2 / 4) / 3,
        'mrr@2': 1 / 2,
        'mrr@4': 1 / 2,
        'hit_ratio@2': 1,
        'hit_ratio@4': 1,
    }
    assert {name: float(value) for name, value in out.items()} == pytest.approx(expected)


def test_nothing_found_and_everything_found() -> None:
    hit = torch.stack([torch.zeros(5, dtype=torch.bool), torch.ones(5, dtype=torch.bool)])
    out = ranking_metrics(hit, torch.tensor([5, 5]), (5,), tuple(METRICS))
    assert all(value.tolist() == pytest.approx([0, 1]) for value in out.values())


def test_no_users() -> None:
    hit, num_targets = torch.zeros(0, 5, dtype=torch.bool), torch.zeros(0, dtype=torch.long)
    out = ranking_metrics(hit, num_targets, (2, 5), tuple(METRICS))
    assert all(value.shape == (0,) for value in out.values())


def test_whatever_defaults_torch_has() -> None:
    ranked, target = random_ranking(0)
    arguments = target.gather(1, ranked), target.sum(dim=1), (10,), tuple(METRICS)
    expected = ranking_metrics(*arguments)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        out = ranking_metrics(*arguments)
    finally:
        torch.set_default_dtype(before)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        under_autocast = ranking_metrics(*arguments)
    for name, value in expected.items():
        assert torch.equal(out[name], value)
        assert torch.equal(under_autocast[name], value)
