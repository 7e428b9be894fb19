import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pyg_mmgef import ranking
from pyg_mmgef.ranking import Groups, TopLists, recommend
from pyg_mmgef.ranking.list_metrics import coverage, diversity, exposure, gini, personalization
from pyg_mmgef.ranking.metrics import METRICS
from pyg_mmgef.ranking.top_lists import ALL_METRICS
from tests.ranking.test_evaluate import as_sets, random_case
from tests.references import ranking_metrics

K = 5


Case = dict[str, Any]


def ranked(case: Case, **options: object) -> TopLists:
    return TopLists.rank(**{**case, 'k': K, **options})


def evaluate_ranking(case: Case, **options: object) -> dict[str, float]:
    return ranking.evaluate_ranking(**{**case, 'k': K, **options})


def per_user_metrics(case: Case, **options: object) -> tuple[Tensor, dict[str, Tensor]]:
    return ranking.per_user_metrics(**{**case, 'k': K, **options})


@pytest.mark.usefixtures('way')
def test_lists_are_the_recommendations() -> None:
    case = random_case()
    lists = ranked(case)
    assert lists.users.tolist() == sorted(as_sets(case['target']))
    expected = recommend(
        case['z_user'], case['z_item'], lists.users, k=K, exclude=case['exclude']
    ).items
    assert torch.equal(lists.items, expected)


@pytest.mark.usefixtures('way')
def test_all_metrics_from_one_ranking() -> None:
    case = random_case()
    out = evaluate_ranking(case, k=(3, K), metrics=ALL_METRICS)
    lists = ranked(case)
    assert out == lists.evaluate(ALL_METRICS, (3, K))
    assert list(out) == [f'{name}@{k}' for name in ALL_METRICS for k in (3, K)]
    accuracy = evaluate_ranking(case, k=(3, K), metrics=tuple(METRICS))
    assert {name: out[name] for name in accuracy} == accuracy
    items = lists.items[:, :3]
    shown = exposure(items, 23)
    assert out['coverage@3'] == coverage(shown)
    assert out['gini@3'] == gini(shown)
    assert out['personalization@3'] == personalization(items)
    assert out['diversity@3'] == pytest.approx(float(diversity(items, case['z_item']).mean()))
    popularity = np.bincount(case['exclude'][1], minlength=23)
    assert out['average_popularity@3'] == pytest.approx(popularity[items.numpy()].mean())
    assert out['novelty@3'] == pytest.approx(-np.log2(popularity[items.numpy()] / 17).mean())


def test_given_popularity_and_features() -> None:
    case = random_case()
    popularity, features = torch.arange(23), torch.eye(23)
    out = evaluate_ranking(
        case,
        metrics=('average_popularity', 'diversity'),
        popularity=popularity,
        features=features,
    )
    assert out['average_popularity@5'] == pytest.approx(float(ranked(case).items.double().mean()))
    assert out['diversity@5'] == 1
    users, values = per_user_metrics(case, metrics='average_popularity', popularity=popularity)
    assert values['average_popularity@5'].shape == users.shape


def test_repeated_interactions_are_one() -> None:
    case = random_case()
    expected = evaluate_ranking(case, metrics='novelty')
    case['exclude'] = torch.cat([case['exclude'], case['exclude']], dim=1)
    assert evaluate_ranking(case, metrics='novelty') == expected


def test_sparse_embeddings() -> None:
    case = random_case()
    expected = evaluate_ranking(case, metrics=ALL_METRICS)
    for name in ('z_user', 'z_item'):
        case[name] = case[name].to_sparse_csr()
    assert evaluate_ranking(case, metrics=ALL_METRICS) == pytest.approx(expected, abs=1e-6)


@pytest.mark.device
def test_on_another_device(device: str) -> None:
    case = random_case()
    groups = (
        Groups('user', ('one', 'two'), torch.arange(17) % 2),
        Groups('item', ('one', 'two'), torch.arange(23) % 2),
    )
    lists = ranked(case)
    there = ranked({name: value.to(device) for name, value in case.items()})
    assert there.evaluate(ALL_METRICS) == pytest.approx(lists.evaluate(ALL_METRICS))
    for group in groups:
        expected = lists.grouped(group)
        assert there.grouped(group) == {
            name: pytest.approx(values) for name, values in expected.items()
        }


def test_only_candidates_can_be_covered() -> None:
    case = random_case()
    candidates = torch.arange(8)
    case['target'] = case['target'][:, case['target'][1] < 8]
    out = evaluate_ranking(case, k=8, metrics=('coverage', 'gini'), candidates=candidates)
    assert out['coverage@8'] == 1
    assert out['gini@8'] < 0.5


def test_lists_of_another_system_in_any_order() -> None:
    case = random_case()
    lists = ranked(case)
    order = torch.randperm(len(lists.users), generator=torch.Generator().manual_seed(0))
    options: Case = {'popularity': lists.popularity, 'features': lists.features}
    target = case['target'][:, torch.randperm(case['target'].size(1))]
    other = TopLists(lists.users[order], lists.items[order], target, 17, 23, **options)
    assert other.evaluate(ALL_METRICS) == lists.evaluate(ALL_METRICS)


