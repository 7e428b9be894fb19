import math
import multiprocessing
import sys
from collections.abc import Iterator
from multiprocessing.pool import Pool

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_mmgef.graph import knn, knn_graph, normalize_similarity
from pyg_mmgef.search import ItemIndex
from pyg_mmgef.search import _faiss as faiss
from pyg_mmgef.search._rows import SearchRows
from tests.graph.low_precision import check
from tests.references import similarity
from tests.search.knn_checks import assert_is_knn, features

BACKENDS = ['exact', 'faiss_flat']
METRICS = ['cosine', 'ip', 'l2']
few_examples = settings(max_examples=50, deadline=None)


sizes = st.integers(2, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1)))


@few_examples
@given(
    size=sizes,
    channels=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    whole=st.booleans(),
    metric=st.sampled_from(METRICS),
    backend=st.sampled_from([*BACKENDS, 'auto']),
)
def test_is_the_graph_of_the_k_most_similar(
    size: tuple[int, int], channels: int, seed: int, whole: bool, metric: str, backend: str
) -> None:
    num_items, k = size
    x = features(num_items, channels, seed, whole)
    assert_is_knn(x, k, metric, *knn_graph(x, k, metric=metric, backend=backend))


@few_examples
@given(
    size=sizes,
    channels=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    whole=st.booleans(),
    metric=st.sampled_from(METRICS),
)
def test_backends_agree(
    size: tuple[int, int], channels: int, seed: int, whole: bool, metric: str
) -> None:
    num_items, k = size
    x = features(num_items, channels, seed, whole)
    (by_exact, exact_weight), (by_faiss, faiss_weight) = (
        knn_graph(x, k, metric=metric, backend=backend) for backend in BACKENDS
    )
    assert torch.equal(by_exact[1], by_faiss[1])
    # Both are sorted per item, so equal multisets of weights are equal vectors.
    assert torch.allclose(exact_weight, faiss_weight, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize('metric', METRICS)
def test_small_blocks_of_faiss_give_the_same(monkeypatch: pytest.MonkeyPatch, metric: str) -> None:
    x = features(29, 5)
    expected = knn_graph(x, 4, metric=metric, backend='faiss_flat')
    for block in (1, 3, 10):
        monkeypatch.setattr(faiss, 'QUERY_BLOCK', block)
        edge_index, edge_weight = knn_graph(x, 4, metric=metric, backend='faiss_flat')
        assert torch.equal(edge_index, expected[0])
        assert torch.allclose(edge_weight, expected[1], atol=1e-5)


def test_known_answer_and_layout() -> None:
    x = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]])
    edge_index, edge_weight = knn_graph(x, 2)
    assert edge_index.tolist() == [[1, 2, 2, 0, 1, 0], [0, 0, 1, 1, 2, 2]]
    assert edge_weight.tolist() == pytest.approx([0.6, 0.0, 0.8, 0.6, 0.8, 0.0])
    assert edge_index.dtype == torch.long
    assert edge_weight.dtype == torch.float32


def test_l2_weight_is_the_negative_squared_distance() -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    for backend in BACKENDS:
        edge_index, edge_weight = knn_graph(x, 1, metric='l2', backend=backend)
        assert edge_index.tolist() == [[2, 2, 0], [0, 1, 2]]
        assert edge_weight.tolist() == [-1.0, -18.0, -1.0]


@pytest.mark.parametrize('backend', BACKENDS)
def test_inner_product_where_the_row_is_not_among_its_own_best(backend: str) -> None:
    x = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    edge_index, edge_weight = knn_graph(x, 2, metric='ip', backend=backend)
    assert edge_index.tolist() == [[3, 2, 3, 2, 3, 1, 2, 1], [0, 0, 1, 1, 2, 2, 3, 3]]
    assert edge_weight.tolist() == [4.0, 3.0, 8.0, 6.0, 12.0, 6.0, 12.0, 8.0]


