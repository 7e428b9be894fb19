import math
import operator
import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_mmgef.graph import (
    bipartite_normalize,
    merge_graphs,
    normalize_similarity,
    symmetric_normalize,
    symmetrize,
    union_graphs,
)
from tests.references import bipartite_normalized, dense_adjacency, symmetric_normalized

few_examples = settings(max_examples=50, deadline=None)


def random_graph(
    num_sources: int, num_destinations: int, num_edges: int, seed: int, low: float = 0.0
) -> tuple[Tensor, Tensor]:
    """A graph with repeated edges; every fourth weight is zero."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(num_sources, (num_edges,), generator=generator)
    destination = torch.randint(num_destinations, (num_edges,), generator=generator)
    weight = low + (1 - low) * torch.rand(num_edges, generator=generator, dtype=torch.double)
    weight[::4] = 0
    return torch.stack([source, destination]), weight


graphs = {'num_edges': st.integers(0, 80), 'seed': st.integers(0, 10_000)}


@few_examples
@given(num_nodes=st.integers(2, 30), weighted=st.booleans(), **graphs)
def test_symmetric_normalize(num_nodes: int, num_edges: int, seed: int, weighted: bool) -> None:
    edge_index, weight = random_graph(num_nodes, num_nodes, num_edges, seed)
    edge_weight = weight if weighted else None
    out = symmetric_normalize(edge_index, edge_weight, num_nodes)
    expected = symmetric_normalized(dense_adjacency(edge_index, edge_weight, num_nodes, num_nodes))
    assert out.dtype == (torch.double if weighted else torch.float32)
    assert torch.isfinite(out).all()
    dense = dense_adjacency(edge_index, out.double(), num_nodes, num_nodes)
    assert torch.allclose(dense, expected, atol=1e-6)


@few_examples
@given(
    num_sources=st.integers(2, 30),
    num_destinations=st.integers(2, 30),
    weighted=st.booleans(),
    **graphs,
)
def test_bipartite_normalize(
    num_sources: int, num_destinations: int, num_edges: int, seed: int, weighted: bool
) -> None:
    size = (num_sources, num_destinations)
    edge_index, weight = random_graph(*size, num_edges, seed)
    edge_weight = weight if weighted else None
    out = bipartite_normalize(edge_index, edge_weight, size)
    expected = bipartite_normalized(dense_adjacency(edge_index, edge_weight, *size))
    assert torch.isfinite(out).all()
    assert torch.allclose(dense_adjacency(edge_index, out.double(), *size), expected, atol=1e-6)
    reverse = bipartite_normalize(edge_index.flip(0), edge_weight, (num_destinations, num_sources))
    assert torch.allclose(reverse, out)


def test_normalize_by_hand() -> None:
    edge_index = torch.tensor([[1, 2, 0], [0, 0, 1]])
    # Items 0, 1, 2 receive 4, 1 and 0: item 2 has no degree, so its edge is worth nothing.
    out = symmetric_normalize(edge_index, torch.tensor([1.0, 3.0, 1.0]), 3)
    assert out.tolist() == pytest.approx([1 / 2, 0, 1 / 2])
    # As a bipartite graph the sources have degrees of their own: 1, 1 and 3.
    out = bipartite_normalize(edge_index, torch.tensor([1.0, 3.0, 1.0]), (3, 3))
    assert out.tolist() == pytest.approx([1 / 2, 3 / math.sqrt(12), 1])


@few_examples
@given(num_nodes=st.integers(2, 30), **graphs)
def test_normalize_similarity(num_nodes: int, num_edges: int, seed: int) -> None:
    edge_index, similarity = random_graph(num_nodes, num_nodes, num_edges, seed, low=-1.0)
    out_index, out_weight = normalize_similarity(edge_index, similarity, num_nodes)
    positive = similarity > 0
    assert torch.equal(out_index, edge_index[:, positive])
    dense = dense_adjacency(edge_index, similarity.clamp(min=0), num_nodes, num_nodes)
    out = dense_adjacency(out_index, out_weight, num_nodes, num_nodes)
    assert torch.allclose(out, symmetric_normalized(dense))


def bipartite_square(edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int) -> Tensor:
    return bipartite_normalize(edge_index, edge_weight, (num_nodes, num_nodes))


both_normalizations = pytest.mark.parametrize('normalize', [symmetric_normalize, bipartite_square])
Normalize = Callable[[Tensor, Tensor | None, int], Tensor]


@both_normalizations
def test_gradient_flows_into_the_weights(normalize: Normalize) -> None:
    edge_index, edge_weight = random_graph(6, 6, 20, 0)
    edge_weight = (edge_weight + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: normalize(edge_index, w, 6), (edge_weight,))


@both_normalizations
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_weights_keep_their_precision(normalize: Normalize, dtype: torch.dtype) -> None:
    edge_index, edge_weight = random_graph(6, 6, 20, 0)
    assert normalize(edge_index, edge_weight.to(dtype), 6).dtype == dtype


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16])
def test_type_of_implicit_weights(dtype: torch.dtype) -> None:
    edge_index, _ = random_graph(6, 6, 20, 0)
    exact = bipartite_normalized(dense_adjacency(edge_index, None, 6, 6).double())
    for out in (
        bipartite_normalize(edge_index, None, (6, 6), dtype=dtype),
        symmetric_normalize(edge_index, None, 6, dtype=dtype),
    ):
        assert out.dtype == dtype
    out = bipartite_normalize(edge_index, None, (6, 6), dtype=torch.float64)
    torch.testing.assert_close(
        dense_adjacency(edge_index, out, 6, 6), exact, rtol=1e-14, atol=1e-14
    )


@both_normalizations
def test_degrees_of_half_precision_do_not_saturate(normalize: Normalize) -> None:
    edge_index = torch.zeros(2, 1000, dtype=torch.long)
    out = normalize(edge_index, torch.ones(1000, dtype=torch.bfloat16), 1)
    torch.testing.assert_close(out.float(), torch.full((1000,), 1e-3), rtol=1e-2, atol=0)


@both_normalizations
def test_no_edges(normalize: Normalize) -> None:
    nothing = torch.empty(2, 0, dtype=torch.long)
    assert normalize(nothing, None, 3).shape == (0,)
    assert normalize(nothing, torch.empty(0), 3).shape == (0,)


@both_normalizations
def test_gradient_of_an_edge_without_weight_is_finite(normalize: Normalize) -> None:
    edge_weight = torch.tensor([0.0, 1.0], requires_grad=True)
    normalize(torch.tensor([[0, 1], [1, 0]]), edge_weight, 2).sum().backward()
    assert edge_weight.grad is not None
    assert torch.isfinite(edge_weight.grad).all()


@both_normalizations
def test_int32_ids(normalize: Normalize) -> None:
    edge_index, edge_weight = random_graph(8, 8, 30, 1)
    out = normalize(edge_index.int(), edge_weight, 8)
    assert torch.equal(out, normalize(edge_index, edge_weight, 8))


@both_normalizations
@pytest.mark.parametrize(
    ('weight', 'message'),
    [
        (torch.ones(3), 'must have shape [2], one weight an edge (got [3])'),
        (torch.ones(2, 1), 'must have shape [2], one weight an edge (got [2, 1])'),
        (torch.ones(2, dtype=torch.long), 'must be floating point (got torch.int64)'),
        (torch.tensor([1.0, -0.5]), 'holds negative weights'),
        (torch.tensor([1.0, math.nan]), 'holds NaN or infinite values in 1 of 2 rows'),
        (torch.tensor([math.inf, 1.0]), 'holds NaN or infinite values in 1 of 2 rows'),
    ],
)
def test_wrong_weights(normalize: Normalize, weight: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'edge_weight' {message}")):
        normalize(torch.tensor([[0, 1], [1, 0]]), weight, 2)


def test_ids_out_of_range() -> None:
    edge_index, weight = torch.tensor([[0, 2], [1, 0]]), torch.ones(2)
    message = r'holds the node id 2, but there are only 2 nodes'
    with pytest.raises(ValueError, match="'edge_index' " + message):
        symmetric_normalize(edge_index, weight, 2)
    with pytest.raises(ValueError, match="'edge_index' " + message):
        symmetrize(edge_index, weight, 2)
    with pytest.raises(ValueError, match=r"'graphs\[1\]' " + message):
        union_graphs([(edge_index.clamp(max=1), weight), (edge_index, weight)], 2)
    with pytest.raises(ValueError, match=r"'edge_index' holds the source node id 2, .* only 2"):
        bipartite_normalize(edge_index, weight, (2, 5))


def mean(a: float, b: float) -> float:
    return (a + b) / 2


combine: dict[str, Callable[[float, float], float]] = {
    'max': max,
    'min': min,
    'add': operator.add,
    'mean': mean,
}


class TestSymmetrize:
    @few_examples
    @given(
        num_nodes=st.integers(2, 12),
        density=st.sampled_from([0.1, 0.5, 0.9]),
        seed=st.integers(0, 10_000),
        reduce=st.sampled_from(sorted(combine)),
    )
    def test_dense(self, num_nodes: int, density: float, seed: int, reduce: str) -> None:
        generator = torch.Generator().manual_seed(seed)
        matrix = torch.randn(num_nodes, num_nodes, generator=generator)
        present = torch.rand(num_nodes, num_nodes, generator=generator) < density
        present.fill_diagonal_(False)
        edge_index = present.nonzero().t()
        edge_weight = matrix[present]
        order = torch.randperm(edge_weight.numel(), generator=generator)
        out, weight = symmetrize(edge_index[:, order], edge_weight[order], num_nodes, reduce)

        expected = {}
        for i in range(num_nodes):
            for j in range(num_nodes):
                forth, back = float(matrix[i, j]), float(matrix[j, i])
                if present[i, j] and present[j, i]:
                    expected[i, j] = combine[reduce](forth, back)
                elif present[i, j] or present[j, i]:
                    expected[i, j] = forth if present[i, j] else back
        assert list(map(tuple, out.t().tolist())) == sorted(expected)
        wanted = [expected[pair] for pair in sorted(expected)]
        assert weight.tolist() == pytest.approx(wanted, abs=1e-6)

    def test_the_larger_weight_wins_by_default(self) -> None:
        edge_index = torch.tensor([[0, 1, 2], [1, 0, 0]])
        out, weight = symmetrize(edge_index, torch.tensor([-1.0, -2.0, 3.0]), 4)
        assert out.tolist() == [[0, 0, 1, 2], [1, 2, 0, 0]]
        assert weight.tolist() == [-1.0, 3.0, -1.0, 3.0]

    def test_no_edges(self) -> None:
        out, weight = symmetrize(torch.empty(2, 0, dtype=torch.long), torch.empty(0), 3)
        assert out.shape == (2, 0)
        assert weight.shape == (0,)

    def test_unknown_reduction(self) -> None:
        with pytest.raises(ValueError, match=r"'reduce' must be one of 'max', .*got 'sum'"):
            symmetrize(torch.tensor([[0], [1]]), torch.ones(1), 2, reduce='sum')

    def test_one_weight_an_edge(self) -> None:
        with pytest.raises(ValueError, match="'edge_weight'"):
            symmetrize(torch.tensor([[0, 1], [1, 0]]), torch.ones(3), 2)


def test_similarities_must_be_finite() -> None:
    with pytest.raises(ValueError, match="'edge_weight' holds NaN"):
        normalize_similarity(torch.tensor([[0, 1], [1, 0]]), torch.tensor([math.nan, 1.0]), 2)


class TestUnion:
    @few_examples
    @given(
        num_nodes=st.integers(2, 30),
        edges=st.lists(st.integers(0, 60), min_size=1, max_size=4),
        seed=st.integers(0, 10_000),
    )
    def test_every_column_is_its_graph(self, num_nodes: int, edges: list[int], seed: int) -> None:
        parts = [
            random_graph(num_nodes, num_nodes, num_edges, seed + number, low=-1.0)
            for number, num_edges in enumerate(edges)
        ]
        edge_index, edge_attr = union_graphs(parts, num_nodes)
        pairs = list(map(tuple, edge_index.t().tolist()))
        assert set(pairs) == {tuple(pair) for part, _ in parts for pair in part.t().tolist()}
        assert len(pairs) == len(set(pairs))
        assert [pair[::-1] for pair in pairs] == sorted(pair[::-1] for pair in pairs)
        assert edge_attr.shape == (len(pairs), len(parts))
        for number, (part, weight) in enumerate(parts):
            out = dense_adjacency(edge_index, edge_attr[:, number], num_nodes, num_nodes)
            expected = dense_adjacency(part, weight, num_nodes, num_nodes)
            assert torch.allclose(out, expected)

    def test_by_hand(self) -> None:
        first = torch.tensor([[2, 0, 2], [0, 1, 0]]), torch.tensor([1.0, 2.0, 4.0])
        second = torch.tensor([[0, 1], [1, 0]]), torch.tensor([8.0, 16.0])
        edge_index, edge_attr = union_graphs([first, second], 3)
        assert edge_index.tolist() == [[1, 2, 0], [0, 0, 1]]
        assert edge_attr.tolist() == [[0, 16], [5, 0], [2, 8]]

    def test_no_edges_at_all(self) -> None:
        nothing = torch.empty(2, 0, dtype=torch.long), torch.empty(0)
        edge_index, edge_attr = union_graphs([nothing, nothing], 3)
        assert edge_index.shape == (2, 0)
        assert edge_attr.shape == (0, 2)

    def test_gradient(self) -> None:
        edge_index, weight = random_graph(5, 5, 12, 0)
        weight.requires_grad_()
        other = torch.tensor([[0], [1]]), torch.ones(1, dtype=torch.double)
        assert torch.autograd.gradcheck(
            lambda w: union_graphs([(edge_index, w), other], 5)[1], (weight,)
        )

    def test_wrong_graphs(self) -> None:
        with pytest.raises(ValueError, match="'graphs' is empty"):
            union_graphs([], 3)
        edge_index = torch.tensor([[0, 1], [1, 0]])
        with pytest.raises(ValueError, match=r"'graphs\[0\]' must have shape \[2\]"):
            union_graphs([(edge_index, torch.ones(3))], 2)

    def test_int32_ids_of_a_large_graph(self) -> None:
        edge_index = torch.tensor([[99_998], [99_999]], dtype=torch.int32)
        out, _ = union_graphs([(edge_index, torch.ones(1))], 100_000)
        assert out.tolist() == [[99_998], [99_999]]

    def test_weights_of_two_precisions(self) -> None:
        edge_index = torch.tensor([[0], [1]])
        single = edge_index, torch.ones(1)
        double = edge_index, torch.ones(1, dtype=torch.double)
        assert union_graphs([single, double], 2)[1].tolist() == [[1.0, 1.0]]


def test_merged_graphs() -> None:
    parts = [random_graph(6, 6, 20, seed) for seed in range(3)]
    weights = [0.5, 2.0, 0.0]
    merged = dense_adjacency(*merge_graphs(parts, weights, 6), 6, 6)
    expected = 0.5 * dense_adjacency(*parts[0], 6, 6) + 2 * dense_adjacency(*parts[1], 6, 6)
    assert torch.allclose(merged, expected)
    with pytest.raises(ValueError, match=r'a weight for each of 3 graphs \(got 2\)'):
        merge_graphs(parts, [1.0, 1.0], 6)
