import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.schema import INTERACTS

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'

pytest.importorskip('matplotlib')


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import new_users_items

    return new_users_items


def shop() -> HeteroData:
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 60, 120
    for name in ('image', 'text'):
        data['item'][f'x_{name}'] = torch.randn(120, 5, generator=generator)
        data['item'][f'has_{name}'] = torch.ones(120, dtype=torch.bool)
    edges = (torch.rand(60, 120, generator=generator) < 0.2).nonzero().t()
    data[INTERACTS].edge_index = edges[:, torch.randperm(edges.size(1), generator=generator)]
    data[INTERACTS].time = torch.arange(edges.size(1))
    return data


def test_users_held_out_are_behind_the_others(benchmark: Any) -> None:
    data = shop()
    users = benchmark.hold_out(data, seed=1)
    assert (users.num_known, len(users.histories)) == (54, 6)
    train, full = (part[INTERACTS].edge_index for part in (users.train, users.full))
    assert train[0].max() < 54
    assert full.size(1) == train.size(1) + sum(map(len, users.histories))
    pairs = torch.cat([full, users.val, users.target + torch.tensor([[54], [0]])], dim=1)
    assert pairs.unique(dim=1).size(1) == pairs.size(1) == data[INTERACTS].edge_index.size(1)


def test_the_first_of_a_history_come_first_in_time(benchmark: Any) -> None:
    data = shop()
    users = benchmark.hold_out(data, seed=1)
    edges = data[INTERACTS].edge_index
    of_user = {tuple(edges[1][edges[0] == user].tolist()) for user in range(60)}
    for number, history in enumerate(users.histories):
        rest = users.target[1][users.target[0] == number].tolist()
        whole = [*history.tolist(), *rest]
        assert tuple(whole) in of_user
        assert len(history) == int(0.8 * len(whole))


def test_the_time_is_that_of_the_first_look_that_reaches_the_goal(benchmark: Any) -> None:
    found = benchmark.Fit(None, None, 10, 0.4, [], 0.0, [0.1, 0.4, 0.3], [1.0, 2.0, 3.0])
    assert benchmark.time_to(0.3, found) == {'epochs': 10, 'seconds': 2.0}
    assert benchmark.time_to(0.5, found) == {'epochs': None, 'seconds': None}


def test_all_parts_and_their_page(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip('implicit')
    monkeypatch.setitem(benchmark.DATA, 'shop', lambda: [shop()])
    monkeypatch.setattr(benchmark, 'REVEALED', (0, 1))
    monkeypatch.setattr(benchmark, 'MANY', 7)
    arguments = ['new_users_items.py', '--quick', '--data', 'shop', '--output', str(tmp_path)]
    threads = torch.get_num_threads()
    try:
        monkeypatch.setattr(sys, 'argv', arguments)
        benchmark.main()
    finally:
        torch.set_num_threads(threads)
    content = benchmark.read_json(tmp_path / 'new_users_items.json')
    assert set(content['results']) == {'users', 'items', 'growing', 'sweeps', 'times'}
    for row in content['results']['users']:
        assert 0 <= row['folded']['recall@20'] <= 1
        assert 0 <= row['anew']['recall@20'] <= 1
    monkeypatch.setattr(sys, 'argv', [*arguments, '--page', str(tmp_path)])
    benchmark.main()
    text = (tmp_path / 'new_users_items.rst').read_text(encoding='utf-8')
    assert text == benchmark.page(content)
    assert text.count('.. list-table::') == 5
