import os
import stat
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pyg_mmgef.graph import knn_graph
from pyg_mmgef.search import ItemIndex, _cells, _index_file, item_index
from pyg_mmgef.search._cells import Cells
from pyg_mmgef.search._rows import METRICS
from pyg_mmgef.search._tuning import Setting, tune
from tests.references import similarity


def topics(num_items: int = 3000, channels: int = 24, seed: int = 0) -> Tensor:
    """Items around fifty centres, as a catalogue has them."""
    generator = torch.Generator().manual_seed(seed)
    centre = 2 * torch.randn(50, channels, generator=generator)
    topic = torch.randint(50, (num_items,), generator=generator)
    return centre[topic] + torch.randn(num_items, channels, generator=generator)


@pytest.fixture(autouse=True)
def small_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ItemIndex, '_cell_size', 50)


def cells_of(index: ItemIndex) -> Cells:
    assert index._cells is not None
    return index._cells


def recall(edge_index: Tensor, edge_weight: Tensor, x: Tensor, k: int, metric: str) -> float:
    """Share of neighbours at least as similar as the true k-th; checks weights on the way."""
    all_pairs = similarity(x.double(), metric).fill_diagonal_(-float('inf'))
    neighbor, item = edge_index
    assert (neighbor != item).all()
    assert torch.equal(item, torch.arange(len(x)).repeat_interleave(k))
    assert all(len(set(row)) == k for row in neighbor.view(-1, k).tolist())
    weight = all_pairs[item, neighbor]
    assert torch.allclose(edge_weight.double(), weight, atol=1e-4, rtol=1e-5)
    assert (edge_weight.view(-1, k).diff(dim=1) <= 0).all()
    least = all_pairs.topk(k).values[:, -1:]
    return float((weight.view(-1, k) >= least - 1e-5 * least.abs()).float().mean())


@pytest.mark.parametrize('metric', METRICS)
@pytest.mark.parametrize('wanted', [0.8, 0.95, 0.99])
def test_graph_keeps_the_promised_recall(metric: str, wanted: float) -> None:
    x = topics()
    index = ItemIndex(x, metric=metric)
    found = recall(*index.graph(10, recall=wanted), x, 10, metric)
    assert found >= wanted - 0.01
    setting = index.settings[10, wanted]
    assert setting is not None
    assert setting.recall == pytest.approx(found, abs=0.02)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_in_either_precision(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr(_cells, 'product_dtype', lambda device: dtype)
    x = topics()
    index = ItemIndex(x)
    assert cells_of(index).key.dtype == dtype
    assert recall(*index.graph(10), x, 10, 'cosine') >= 0.94


def test_the_cheapest_setting_finds_less_than_a_dear_one() -> None:
    x = topics()
    index = ItemIndex(x)
    index.settings[10, 0.5] = Setting(1, 12, 0.5)
    poor = recall(*index.graph(10, recall=0.5), x, 10, 'cosine')
    good = recall(*index.graph(10, recall=0.99), x, 10, 'cosine')
    assert poor < 0.95 < good


def test_recall_of_one_is_exact() -> None:
    x = topics(800)
    edge_index, edge_weight = ItemIndex(x).graph(5, recall=1)
    expected = knn_graph(x, 5, backend='exact')
    assert torch.equal(edge_index, expected[0])
    assert torch.equal(edge_weight, expected[1])


def test_noise_without_structure_still_keeps_the_promise() -> None:
    x = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0))
    assert recall(*ItemIndex(x).graph(10, recall=0.95), x, 10, 'cosine') >= 0.94