@pytest.mark.parametrize('backend', BACKENDS)
class TestContent:
    def test_rows_of_zeros_have_no_cosine_edges(self, backend: str) -> None:
        x = features(12, 4)
        x[[0, 5, 11]] = 0
        edge_index, edge_weight = knn_graph(x, 3, backend=backend)
        assert not torch.isin(edge_index, torch.tensor([0, 5, 11])).any()
        assert torch.bincount(edge_index[1], minlength=12).tolist() == [
            0 if item in (0, 5, 11) else 3 for item in range(12)
        ]
        assert_is_knn(x, 3, 'cosine', edge_index, edge_weight)

    def test_fewer_other_items_than_k(self, backend: str) -> None:
        x = torch.zeros(6, 2)
        x[1:4] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        edge_index, _ = knn_graph(x, 5, backend=backend)
        assert edge_index[1].tolist() == [1, 1, 2, 2, 3, 3]

    @pytest.mark.parametrize('num_content', [0, 1])
    @pytest.mark.parametrize('symmetric', [False, True])
    def test_nothing_to_compare(self, backend: str, num_content: int, symmetric: bool) -> None:
        x = torch.zeros(4, 3)
        x[:num_content] = 1
        edge_index, edge_weight = knn_graph(x, 2, backend=backend, force_undirected=symmetric)
        assert edge_index.shape == (2, 0)
        assert edge_index.dtype == torch.long
        assert edge_weight.shape == (0,)
        assert edge_weight.dtype == torch.float32

    @pytest.mark.parametrize('metric', METRICS)
    def test_identical_rows_are_never_their_own_neighbors(self, backend: str, metric: str) -> None:
        x = torch.tensor([[0.6, 0.8]]).repeat(40, 1)
        edge_index, edge_weight = knn_graph(x, 3, metric=metric, backend=backend)
        assert_is_knn(x, 3, metric, edge_index, edge_weight)

    @pytest.mark.parametrize('metric', METRICS)
    def test_all_others(self, backend: str, metric: str) -> None:
        edge_index, _ = knn_graph(features(7, 3), 6, metric=metric, backend=backend)
        pairs = set(map(tuple, edge_index.t().tolist()))
        assert pairs == {(j, i) for j in range(7) for i in range(7) if i != j}

    @pytest.mark.parametrize('scale', [1e-6, 1e6])
    def test_cosine_ignores_length(self, backend: str, scale: float) -> None:
        x = features(9, 4)
        expected = knn_graph(x, 2, backend=backend)
        edge_index, edge_weight = knn_graph(x * scale, 2, backend=backend)
        assert torch.equal(edge_index, expected[0])
        assert torch.allclose(edge_weight, expected[1], atol=1e-6)

    def test_very_long_rows_have_content(self, backend: str) -> None:
        x = features(5, 4)
        assert torch.equal(
            knn_graph(x * 1e25, 2, backend=backend)[0], knn_graph(x, 2, backend=backend)[0]
        )

    @pytest.mark.parametrize('metric', METRICS)
    def test_symmetric_adds_the_reverse_of_every_edge(self, backend: str, metric: str) -> None:
        x = features(15, 3)
        edge_index, edge_weight = knn_graph(x, 2, metric=metric, backend=backend)
        one_way = dict(zip(map(tuple, edge_index.t().tolist()), edge_weight.tolist(), strict=True))
        both_ways = one_way | {(i, j): weight for (j, i), weight in one_way.items()}
        edge_index, edge_weight = knn_graph(
            x, 2, metric=metric, backend=backend, force_undirected=True
        )
        pairs = list(map(tuple, edge_index.t().tolist()))
        assert len(pairs) == len(set(pairs))
        assert set(pairs) == set(both_ways)
        expected = [both_ways[pair] for pair in pairs]
        assert edge_weight.tolist() == pytest.approx(expected, abs=1e-5)


