import numpy as np
import pytest
import torch

from pyg_mmgef.search import ItemIndex, SimilarItems, item_index, similar_items
from pyg_mmgef.search._rows import METRICS
from tests.references import similarity
from tests.search.knn_checks import features


@pytest.mark.parametrize('metric', METRICS)
@pytest.mark.parametrize('num_items', [40, 4000])
def test_are_the_most_similar_others(metric: str, num_items: int) -> None:
    x = features(num_items, 8)
    x[7] = x[3]
    items = torch.tensor([3, 0, 3, num_items - 1])
    out = similar_items(x, items, 5, metric=metric)
    assert isinstance(out, SimilarItems)
    every = similarity(torch.cat([x[items], x]), metric)[:4, 4:] if num_items < 100 else None
    if every is None:
        rows = SearchReference(x.double(), metric)
        every = torch.stack([rows.of(int(item)) for item in items])
    every[torch.arange(4), items] = -float('inf')
    best = every.topk(5).values
    assert torch.allclose(out.scores.double(), best, atol=1e-4, rtol=1e-5)
    assert torch.allclose(every.gather(1, out.items), best, atol=1e-5)
    assert all(len(set(row)) == 5 for row in out.items.tolist())


class SearchReference:
    """Similarities of one row with all, in float64."""

    def __init__(self, x: torch.Tensor, metric: str) -> None:
        self.x, self.metric = x, metric

    def of(self, item: int) -> torch.Tensor:
        if self.metric == 'l2':
            return -(self.x - self.x[item]).square().sum(dim=1)
        x = self.x / self.x.norm(dim=1, keepdim=True) if self.metric == 'cosine' else self.x
        return x @ x[item]


def test_no_index_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_index, 'train_centroids', lambda *args: pytest.fail('clustered'))
    x = features(500, 8)
    with pytest.raises(pytest.fail.Exception, match='clustered'):
        ItemIndex(x)
    assert similar_items(x.numpy().astype(np.float64), torch.tensor([4]), 3).items.shape == (1, 3)


def test_missing_places_are_padded() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 3.0]])
    scores, items = similar_items(x, torch.tensor([0, 1, 3]), 5)
    assert items.tolist() == [[2, 3, -1, -1, -1], [-1] * 5, [2, 0, -1, -1, -1]]
    assert scores[0, :2].tolist() == pytest.approx([0.5**0.5, 0.0])
    assert scores[items < 0].isneginf().all()
    assert similar_items(torch.ones(1, 3), torch.tensor([0]), 2).items.tolist() == [[-1, -1]]
    assert similar_items(torch.zeros(3, 3), torch.tensor([0]), 2).items.tolist() == [[-1, -1]]
    assert similar_items(x, torch.empty(0, dtype=torch.long), 2).items.shape == (0, 2)


def test_wrong_arguments() -> None:
    x = features(5, 3)
    with pytest.raises(ValueError, match=r"'items' must hold item ids in \[0, 5\)"):
        similar_items(x, torch.tensor([5]), 1)
    with pytest.raises(ValueError, match="'k' must be a positive integer"):
        similar_items(x, torch.tensor([0]), 0)
    with pytest.raises(ValueError, match="'metric' must be one of"):
        similar_items(x, torch.tensor([0]), 1, metric='dot')
    with pytest.raises(ValueError, match="'x' must be a non-empty"):
        similar_items(x[:0], torch.tensor([0]), 1)