def test_same_seed_same_graph() -> None:
    x = topics()
    first, second = (ItemIndex(x).graph(10) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    state = torch.get_rng_state()
    other = ItemIndex(x, generator=torch.Generator().manual_seed(7))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(cells_of(other).centroids, cells_of(ItemIndex(x)).centroids)


def test_many_identical_items() -> None:
    x = topics(600)
    x[100:500] = x[100]
    index = ItemIndex(x)
    assert recall(*index.graph(10), x, 10, 'cosine') >= 0.94


@pytest.mark.parametrize('metric', METRICS)
def test_constant_features(metric: str) -> None:
    x = torch.full((1500, 5), 0.5)
    index = ItemIndex(x, metric=metric)
    assert recall(*index.graph(3), x, 3, metric) == 1.0
    bounds = cells_of(index).bounds
    assert max(b - a for a, b in pairwise(bounds)) <= 1600


@pytest.mark.parametrize('num_items', [1, 2, 3, 30])
def test_few_items(num_items: int) -> None:
    x = topics(num_items)
    index = ItemIndex(x)
    if num_items > 1:
        assert recall(*index.graph(num_items - 1), x, num_items - 1, 'cosine') == 1.0
    score, neighbor = index.search(x, num_items)
    assert torch.equal(neighbor[:, 0], torch.arange(num_items))
    assert torch.allclose(score[:, 0], torch.ones(num_items))


class TestRowsOfZeros:
    def test_neither_receive_nor_send(self) -> None:
        x = topics(400)
        x[[0, 7, 399]] = 0
        edge_index, _ = ItemIndex(x).graph(5)
        assert not torch.isin(edge_index, torch.tensor([0, 7, 399])).any()
        assert edge_index.size(1) == 397 * 5
        index = ItemIndex(x)
        assert not torch.isin(index.search(x[1:3], 5)[1], torch.tensor([0, 7, 399])).any()

    @pytest.mark.parametrize('num_content', [0, 1])
    def test_nothing_to_compare(self, num_content: int) -> None:
        x = torch.zeros(5, 3)
        x[:num_content] = 1
        index = ItemIndex(x)
        assert index.graph(2)[0].shape == (2, 0)
        index.add(torch.eye(3))
        assert index.graph(1)[0].size(1) == num_content + 3


@pytest.mark.parametrize('metric', METRICS)
def test_differences_below_the_rounding_of_products(metric: str) -> None:
    """Two far groups, and rows that bfloat16 can't tell apart: the promise holds all the same."""
    apart = topics(2000, 16)
    apart[:1000] += 1000
    apart[1000:] -= 1000
    alike = 1 + 1e-3 * topics(2000, 16)
    for x in (apart, alike):
        index = ItemIndex(x, metric=metric)
        truth = similarity(x.double(), metric).fill_diagonal_(-float('inf')).topk(10).values
        for wanted in (0.9, 1.0):
            (neighbor, item), _ = index.graph(10, recall=wanted)
            score = similarity(x.double(), metric)[item, neighbor].view(-1, 10)
            least = truth[:, -1:] - 1e-5 * truth[:, -1:].abs() * (metric != 'l2') - 1e-5
            assert (score >= least).double().mean() >= wanted - 0.02
    score, _ = ItemIndex(apart, metric='l2').search(apart[:50], 10, recall=1)
    truth = similarity(apart.double(), 'l2')[:50].topk(10).values
    assert torch.allclose(score.double(), truth, atol=1e-3)


def test_that_only_the_exact_search_will_do_is_settled_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(item_index, 'tune', partial(tune, probes=(1,)))
    index = ItemIndex(torch.randn(1500, 64, generator=torch.Generator().manual_seed(0)))
    index.graph(10, recall=0.99)
    assert index.settings == {(10, 0.99): None}
    monkeypatch.setattr(item_index, 'tune', lambda *args: pytest.fail('tuned again'))
    index.graph(10, recall=0.99)


@pytest.mark.parametrize('metric', METRICS)
def test_search_of_new_items(metric: str) -> None:
    x = topics()
    new, x = x[:200], x[200:]
    score, neighbor = ItemIndex(x, metric=metric).search(new, 10)
    truth = similarity(torch.cat([new, x]).double(), metric)[:200, 200:]
    assert torch.allclose(score.double(), truth.gather(1, neighbor), atol=1e-4, rtol=1e-5)
    least = truth.topk(10).values[:, -1:]
    hit = truth.gather(1, neighbor) >= least - 1e-5 * least.abs()
    assert hit.float().mean() >= 0.93
    score, neighbor = ItemIndex(x, metric=metric).search(new.numpy(), 10, recall=1)
    assert torch.allclose(score.double(), truth.topk(10).values, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize('metric', METRICS)
@pytest.mark.parametrize('wanted', [0.9, 1.0])
def test_where_there_are_fewer_items_than_k(metric: str, wanted: float) -> None:
    x = topics(300)
    x[[0, 299]] = 0
    index = ItemIndex(x, metric=metric)
    num_items = 298 if metric == 'cosine' else 300
    score, item = index.search(x[1:4], 305, recall=wanted)
    assert score.shape == item.shape == (3, 305)
    assert all(row[:num_items].unique().numel() == num_items for row in item)
    assert (item[:, num_items:] == -1).all()
    assert score[:, num_items:].isneginf().all()
    edge_index, _ = index.graph(1000, recall=wanted)
    assert edge_index.size(1) == num_items * (num_items - 1)


@pytest.mark.parametrize('wanted', [0.9, 1.0])
def test_a_query_of_zeros_is_similar_to_no_item(wanted: float) -> None:
    index = ItemIndex(topics(300))
    score, item = index.search(torch.zeros(2, 24), 3, recall=wanted)
    assert item.tolist() == [[-1] * 3] * 2
    assert score.isneginf().all()


@pytest.mark.parametrize('metric', METRICS)
def test_no_new_items(metric: str) -> None:
    """As at the end of a stream."""
    x = topics(300)
    index = ItemIndex(x, metric=metric)
    expected = index.graph(3)
    for none in (torch.empty(0, 24), np.empty((0, 24), dtype=np.float32)):
        score, item = index.search(none, 3)
        assert score.shape == item.shape == (0, 3)
        index.add(none)
    assert index.num_items == 300
    for found, wanted in zip(index.graph(3), expected, strict=True):
        assert found.shape == wanted.shape
    with pytest.raises(ValueError, match=r"'x' must have the 24 channels of the index \(got 5\)"):
        index.add(torch.empty(0, 5))


@pytest.mark.parametrize('metric', METRICS)
def test_neither_default_dtype_nor_default_device_change_it(metric: str, tmp_path: Path) -> None:
    def use() -> list[Tensor]:
        index = ItemIndex(x[:1000], metric=metric)
        out = [*index.graph(5), *index.search(x[:20], 5), *index.search(x[:20], 5, recall=1)]
        index.add(x[1000:])
        index.save(tmp_path / 'index.npz')
        out += ItemIndex.load(tmp_path / 'index.npz', x).graph(5)
        index.update(x.flip(1))
        return [*out, *index.graph(5)]

    x = topics(1200)
    expected = use()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device('meta'):
            found = use()
    finally:
        torch.set_default_dtype(torch.float32)
    for out, wanted in zip(found, expected, strict=True):
        assert torch.equal(out, wanted)
        assert out.dtype == wanted.dtype


@pytest.mark.parametrize('metric', METRICS)
def test_added_items_are_found(metric: str) -> None:
    x = topics()
    index = ItemIndex(x[:2500], metric=metric)
    index.graph(5)
    index.add(x[2500:])
    assert index.num_items == 3000
    assert recall(*index.graph(10), x, 10, metric) >= 0.94


def test_update_serves_new_features_without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    x = topics()
    index = ItemIndex(x)
    monkeypatch.setattr(item_index, 'train_centroids', lambda *args: pytest.fail('trained'))
    moved = x @ torch.randn(24, 16, generator=torch.Generator().manual_seed(3))
    index.update(moved)
    assert recall(*index.graph(10), moved, 10, 'cosine') >= 0.94
    with pytest.raises(ValueError, match=r"'x' must hold the 3000 items of the index \(got 10\)"):
        index.update(moved[:10])


class TestFiles:
    def test_round_trip(self, tmp_path: Path) -> None:
        x = topics()
        index = ItemIndex(x)
        index.save(tmp_path / 'index.npz')
        loaded = ItemIndex.load(tmp_path / 'index.npz', x.numpy())
        assert list(tmp_path.iterdir()) == [tmp_path / 'index.npz']
        assert repr(loaded) == repr(index)
        index.settings[10, 0.9] = loaded.settings[10, 0.9] = Setting(3, 24, 0.9)
        for first, second in zip(
            index.graph(10, recall=0.9), loaded.graph(10, recall=0.9), strict=True
        ):
            assert torch.equal(first, second)

    def test_its_mode_is_that_of_other_files(self, tmp_path: Path) -> None:
        (tmp_path / 'other').write_text('')
        ItemIndex(topics(300)).save(tmp_path / 'index.npz')
        modes = [stat.S_IMODE(os.stat(path).st_mode) for path in tmp_path.iterdir()]
        assert len(modes) == 2
        assert modes[0] == modes[1]

    def test_without_content(self, tmp_path: Path) -> None:
        x = torch.zeros(3, 2)
        ItemIndex(x).save(tmp_path / 'index.npz')
        assert ItemIndex.load(tmp_path / 'index.npz', x).num_cells == 0

    def test_other_features(self, tmp_path: Path) -> None:
        x = topics(300)
        ItemIndex(x).save(tmp_path / 'index.npz')
        x[5, 5] += 1
        with pytest.raises(ValueError, match=r"'x' are not the features that .* was built from"):
            ItemIndex.load(tmp_path / 'index.npz', x)

    def test_other_version(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        x = topics(300)
        monkeypatch.setattr(_index_file, 'FORMAT', 99)
        ItemIndex(x).save(tmp_path / 'index.npz')
        monkeypatch.undo()
        with pytest.raises(ValueError, match="'path' holds an index of format 99"):
            ItemIndex.load(tmp_path / 'index.npz', x)

    def test_no_index(self, tmp_path: Path) -> None:
        x = topics(300)
        (tmp_path / 'text.npz').write_text('no index')
        np.savez(tmp_path / 'other.npz', a=np.zeros(3))
        for name in ('text.npz', 'other.npz'):
            with pytest.raises(ValueError, match="'path' is not an item index"):
                ItemIndex.load(tmp_path / name, x)
        with pytest.raises(FileNotFoundError):
            ItemIndex.load(tmp_path / 'missing.npz', x)

    def test_a_failed_write_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index = ItemIndex(topics(300))
        index.save(tmp_path / 'index.npz')
        before = (tmp_path / 'index.npz').read_bytes()

        def full(file: object, **arrays: object) -> None:
            raise OSError('no space left on device')

        monkeypatch.setattr(np, 'savez', full)
        with pytest.raises(OSError, match='no space'):
            index.save(tmp_path / 'index.npz')
        assert (tmp_path / 'index.npz').read_bytes() == before
        assert len(list(tmp_path.iterdir())) == 1


def test_recall_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level('INFO', logger='pyg_mmgef.search.item_index'):
        ItemIndex(topics()).graph(10)
    assert 'sample recall 0.9' in caplog.text


def test_progress_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    x = topics(300)
    ItemIndex(x).graph(3)
    assert capsys.readouterr() == ('', '')
    ItemIndex(x, verbose=True).graph(3, recall=0.5)
    assert 'item index' in capsys.readouterr().err


def test_repr() -> None:
    assert repr(ItemIndex(topics(300))) == "ItemIndex(300, 24, metric='cosine', num_cells=6)"


@pytest.mark.parametrize('wanted', [0.5, 1.0])
def test_rounding_errors_are_no_similarities(wanted: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.linalg.qr(torch.randn(600, 600, generator=generator)).Q
    _, weight = ItemIndex(x).graph(5, recall=wanted)
    assert weight.shape == (3000,)
    assert not weight.any()


@pytest.mark.parametrize('metric', ['ip', 'l2'])
def test_products_that_overflow_are_refused(metric: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x, more = torch.randn(60, 4, generator=generator), torch.full((2, 4), 1e25)
    index = ItemIndex(x, metric=metric)
    for call in (
        lambda: ItemIndex(x * 1e25, metric=metric),
        lambda: index.add(more),
        lambda: index.update(x * 1e25),
        lambda: index.search(more, 2),
    ):
        with pytest.raises(ValueError, match=r"'x' holds .* rows longer than .* overflow float32"):
            call()
    assert index.graph(3)[1].isfinite().all()


def test_wrong_arguments() -> None:
    x = topics(300)
    index = ItemIndex(x)
    for k in (0, True, 2.5):
        with pytest.raises(ValueError, match="'k' must be a positive integer"):
            index.graph(k)  # type: ignore[arg-type]
    for wanted in (0, 1.5, True, '0.9'):
        with pytest.raises(ValueError, match=r"'recall' must lie in \(0, 1\]"):
            index.graph(3, recall=wanted)  # type: ignore[arg-type]
    x[4, 4] = float('nan')
    with pytest.raises(ValueError, match="'x' holds NaN or infinite values in 1 of 300"):
        ItemIndex(x)
