"""The recommendations of all users keep the rules of the shop."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pyg_mmgef.catalog import Catalog, Rules, item_covariance, score_spread
from pyg_mmgef.nn import EASE
from pyg_mmgef.runs import recommend_all
from tests.runs.test_export import ITEMS, USERS, make_run

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


def slow_lists(run: Any, k: int, rules: Rules) -> dict[str, list[int]]:
    """One user after the other, from the scores of all items."""
    z_user, z_item = run.z_user.double().numpy(), run.z_item.double().numpy()
    pairs = set() if rules.repeat else {(u, i) for u, i in run.seen('val', 'test').t().tolist()}
    unit = score_spread(z_user, item_covariance(z_item))
    allowed, boosts = rules.allowed(run.catalog), rules.boosts(run.catalog)
    out = {}
    for user in range(USERS):
        score = z_item @ z_user[user] + unit[user] * boosts
        order = sorted(range(ITEMS), key=lambda i: (-np.float32(score[i]), i))
        order = [i for i in order if allowed[i] and (user, i) not in pairs]
        pins = [i for i in run.catalog.rows_of(rules.pin) if i in order]
        chosen = list(map(int, pins))
        for item in order:
            own = sum(BRANDS[other] == BRANDS[item] for other in chosen)
            if item not in chosen and own < rules.max_per.get('brand', ITEMS):
                chosen.append(item)
        if chosen:
            out[f'user {user}'] = chosen[:k]
    return out


@pytest.mark.parametrize(
    'rules',
    [
        Rules(),
        Rules(repeat=True),
        Rules(where={'price': (3, 20)}, exclude=[105]),
        Rules(max_per={'brand': 1}),
        Rules(boost={'brand=brand 2': 2.0}),
        Rules(pin=[129, 103], max_per={'brand': 2}, boost={'price=0..5': -1.0}),
        Rules(only=[101, 102, 103]),
    ],
    ids=str,
)
def test_lists_are_those_of_a_slow_loop(tmp_path: Path, rules: Rules) -> None:
    run = run_with_brands()
    # Users of whom nothing is known score all items alike, where rounding decides.
    known = run.z_user.any(dim=1).nonzero().view(-1).tolist()
    found, expected = lists_of(run, tmp_path / 'x.parquet', 6, rules), slow_lists(run, 6, rules)
    assert set(found) == set(expected)
    for user in known:
        assert found.get(f'user {user}') == expected.get(f'user {user}')


def test_diversity_changes_the_lists_and_keeps_what_may_be_shown(tmp_path: Path) -> None:
    run = run_with_brands()
    plain = lists_of(run, tmp_path / 'a.parquet', 5, None)
    diverse = lists_of(run, tmp_path / 'b.parquet', 5, Rules(diversity=0.7))
    assert plain != diverse
    pairs = {(u, i) for u, i in run.seen('val', 'test').t().tolist()}
    for user, items in diverse.items():
        assert not {(int(user.split()[1]), item) for item in items} & pairs


def test_some_users(tmp_path: Path) -> None:
    run = run_with_brands()
    count = recommend_all(run, tmp_path / 'x.parquet', k=2, users=torch.tensor([30, 35]))
    assert count == 4
    assert set(pq.read_table(tmp_path / 'x.parquet')['user'].to_pylist()) == {'user 30', 'user 35'}


def test_a_model_with_a_channel_for_each_item(tmp_path: Path) -> None:
    run = run_with_brands(model=EASE, features=False)
    rules = Rules(where={'brand': 'brand 1'}, max_per={'brand': 2})
    found = lists_of(run, tmp_path / 'x.parquet', 3, rules)
    assert {BRANDS[item] for items in found.values() for item in items} == {'brand 1'}
    assert max(map(len, found.values())) == 2
    with pytest.raises(ValueError, match='EASE has a channel for each item'):
        recommend_all(run, tmp_path / 'y.parquet', rules=Rules(diversity=0.5))
