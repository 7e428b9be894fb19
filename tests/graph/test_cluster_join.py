import pytest
import torch

from pyg_mmgef.graph.cluster_join import GROUPS, join_cells, num_slots, unpack

BOUNDS = [0, 64, 64, 192, 256]  # The second cell is empty.


def inputs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(300, 16, generator=generator).to(dtype)
    key = torch.randn(256, 16, generator=generator).to(dtype)
    probes = torch.rand(300, 4, generator=generator).argsort(dim=1)[:, :3]
    return query, key, probes


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
@pytest.mark.parametrize('width', [5, 40])
def test_keeps_the_best_of_the_first_cell_and_of_each_group(dtype: torch.dtype, width: int) -> None:
    query, key, probes = inputs(dtype)
    score = query.float() @ key.float().t()
    packed = join_cells(query, key, BOUNDS, probes, width)
    assert packed.shape == (300, num_slots(3, width) * GROUPS)
    starts = torch.tensor(BOUNDS[:-1])
    found = unpack(packed, probes, starts, width, packed.size(1))
    for row in range(300):
        position = found[row][found[row] >= 0]
        assert position.unique().numel() == position.numel()
        expected = 0
        for rank, cell in enumerate(probes[row].tolist()):
            start, stop = BOUNDS[cell], BOUNDS[cell + 1]
            kept = position[(position >= start) & (position < stop)]
            if rank == 0:
                expected += min(width, stop - start)
                best = score[row, start:stop].topk(min(width, stop - start)).values
                assert torch.allclose(score[row, kept].sort(descending=True)[0], best, rtol=0.01)
            elif stop > start:
                expected += GROUPS
                group = score[row, start:stop].view(-1, GROUPS)
                best = group.amax(dim=0)
                assert torch.allclose(score[row, kept].sort()[0], best.sort()[0], rtol=0.01)
        assert position.numel() == expected


def test_unpack_returns_the_best() -> None:
    query, key, probes = inputs(torch.bfloat16)
    score = query.float() @ key.float().t()
    packed = join_cells(query, key, BOUNDS, probes, 8)
    found = unpack(packed, probes, torch.tensor(BOUNDS[:-1]), 8, 1)[:, 0]
    best = torch.stack(
        [
            torch.cat([score[row, BOUNDS[c] : BOUNDS[c + 1]] for c in probes[row]]).max()
            for row in range(300)
        ]
    )
    assert torch.allclose(score[torch.arange(300), found], best, rtol=0.01)


def test_one_probe_of_an_empty_cell_finds_nothing() -> None:
    query, key, _ = inputs(torch.bfloat16)
    probes = torch.full((300, 1), 1)
    packed = join_cells(query, key, BOUNDS, probes, 8)
    assert (unpack(packed, probes, torch.tensor(BOUNDS[:-1]), 8, 8) == -1).all()