def rotated(x: Tensor) -> Tensor:
    """The same items in another basis, where sums of products are rounded."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(x.size(1), x.size(1), generator=generator)).Q
    return x @ rotation


@pytest.mark.parametrize('backend', [*BACKENDS, 'cluster'])
class TestItemsThatResembleNothing:
    @pytest.mark.parametrize('metric', ['cosine', 'ip'])
    @pytest.mark.parametrize('num_items', [40, 300])
    def test_have_no_neighbours_in_any_basis(
        self, backend: str, metric: str, num_items: int
    ) -> None:
        x = torch.eye(num_items) * torch.linspace(1, 1e4, num_items)
        for basis in (x, rotated(x)):
            edge_index, weight = knn_graph(basis, 10, metric=metric, backend=backend)
            assert weight.tolist() == [0.0] * (10 * num_items)
            assert normalize_similarity(edge_index, weight, num_items)[0].shape == (2, 0)

    @pytest.mark.parametrize('metric', ['cosine', 'ip'])
    @pytest.mark.parametrize(('cosine', 'kept'), [(1e-2, True), (2e-6, True), (5e-7, False)])
    def test_small_similarities_are_kept(
        self, backend: str, metric: str, cosine: float, kept: bool
    ) -> None:
        x = torch.eye(64)[:12].double()
        x[1, :2] = torch.tensor([cosine, (1 - cosine**2) ** 0.5])
        scale = 1.0 if metric == 'cosine' else 1e3
        edge_index, weight = knn_graph(scale * x, 3, metric=metric, backend=backend)
        edges = edge_index[:, weight != 0].t().tolist()
        assert edges == ([[1, 0], [0, 1]] if kept else [])
        if kept:
            assert weight[weight != 0].tolist() == pytest.approx([cosine * scale**2] * 2)

    def test_opposites_keep_their_negative_weight(self, backend: str) -> None:
        x = rotated(torch.cat([torch.eye(8)[:3], -torch.eye(8)[:3]]))
        edge_index, weight = knn_graph(x, 5, backend=backend)
        assert weight.view(6, 5).tolist() == [[0, 0, 0, 0, pytest.approx(-1.0)]] * 6
        assert edge_index[0].view(6, 5)[:, -1].tolist() == [3, 4, 5, 0, 1, 2]

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_half_precision_has_larger_rounding_errors(
        self, backend: str, dtype: torch.dtype
    ) -> None:
        x = rotated(torch.eye(64)).to(dtype)
        _, weight = knn_graph(x, 5, backend=backend)
        assert not weight.any()
        assert knn_graph(x.float(), 5, backend=backend)[1].all()

    def test_distances_stay_as_they_are(self, backend: str) -> None:
        x = torch.linspace(0, 1e-4, 20)[:, None].repeat(1, 3)
        _, weight = knn_graph(x, 2, metric='l2', backend=backend)
        assert bool((weight < 0).all())


@pytest.mark.parametrize('backend', [*BACKENDS, 'cluster'])
@pytest.mark.parametrize(
    ('metric', 'what'), [('ip', 'inner products'), ('l2', 'squared distances')]
)
@pytest.mark.parametrize('scale', [3e19, 1e25, 1e30])
def test_products_that_overflow_are_refused(
    backend: str, metric: str, what: str, scale: float
) -> None:
    x = features(30, 8)
    x[4] *= scale
    with pytest.raises(ValueError, match=f"'x' holds 1 rows .*row 4.*{what} overflow float32"):
        knn_graph(x, 3, metric=metric, backend=backend)
    _, weight = knn_graph(x / 1e15, 3, backend=backend)
    assert bool(weight.isfinite().all())


@pytest.mark.parametrize('backend', [*BACKENDS, 'cluster'])
@pytest.mark.parametrize('scale', [1e-24, 1e-30])
def test_a_row_of_tiny_length_keeps_its_direction(backend: str, scale: float) -> None:
    x = features(50, 8)
    expected, weight = knn_graph(x, 3, backend=backend)
    for tiny, huge in ((slice(7, 8), slice(0, 0)), (slice(7, 8), slice(8, 9)), (slice(None), [])):
        other = x.clone()
        other[tiny] *= scale
        other[huge] *= 1e20
        edge_index, other_weight = knn_graph(other, 3, backend=backend)
        assert torch.equal(edge_index, expected)
        torch.testing.assert_close(other_weight, weight)


@pytest.mark.parametrize('backend', BACKENDS)
def test_l2_far_from_the_origin(backend: str) -> None:
    x = features(60, 16) + 1000
    assert_is_knn(x, 3, 'l2', *knn_graph(x, 3, metric='l2', backend=backend))


@pytest.mark.parametrize(
    'backend',
    [
        'faiss_flat',
        'exact',
    ],
)
def test_l2_of_two_groups_far_apart(backend: str) -> None:
    x = features(60, 4)
    x[:30] += 1000
    x[30:] -= 1000
    _, edge_weight = knn_graph(x, 3, metric='l2', backend=backend)
    best = similarity(x, 'l2').fill_diagonal_(-math.inf).topk(3).values
    assert torch.allclose(edge_weight.view(60, 3).double(), best, atol=1e-5)


def test_l2_weights_beside_a_distant_row() -> None:
    x = features(60, 4)
    expected_index, expected_weight = knn_graph(x, 3, metric='l2', backend='faiss_flat')
    x = torch.cat([x, torch.full((1, 4), 1e6)])
    edge_index, edge_weight = knn_graph(x, 3, metric='l2', backend='faiss_flat')
    assert torch.equal(edge_index[:, :180], expected_index)
    assert torch.allclose(edge_weight[:180], expected_weight, atol=1e-5)


@pytest.mark.parametrize('backend', BACKENDS)
def test_l2_of_equal_rows_is_zero(backend: str) -> None:
    x = features(8, 33).repeat(2, 1) * 3
    assert knn_graph(x, 1, metric='l2', backend=backend)[1].tolist() == [0.0] * 16


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('backend', BACKENDS)
def test_other_precisions_are_compared_in_float32(backend: str, dtype: torch.dtype) -> None:
    x = features(20, 6).to(dtype)
    edge_index, edge_weight = knn_graph(x, 3, backend=backend)
    expected = knn_graph(x.float(), 3, backend=backend)
    assert torch.equal(edge_index, expected[0])
    assert torch.equal(edge_weight, expected[1])
    assert edge_weight.dtype == torch.float32


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_numpy_arrays(dtype: type) -> None:
    x = features(20, 6)
    edge_index, edge_weight = knn_graph(x.numpy().astype(dtype), 3)
    expected = knn_graph(torch.from_numpy(x.numpy().astype(dtype)), 3)
    assert torch.equal(edge_index, expected[0])
    assert torch.equal(edge_weight, expected[1])


@pytest.mark.parametrize('backend', BACKENDS)
def test_input_stays_as_it_was(backend: str) -> None:
    x = features(12, 4, whole=True).requires_grad_()
    before = x.detach().clone()
    _, edge_weight = knn_graph(x, 3, backend=backend)
    assert torch.equal(x, before)
    assert not edge_weight.requires_grad


@pytest.mark.parametrize('backend', BACKENDS)
def test_not_contiguous(backend: str) -> None:
    x = features(4, 12).t()
    assert_is_knn(x, 3, 'cosine', *knn_graph(x, 3, backend=backend))


@pytest.mark.parametrize(
    'backend',
    [
        'exact',
        'faiss_flat',
    ],
)
def test_k_may_be_a_numpy_integer(backend: str) -> None:
    edge_index, _ = knn_graph(features(5, 3), np.int64(2), backend=backend)
    assert torch.equal(edge_index, knn_graph(features(5, 3), 2, backend=backend)[0])


@pytest.mark.parametrize('k', [0, -1, 2.0, True, '3'])
def test_k_must_be_a_positive_integer(k: int) -> None:
    with pytest.raises(ValueError, match=r"'k' must be a positive integer \(got"):
        knn_graph(features(5, 3), k)


@pytest.mark.parametrize('backend', [*BACKENDS, 'cluster', 'auto'])
@pytest.mark.parametrize('loop', [False, True])
@pytest.mark.parametrize('num_items', [1, 5])
def test_where_there_are_fewer_than_k_all_others_are_neighbors(
    num_items: int, loop: bool, backend: str
) -> None:
    """As in groups, in a co-interaction graph and in PyG."""
    x = features(num_items, 3)
    for k in (num_items, num_items + 1, 100):
        edge_index, _ = knn_graph(x, k, loop=loop, backend=backend, recall=1)
        pairs = set(map(tuple, edge_index.t().tolist()))
        every = range(num_items)
        assert pairs == {(j, i) for j in every for i in every if loop or i != j}
        assert edge_index.size(1) == len(pairs)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('backend', BACKENDS)
def test_values_must_be_finite(backend: str, value: float) -> None:
    x = features(5, 3)
    x[3, 1] = value
    with pytest.raises(ValueError, match=r"'x' holds NaN or infinite .* 1 of 5 rows \(first: row"):
        knn_graph(x, 2, backend=backend)


@pytest.mark.parametrize('shape', [(5,), (0, 3), (5, 0), (2, 3, 4)])
def test_x_must_be_a_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"'x' must be a non-empty \[N, channels\] matrix"):
        knn_graph(torch.zeros(shape), 1)


@pytest.mark.parametrize('dtype', [torch.int64, torch.uint8, torch.bool])
def test_x_must_be_floating_point(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=r"'x' must be floating point \(got torch"):
        knn_graph(torch.ones(5, 3, dtype=dtype), 1)


def test_x_must_be_a_tensor_or_an_array() -> None:
    with pytest.raises(ValueError, match=r"'x' must be a tensor or a NumPy array \(got list\)"):
        knn_graph([[1.0], [2.0]], 1)  # type: ignore[arg-type]


def test_unknown_options() -> None:
    with pytest.raises(ValueError, match=r"'metric' must be one of 'cosine', .*got 'dot'"):
        knn_graph(features(5, 3), 1, metric='dot')
    with pytest.raises(ValueError, match=r"'backend' must be one of 'auto', .*got 'annoy'"):
        knn_graph(features(5, 3), 1, backend='annoy')


def test_missing_faiss_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'faiss', None)
    with pytest.raises(ImportError, match='pip install faiss-cpu'):
        knn_graph(features(5, 3), 1, backend='faiss_flat')
    assert knn_graph(features(5, 3), 1, backend='exact')[0].shape == (2, 5)


def test_progress_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for backend in BACKENDS:
        knn_graph(features(5, 3), 1, backend=backend)
        assert capsys.readouterr() == ('', '')
        knn_graph(features(5, 3), 1, backend=backend, verbose=True)
        assert 'kNN' in capsys.readouterr().err


@pytest.mark.parametrize('num_threads', [1, 3])
@pytest.mark.parametrize('recall', [None, 0.9])
def test_neither_inference_mode_nor_autocast_nor_precision_change_it(
    num_threads: int, recall: float | None
) -> None:
    x = features(2100, 12)
    options: dict = {
        'backend': 'exact' if recall is None else 'cluster',
        'recall': recall,
        'num_threads': num_threads,
    }
    expected = knn_graph(x, 5, **options)
    torch.set_float32_matmul_precision('medium')
    try:
        for dtype in (torch.bfloat16, torch.float16):
            with torch.inference_mode(), torch.autocast('cpu', dtype):
                graph = knn_graph(x, 5, **options)
            assert torch.equal(graph[0], expected[0])
            # A row that is searched once more in float64 may differ in the last digit.
            assert torch.allclose(graph[1], expected[1], rtol=0, atol=1e-6)
    finally:
        torch.set_float32_matmul_precision('highest')


class TestRecall:
    @pytest.fixture(autouse=True)
    def spy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[float] = []
        graph = ItemIndex.graph

        def spied(index: ItemIndex, k: int, *, recall: float = 0.95) -> tuple[Tensor, Tensor]:
            self.calls.append(recall)
            return graph(index, k, recall=recall)

        monkeypatch.setattr(ItemIndex, 'graph', spied)

    def test_auto_is_exact_unless_less_is_allowed_and_items_are_many(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x = features(60, 5)
        knn_graph(x, 3, recall=0.9)
        monkeypatch.setattr(knn, 'CLUSTER_FROM', 60)
        knn_graph(x, 3)
        knn_graph(x, 3, recall=1)
        assert self.calls == []
        knn_graph(x, 3, recall=0.9)
        assert self.calls == [0.9]

    def test_the_cluster_backend_wants_95_percent(self) -> None:
        x = features(60, 5)
        edge_index, edge_weight = knn_graph(x, 3, backend='cluster')
        assert self.calls == [0.95]
        assert_degrees_and_weights(x, 3, edge_index, edge_weight)

    def test_rows_of_zeros(self) -> None:
        x = features(60, 5)
        x[[0, 59]] = 0
        edge_index, _ = knn_graph(x, 3, backend='cluster')
        assert not torch.isin(edge_index, torch.tensor([0, 59])).any()

    def test_generator_is_used(self) -> None:
        generator = torch.Generator().manual_seed(3)
        before = generator.get_state()
        knn_graph(features(60, 5), 3, backend='cluster', generator=generator)
        assert not torch.equal(generator.get_state(), before)

    @pytest.mark.parametrize('recall', [0, -0.1, 1.01, True, '1'])
    def test_must_be_a_share(self, recall: float) -> None:
        with pytest.raises(ValueError, match=r"'recall' must lie in \(0, 1\] \(got"):
            knn_graph(features(5, 3), 1, recall=recall)


def assert_degrees_and_weights(x: Tensor, k: int, edge_index: Tensor, edge_weight: Tensor) -> None:
    neighbor, item = edge_index
    assert torch.equal(item, torch.arange(len(x)).repeat_interleave(k))
    weight = similarity(x.double(), 'cosine')[item, neighbor]
    assert torch.allclose(edge_weight.double(), weight, atol=1e-5)


@pytest.mark.parametrize('backend', [*BACKENDS, 'cluster'])
class TestSelf:
    def test_is_its_own_best_neighbor_if_wanted(self, backend: str) -> None:
        x = features(20, 4)
        edge_index, edge_weight = knn_graph(x, 3, loop=True, backend=backend, recall=1)
        others, other_weight = knn_graph(x, 2, backend='exact')
        assert torch.equal(edge_index[0].view(20, 3)[:, 0], torch.arange(20))
        assert torch.equal(edge_index[0].view(20, 3)[:, 1:], others[0].view(20, 2))
        assert torch.allclose(edge_weight.view(20, 3)[:, 0], torch.ones(20))
        assert torch.allclose(edge_weight.view(20, 3)[:, 1:], other_weight.view(20, 2), atol=1e-6)

    def test_only_where_it_is_among_the_best(self, backend: str) -> None:
        x = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
        edge_index, _ = knn_graph(x, 2, metric='ip', loop=True, backend=backend, recall=1)
        assert edge_index[0].tolist() == [3, 2, 3, 2, 3, 2, 3, 2]

    def test_k_of_all_items(self, backend: str) -> None:
        edge_index, _ = knn_graph(features(6, 4), 6, loop=True, backend=backend, recall=1)
        assert edge_index.size(1) == 36

    def test_of_a_single_item(self, backend: str) -> None:
        edge_index, edge_weight = knn_graph(torch.ones(1, 3), 1, loop=True, backend=backend)
        assert edge_index.tolist() == [[0], [0]]
        assert edge_weight.tolist() == pytest.approx([1.0])


class TestBatch:
    def test_equals_a_graph_of_each_group(self) -> None:
        x = features(30, 4)
        batch = torch.tensor([2, 0, 7] * 10)
        edge_index, edge_weight = knn_graph(x, 3, batch=batch)
        weight = dict(zip(map(tuple, edge_index.t().tolist()), edge_weight.tolist(), strict=True))
        assert len(weight) == 90
        for group in (0, 2, 7):
            rows = (batch == group).nonzero().view(-1)
            index, expected = knn_graph(x[rows], 3)
            pairs = map(tuple, rows[index].t().tolist())
            for pair, value in zip(pairs, expected.tolist(), strict=True):
                assert weight[pair] == pytest.approx(value, abs=1e-6)

    def test_by_position_and_in_any_order(self) -> None:
        """As in PyG; the groups are those of one stable sort."""
        x = features(40, 4)
        batch = torch.randint(-3, 4, (40,), generator=torch.Generator().manual_seed(0)).int()
        edge_index, edge_weight = knn_graph(x, 3, batch)
        order = batch.argsort(stable=True)
        sorted_index, sorted_weight = knn_graph(x[order], 3, batch[order])
        assert torch.equal(order[sorted_index], edge_index)
        assert torch.equal(sorted_weight, edge_weight)
        with_self, _ = knn_graph(x, 3, batch, True)
        assert int((with_self[0] == with_self[1]).sum()) == 40

    def test_time_is_linear_in_groups(self) -> None:
        """A comparison of the whole batch for each group made it quadratic."""
        batch, rows = torch.arange(30).repeat(2), SearchRows(features(60, 4))
        with torch.autograd.profiler.profile() as profile:
            groups = knn._groups(batch, rows)
        assert [group.tolist() for group in groups if group is not None] == [
            [n, n + 30] for n in range(30)
        ]
        assert not {'aten::eq', 'aten::nonzero'} & {event.name for event in profile.function_events}

    def test_small_groups_give_all_others(self) -> None:
        edge_index, _ = knn_graph(features(4, 3), 2, batch=torch.tensor([0, 0, 1, 2]))
        assert edge_index.tolist() == [[1, 0], [0, 1]]

    @pytest.mark.parametrize('batch', [torch.zeros(3).long(), torch.zeros(4), [0, 0, 0, 0]])
    def test_must_be_one_integer_a_row(self, batch: Tensor) -> None:
        with pytest.raises(ValueError, match="'batch' must be 4 integers, one a row"):
            knn_graph(features(4, 3), 1, batch=batch)


@pytest.mark.parametrize('backend', [*BACKENDS, 'cluster'])
@pytest.mark.parametrize('metric', METRICS)
def test_neither_default_dtype_nor_default_device_change_it(metric: str, backend: str) -> None:
    x = features(2100, 8)
    x[7] = 0
    options: dict = {'metric': metric, 'backend': backend, 'loop': True}
    batch = torch.arange(2100) % 2
    expected = knn_graph(x, 4, **options), knn_graph(x, 4, batch, **options)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device('meta'):
            found = knn_graph(x, 4, **options), knn_graph(x, 4, batch, **options)
    finally:
        torch.set_default_dtype(torch.float32)
    for graph, other in zip(found, expected, strict=True):
        assert torch.equal(graph[0], other[0])
        assert torch.equal(graph[1], other[1])
        assert graph[1].dtype == torch.float32


def test_rows_whose_squares_underflow_have_content() -> None:
    x = torch.tensor([[1e-25, 0.0], [1e-25, 1e-26], [1.0, 0.0], [0.0, 1.0]])
    for others in (x, torch.cat([x, torch.tensor([[-1e-18, -1e-18]])])):
        edge_index, edge_weight = knn_graph(others, 3)
        cosines = similarity(others.double(), 'cosine').fill_diagonal_(-math.inf)
        assert edge_index[1].bincount().tolist() == [3] * len(others)
        assert torch.allclose(edge_weight.view(-1, 3).double(), cosines.topk(3).values)


LOW_PRECISION = {
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'": ('ieee', 'tf32'),
    'torch.backends.cuda.matmul.allow_tf32 = True': ('ieee', 'tf32'),
    "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'": ('bf16', 'ieee'),
    "torch.backends.mkldnn.fp32_precision = 'bf16'": ('bf16', 'ieee'),
    "torch.backends.fp32_precision = 'tf32'": ('tf32', 'tf32'),
    "torch.set_float32_matmul_precision('medium')": ('bf16', 'tf32'),
}


@pytest.fixture(scope='module')
def fresh_process() -> Iterator[Pool]:
    """Runs each function in a process of its own, which doesn't import what it needs anew."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload([check.__module__])
    with context.Pool(1, maxtasksperchild=1) as pool:
        yield pool


@pytest.mark.parametrize('setting', LOW_PRECISION)
def test_every_way_to_allow_low_precision(setting: str, fresh_process: Pool) -> None:
    """In a process of its own, as torch doesn't let all of these settings be undone."""
    rounding = {'ieee': 2.0**-24, 'tf32': 2.0**-11, 'bf16': 2.0**-8}
    cpu, cuda = (rounding[name] for name in LOW_PRECISION[setting])
    fresh_process.apply_async(check, (setting, {'cpu': cpu, 'cuda': cuda})).get(timeout=120)
