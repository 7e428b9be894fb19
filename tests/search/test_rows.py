import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pyg_mmgef.search._rows import METRICS, SearchRows
from tests.references import similarity


def rows(num_items: int, channels: int, seed: int = 0) -> Tensor:
    return torch.randn(num_items, channels, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('metric', METRICS)
def test_score_is_the_similarity_of_the_pairs(metric: str) -> None:
    x = rows(20, 7)
    candidate = torch.randint(20, (5, 6), generator=torch.Generator().manual_seed(1))
    item = torch.tensor([3, 3, 0, 19, 7])
    score = SearchRows(x, metric).score(SearchRows(x, metric), item, candidate)
    expected = similarity(x.double(), metric)[item[:, None], candidate]
    assert torch.allclose(score.double(), expected, atol=1e-5)


@pytest.mark.parametrize('metric', METRICS)
def test_score_of_other_queries(metric: str) -> None:
    x, other = rows(20, 7), rows(4, 7, seed=1) + 3
    features = SearchRows(x, metric)
    candidate = torch.arange(20).repeat(4, 1)
    score = features.score(features.queries(other), torch.arange(4), candidate)
    expected = similarity(torch.cat([x, other]).double(), metric)[20:, :20]
    assert torch.allclose(score.double(), expected, atol=1e-5)


def test_best_leaves_out_the_item_and_missing_candidates() -> None:
    features = SearchRows(torch.tensor([[1.0], [2.0], [3.0]]), 'ip')
    candidate = torch.tensor([[0, 1, 2], [1, -1, 2]])
    score, neighbor = features.best(torch.tensor([0, 1]), candidate, 2)
    assert score.tolist() == [[3.0, 2.0], [6.0, -float('inf')]]
    assert neighbor[0].tolist() == [2, 1]
    assert neighbor[1, 0] == 2


@pytest.mark.parametrize('metric', METRICS)
def test_append_equals_features_of_all(metric: str) -> None:
    x = rows(12, 3)
    x[10] = 0
    both = SearchRows(x[:9], metric).append(x[9:])
    whole = SearchRows(x, metric)
    candidate = torch.arange(12).repeat(12, 1)
    item = torch.arange(12)
    assert torch.equal(both.score(both, item, candidate), whole.score(whole, item, candidate))
    assert torch.equal(both.has_content, whole.has_content)


def test_float32_is_not_copied(tmp_path: Path) -> None:
    x = rows(6, 4)
    assert SearchRows(x).x.data_ptr() == x.data_ptr()
    np.save(tmp_path / 'x.npy', x.numpy())
    mapped = np.load(tmp_path / 'x.npy', mmap_mode='r', allow_pickle=False)
    features = SearchRows(mapped)
    assert features.x.data_ptr() == mapped.ctypes.data
    assert torch.equal(features.x, x)


def test_big_endian_and_reversed_arrays() -> None:
    x = rows(6, 4).numpy()
    assert torch.equal(SearchRows(x.astype('>f4')).x, torch.from_numpy(x))
    assert torch.equal(SearchRows(x[::-1]).x, torch.from_numpy(x[::-1].copy()))


def test_fingerprint_tells_values_shape_and_metric_apart() -> None:
    x = rows(6, 4)
    other = x.clone()
    other[5, 3] += 1e-6
    prints = [
        SearchRows(x).fingerprint(),
        SearchRows(x, 'ip').fingerprint(),
        SearchRows(x.view(4, 6)).fingerprint(),
        SearchRows(other).fingerprint(),
    ]
    assert len(set(prints)) == 4
    assert SearchRows(x.clone()).fingerprint() == prints[0]


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'x' must have the 4 channels .*\(got 3\)"):
        SearchRows(rows(6, 4)).queries(rows(6, 3))


def test_a_very_short_row_counts_whatever_the_others_are() -> None:
    """Its squares underflow; whether it has content must not depend on an unrelated row."""
    x = torch.tensor([[1e-25, 0.0], [1e-25, 1e-26], [0.0, 0.0], [3.0, 4.0], [1e30, 0.0]])
    for kept in ([0, 1, 2, 3], [0, 1, 2, 3, 4]):
        features = SearchRows(x[kept])
        assert features.has_content.tolist() == [row != 2 for row in kept]
        every = torch.arange(len(kept))
        score = features.score(features, every, every.repeat(len(kept), 1))
        expected = similarity(x[:4].double(), 'cosine').nan_to_num().float()
        assert torch.allclose(score[:4, :4], expected)
        assert torch.equal(features[:][3], x[3] / 5), 'an ordinary row is scaled as it is alone'


def test_a_read_only_array_neither_warns_nor_touches_the_filters_of_warnings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = rows(6, 4).numpy()
    x.flags.writeable = False
    monkeypatch.setattr(warnings, 'catch_warnings', lambda: pytest.fail('not safe in threads'))
    features = SearchRows(x)
    assert features.x.data_ptr() == x.ctypes.data
    features.score(features, torch.arange(6), torch.arange(6).repeat(6, 1))
    del x
    assert torch.equal(features.x, rows(6, 4)), 'the view keeps the array alive'


@pytest.mark.parametrize('metric', METRICS)
def test_no_queries(metric: str) -> None:
    features = SearchRows(rows(6, 4), metric)
    empty = features.queries(torch.empty(0, 4))
    none = torch.empty(0, 3, dtype=torch.long)
    assert features.score(empty, none[:, 0], none).shape == (0, 3)
    assert features.append(torch.empty(0, 4)).num_items == 6
    with pytest.raises(ValueError, match="'x' must be a non-empty"):
        SearchRows(torch.empty(0, 4), metric)
