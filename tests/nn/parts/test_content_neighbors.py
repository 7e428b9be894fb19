import pytest
import torch

from pyg_mmgef.nn.parts._content_neighbors import content_neighbors
from tests.references import dense_adjacency, similarity, top_k_rows


def features() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    return x, torch.tensor([1, 1, 0, 1, 0, 1]).bool()[:, None]


@pytest.mark.parametrize('loop', [False, True])
@pytest.mark.parametrize('k', [1, 2, 100])
def test_equals_the_dense_reference(k: int, loop: bool) -> None:
    x, has = features()
    scores = similarity(x, 'cosine').masked_fill(~(has & has.t()), -1)
    if not loop:
        scores.fill_diagonal_(-1)
    edge_index, edge_weight = content_neighbors(x, has, k, loop=loop)
    kept = edge_weight > 0
    graph = dense_adjacency(edge_index[:, kept], edge_weight[kept].double(), 6, 6)
    torch.testing.assert_close(graph, top_k_rows(scores, k), rtol=1e-5, atol=1e-6)


def test_a_single_item() -> None:
    x, has = torch.ones(1, 3), torch.ones(1, 1, dtype=torch.bool)
    edge_index, edge_weight = content_neighbors(x, has, 5)
    assert (edge_index.shape, edge_weight.shape) == ((2, 0), (0,))
    edge_index, edge_weight = content_neighbors(x, has, 5, loop=True)
    assert edge_index.tolist() == [[0], [0]]
    torch.testing.assert_close(edge_weight, torch.ones(1))
