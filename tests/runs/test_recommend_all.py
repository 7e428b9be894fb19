"""The recommendations of all users keep the rules of the shop."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pyg_mmgef.catalog import Catalog, Rules
from pyg_mmgef.nn import ItemKNN
from pyg_mmgef.runs import recommend_all
from pyg_mmgef.runs._by_rules import recommend_by_rules
from tests.runs.test_export import ITEMS, USERS, make_run

recommend_all_module = sys.modules[recommend_all.__module__]
BRANDS = [f'brand {i % 4}' for i in range(ITEMS)]


def run_with_brands(**options: Any) -> Any:
    run = make_run(**options)
    run.catalog = Catalog(list(run.item_ids), fields={'brand': BRANDS, 'price': np.arange(ITEMS)})
    return run


def lists_of(run: Any, path: Path, k: int, rules: Rules | None) -> dict[str, list[int]]:
    recommend_all(run, path, k=k, rules=rules)
    out: dict[str, list[int]] = {}
    for row in pq.read_table(path).to_pylist():
        out.setdefault(row['user'], []).append(row['item'] - 100)
    return out


@pytest.mark.parametrize(
    'rules',
    [
        None,
        Rules(),
        Rules(repeat=True),
        Rules(where={'price': (3, 20)}, exclude=[105]),
        Rules(max_per={'brand': 1}, pin=[129, 103], boost={'price=0..5': -1.0}),
        Rules(diversity=0.5, only=list(range(101, 120))),
        Rules(only=[101], exclude=[101]),
    ],
    ids=str,
)
def test_lists_are_those_of_the_ranking_by_rules(
    tmp_path: Path, rules: Rules | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommend_all_module, 'BATCH', 7)
    run = run_with_brands()
    found = lists_of(run, tmp_path / 'x.parquet', 6, rules)
    seen, users = run.all_interactions, torch.arange(USERS)
    _, items = recommend_by_rules(
        run.z_user, run.z_item, users, rules or Rules(), run.catalog, k=6, seen=seen
    )
    expected = {user: [i for i in row if i >= 0] for user, row in enumerate(items.tolist())}
    assert found == {f'user {user}': row for user, row in expected.items() if row}


def test_some_users(tmp_path: Path) -> None:
    run = run_with_brands()
    count = recommend_all(run, tmp_path / 'x.parquet', k=2, users=torch.tensor([30, 35]))
    assert count == 4
    assert set(pq.read_table(tmp_path / 'x.parquet')['user'].to_pylist()) == {'user 30', 'user 35'}


def test_a_model_with_a_channel_for_each_item(tmp_path: Path) -> None:
    run = run_with_brands(model=ItemKNN, features=False)
    rules = Rules(where={'brand': 'brand 1'}, max_per={'brand': 2})
    found = lists_of(run, tmp_path / 'x.parquet', 3, rules)
    assert {BRANDS[item] for items in found.values() for item in items} == {'brand 1'}
    assert max(map(len, found.values())) == 2
    with pytest.raises(ValueError, match="'diversity' compares embeddings"):
        recommend_all(run, tmp_path / 'y.parquet', rules=Rules(diversity=0.5))
