import pytest
import torch

from pyg_mmgef.search import _top_lists as candidates
from pyg_mmgef.search._cluster_join import QUERIES, join_cells
from pyg_mmgef.search._top_lists import candidate_lists

BOUNDS = [0, 64, 64, 192, 256]  # The second cell is empty.
CPU = torch.device('cpu')


@pytest.fixture(params=['compiled', 'torch'])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == 'torch':
        monkeypatch.setattr(candidates, '_tiles', None)


@pytest.mark.usefixtures('kind')
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
@pytest.mark.parametrize('num_queries', [1, 300, QUERIES + 100])
def test_finds_the_best_of_the_cells_that_are_probed(dtype: torch.dtype, num_queries: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(num_queries, 16, generator=generator).to(dtype)
    key = torch.randn(256, 16, generator=generator).to(dtype)
    probes = torch.rand(num_queries, 4, generator=generator).argsort(dim=1)[:, :3]
    ids = torch.randperm(1000, generator=generator)[:256].int()
    ids[180:192] = -1  # Padding at the end of a cell.
    lists = candidate_lists(num_queries, 20, CPU)
    # What is offered later competes with what came before.
    join_cells(query, key, ids, BOUNDS, probes[:, :1], lists)
    join_cells(query, key, ids, BOUNDS, probes[:, 1:], lists)
    found, column = lists.best(0, num_queries)

    product = (query @ key.t()).float()
    cell = torch.repeat_interleave(torch.arange(4), torch.tensor(BOUNDS).diff())
    probed = (cell == probes[:, :, None]).any(dim=1) & (ids >= 0)
    expected = product.masked_fill(~probed, float('-inf')).topk(20, dim=1).values
    assert torch.allclose(found, expected, atol=0.05)
    place = torch.full((1000,), -1)
    place[ids[ids >= 0].long()] = (ids >= 0).nonzero().view(-1)
    for row in range(num_queries):
        kept = column[row][column[row] >= 0]
        assert kept.unique().numel() == kept.numel()
        assert probed[row, place[kept]].all()


def test_one_probe_of_an_empty_cell_finds_nothing() -> None:
    query, key = torch.randn(5, 16), torch.randn(256, 16)
    lists = candidate_lists(5, 8, CPU)
    ids = torch.arange(256, dtype=torch.int32)
    join_cells(query, key, ids, BOUNDS, torch.full((5, 1), 1), lists)
    assert (lists.best(0, 5)[1] == -1).all()
