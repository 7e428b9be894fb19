"""A check of kNN graphs and rankings where torch may round float32 products, in a fresh process."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pyg_mmgef.graph import knn_graph
from pyg_mmgef.ranking import recommend
from pyg_mmgef.search import _proven, similar_items

__all__ = ['check']


def results(x: Tensor) -> Iterator[Tensor]:
    ways: tuple[dict[str, Any], ...] = ({}, {'metric': 'l2'}, {'backend': 'cluster', 'recall': 0.9})
    for options in ways:
        yield knn_graph(x, 10, **options)[1]
    yield knn_graph(x[:500], 10)[1]
    yield recommend(x[:500], x, k=10).scores
    yield recommend(x[:100], x, k=10).scores
    yield similar_items(x, torch.arange(5), 10).scores


def check(setting: str, rounding: dict[str, float]) -> None:
    """Run a statement, and compare roundings and results with those before."""
    x = torch.randn(2500, 40, generator=torch.Generator().manual_seed(0))
    expected = list(results(x))
    exec(setting)
    for device, wanted in rounding.items():
        assert _proven.float32_rounding(torch.device(device)) == wanted, device
    for out, before in zip(results(x), expected, strict=True):
        torch.testing.assert_close(out, before, rtol=0, atol=2e-5)
