import pytest
import torch
from torch import Tensor

from pyg_mmgef.nn.parts import principal_graph as module
from pyg_mmgef.nn.parts.principal_graph import principal_graph
from pyg_mmgef.sparse import CSRPair
from tests.references import dense_adjacency


def random_graph(num_sources: int, num_destinations: int, seed: int = 0) -> CSRPair:
    generator = torch.Generator().manual_seed(seed)
    size = num_sources, num_destinations
    is_edge = torch.rand(size, generator=generator) < 0.3
    weight = torch.rand(size, generator=generator, dtype=torch.double)
    return CSRPair(is_edge.nonzero().t(), weight[is_edge], size)


def dense(graph: CSRPair) -> Tensor:
    """A row for each source."""
    return dense_adjacency(*graph.edges(), *graph.size).t()


def expected_of(graph: CSRPair, rank: int) -> Tensor:
    """The formula, by torch's decomposition of the whole matrix."""
    left, value, right = torch.linalg.svd(dense(graph), full_matrices=False)
    value = value[:rank]
    num_kept = max(1, len(value) // 4)
    total = torch.zeros(graph.size).double()
    for j in range(num_kept):
        weight = value[j] * value[len(value) - num_kept + j]
        total += weight * torch.outer(left[:, j], right[j])
    return torch.where(total.abs() < 1e-3, 0.0, total)


@pytest.mark.parametrize('size', [(12, 20), (20, 12)])
@pytest.mark.parametrize('rank', [1, 4, 8, 12, 50])
def test_equals_the_dense_decomposition(size: tuple[int, int], rank: int) -> None:
    graph = random_graph(*size)
    torch.testing.assert_close(dense(principal_graph(graph, rank)), expected_of(graph, rank))


def test_a_larger_graph_is_exact_enough() -> None:
    graph = random_graph(300, 200)
    ours, expected = dense(principal_graph(graph, 16)), expected_of(graph, 16)
    assert (ours - expected).norm() < 1e-3 * expected.norm()


def test_is_the_part_of_the_square_matrix_that_the_authors_decompose() -> None:
    graph = random_graph(14, 11)
    matrix = dense(graph)
    upper = torch.cat([torch.zeros(14, 14), matrix], dim=1)
    square = torch.cat([upper, torch.cat([matrix.t(), torch.zeros(11, 11)], dim=1)])
    left, value, right = torch.linalg.svd(square)
    kept = value[:4] * value[12:16]
    part = (left[:, :4] * kept) @ right[:4]
    ours = dense(principal_graph(graph, 8))
    torch.testing.assert_close(ours, torch.where(part.abs() < 1e-3, 0.0, part)[:14, 14:])


def test_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(12, 20)
    expected = dense(principal_graph(graph, 8))
    monkeypatch.setattr(module, 'WEIGHTS_AT_ONCE', 50)
    torch.testing.assert_close(dense(principal_graph(graph, 8)), expected)


def test_small_weights_are_no_edges() -> None:
    left = torch.tensor([1.0, 1e-4, 0.5]).double()
    edge_index = torch.tensor([[0, 1, 2], [0, 0, 0]])
    principal = principal_graph(CSRPair(edge_index, left, (3, 1)), 1)
    assert principal.edges()[0].tolist() == [[0, 2], [0, 0]]


def test_no_edges() -> None:
    graph = CSRPair(torch.empty(2, 0, dtype=torch.long), size=(3, 4))
    assert principal_graph(graph, 2).num_edges == 0


def test_the_global_generator_is_not_touched() -> None:
    state = torch.get_rng_state()
    principal_graph(random_graph(12, 20), 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_keeps_the_type() -> None:
    graph = random_graph(12, 20)
    assert principal_graph(graph.to(dtype=torch.float), 2).edges()[1].dtype == torch.float


def test_wrong_rank() -> None:
    with pytest.raises(ValueError, match="'rank' must be a positive integer"):
        principal_graph(random_graph(3, 4), 0)