def test_users_fall_into_groups() -> None:
    case = random_case()
    lists = ranked(case)
    index = torch.arange(17) % 3 - 1
    out = lists.grouped(Groups('user', ('one', 'two', 'empty'), index), ALL_METRICS, (2, K))
    assert list(out) == ['one', 'two']
    for place, name in enumerate(('one', 'two')):
        kept = index[case['target'][0]] == place
        mine = {**case, 'target': case['target'][:, kept]}
        expected = ranked(mine).evaluate(ALL_METRICS, (2, K))
        counts = {'users': len(mine['target'][0].unique()), 'interactions': int(kept.sum())}
        assert out[name] == {**counts, **expected}


def test_held_out_items_fall_into_groups() -> None:
    case = random_case()
    index = torch.arange(23) % 4 - 1
    names = ('one', 'two', 'three')
    out = ranked(case).grouped(Groups('item', names, index), k=(2, K))
    assert set(out) == set(names)
    scores, exclude = case['z_user'] @ case['z_item'].t(), as_sets(case['exclude'])
    shown = ranked(case).items[:, :2]
    for place, name in enumerate(names):
        mine = case['target'][:, index[case['target'][1]] == place]
        expected = {
            'users': len(mine[0].unique()),
            'interactions': mine.size(1),
            'exposure@2': float((index[shown] == place).double().mean()),
            **ranking_metrics(scores, as_sets(mine), exclude, 2),
        }
        assert {key: out[name][key] for key in expected} == pytest.approx(expected)


def test_groups_of_all_are_everything() -> None:
    lists = ranked(random_case())
    everything = lists.evaluate(ALL_METRICS)
    for of, number in (('user', 17), ('item', 23)):
        groups = Groups(of, ('all',), torch.zeros(number, dtype=torch.int64))  # type: ignore[arg-type]
        out = lists.grouped(groups, ALL_METRICS)['all']
        assert {name: out[name] for name in everything} == everything
    assert out['exposure@5'] == 1


def test_columns() -> None:
    lists = ranked(random_case())
    ids = [f'user {row}' for row in range(17)]
    out = lists.columns(('ndcg', 'diversity'), (1, K), ids=ids)
    assert list(out) == ['user', 'interactions', 'ndcg@1', 'ndcg@5', 'diversity@1', 'diversity@5']
    assert out['user'] == [ids[row] for row in lists.users]
    assert lists.columns('ndcg')['user'] == lists.users.tolist()
    assert out['interactions'] == lists.num_targets.tolist()
    assert np.mean(out['ndcg@5']) == pytest.approx(lists.evaluate('ndcg')['ndcg@5'])
    assert set(out['diversity@1']) == {None}


def test_a_mean_leaves_out_lists_without_a_value() -> None:
    items, target = torch.tensor([[0, 1], [2, -1]]), torch.tensor([[0, 1], [0, 0]])
    lists = TopLists(torch.tensor([0, 1]), items, target, 2, 3, features=torch.eye(3))
    assert lists.evaluate('diversity') == {'diversity@2': 1.0}
    assert math.isnan(lists.evaluate('diversity', 1)['diversity@1'])


class TestMistakes:
    def check(self, message: str, **changes: object) -> None:
        arguments: dict = {
            'users': torch.tensor([0, 1]),
            'items': torch.tensor([[0, 1], [2, -1]]),
            'target': torch.tensor([[0, 1], [0, 0]]),
            'num_users': 2,
            'num_items': 3,
        }
        with pytest.raises(ValueError, match=message):
            TopLists(**{**arguments, **changes})

    def test_of_lists(self) -> None:
        self.check(r"'users' must hold user ids in \[0, 1\)", num_users=1)
        self.check(r"'items' must have shape \[2, K\]", items=torch.zeros(3, 2).long())
        self.check(r"'items' must have shape \[2, K\]", items=torch.zeros(2, 0).long())
        self.check(r"'items' must hold item ids in \[0, 2\), and -1", num_items=2)
        self.check("'target' holds the item id 3", target=torch.tensor([[0, 1], [0, 3]]))
        self.check(
            "'users' must hold each user of 'target' once.* 2 users, and 1 with a target",
            target=torch.tensor([[1], [0]]),
        )
        self.check("'users' must hold each user .* once", users=torch.tensor([1, 1]))
        self.check("'features' must have one row for each of 3 items", features=torch.eye(2))
        self.check("'popularity' must have one row for each", popularity=torch.ones(2))

    def test_of_metrics(self) -> None:
        case = random_case()
        lists = ranked(case)
        with pytest.raises(ValueError, match=r"'metrics' must be one of 'recall', .*got 'auc'"):
            lists.evaluate('auc')
        with pytest.raises(ValueError, match="'k' must be at most 5, the length of the lists"):
            lists.evaluate(k=6)
        with pytest.raises(ValueError, match="'gini' is a metric of all lists together"):
            per_user_metrics(case, metrics=('recall', 'gini'))
        with pytest.raises(ValueError, match="'hits_only' lists have no novelty"):
            ranked(case, hits_only=True).evaluate(('recall', 'novelty'))
        del case['exclude']
        with pytest.raises(ValueError, match="the metric 'novelty' needs 'popularity'"):
            ranked(case).evaluate('novelty')

    def test_of_groups(self) -> None:
        lists = ranked(random_case())
        groups = Groups('item', ('a',), torch.zeros(17, dtype=torch.int64))
        with pytest.raises(ValueError, match="'groups' must have one for each of 23 items"):
            lists.grouped(groups)
