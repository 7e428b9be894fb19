import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.nn import IALS
from pyg_mmgef.schema import INTERACTS

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def ials(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import ials

    return ials


def shop() -> HeteroData:
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 30, 20
    data[INTERACTS].edge_index = (torch.rand(30, 20, generator=generator) < 0.2).nonzero().t()
    return data


def test_the_objective_is_the_sum_over_all_pairs(ials: Any) -> None:
    data = shop()
    z_user, z_item = torch.randn(30, 4), torch.randn(20, 4)
    met = torch.zeros(30, 20)
    met[tuple(data[INTERACTS].edge_index)] = 1
    score = z_user @ z_item.t()
    expected = (met * (score - 1).square() + 0.3 * score.square()).sum()
    for z, count in ((z_user, met.sum(1) + 0.3 * 20), (z_item, met.sum(0) + 0.3 * 30)):
        expected = expected + 0.05 * count.mean() * z.square().sum()
    found = ials.Problem(data, 0.05, 0.3).objective(z_user, z_item)
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_sweeps_lower_the_objective(ials: Any) -> None:
    problem = ials.Problem(shop(), 0.05, 0.1)
    values = []
    for num_sweeps in (1, 4, 50):
        found = ials.solve(problem, 5, num_sweeps)
        values.append(problem.objective(found.z_user, found.z_item))
    assert values[0] > values[1] > values[2]


@pytest.mark.parametrize('use_cg', [True, False])
def test_implicit_finds_the_same_scores(ials: Any, use_cg: bool) -> None:
    pytest.importorskip('implicit')
    problem = ials.Problem(shop(), 0.05, 0.1)
    # With a channel for each item the best scores are unique, from whatever start.
    ours = ials.solve(problem, 20, 100, num_steps=5)
    theirs = ials.solve_implicit(problem, 20, 400, use_cg)
    scores = [found.z_user @ found.z_item.t() for found in (ours, theirs)]
    assert scores[0].max() > 0.5
    torch.testing.assert_close(*scores, rtol=0, atol=1e-4)
    values = [problem.objective(found.z_user, found.z_item) for found in (ours, theirs)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_one_row_per_solver(
    ials: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('implicit')
    monkeypatch.setattr(ials.ml100k, 'interactions', shop)
    monkeypatch.setattr(sys, 'argv', ['ials.py', '--quick', '--output', str(tmp_path)])
    threads = torch.get_num_threads()
    try:
        ials.main()
    finally:
        torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(('implicit, ', 'IALS, ')) for line in lines) == 5
    assert (tmp_path / 'ials.json').is_file()


def test_the_default_exponent_is_another_objective(ials: Any) -> None:
    problem = ials.Problem(shop(), 0.05, 0.1)
    default = IALS(30, 20).l2_exponent
    same, other = (ials.solve(problem, 8, 60, l2_exponent=x) for x in (0.0, default))
    assert problem.objective(same.z_user, same.z_item) < problem.objective(
        other.z_user, other.z_item
    )
