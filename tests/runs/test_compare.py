import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import ttest_rel

from pyg_mmgef.datasets import SyntheticShop
from pyg_mmgef.ranking import evaluate_ranking, holm
from pyg_mmgef.runs import Comparison, Run, compare, fit
from pyg_mmgef.runs._run_lists import item_vectors
from pyg_mmgef.schema import INTERACTS, supervision_edges

REFERENCES = ['Popularity', 'ItemKNN']


@pytest.fixture(scope='module')
def shop(tmp_path_factory: pytest.TempPathFactory) -> SyntheticShop:
    return SyntheticShop(tmp_path_factory.mktemp('shop'), num_users=150, num_items=60)


@pytest.fixture(scope='module')
def runs(shop: SyntheticShop) -> dict[str, Run]:
    return {
        'mine': fit(shop[0], 'ials', split='random'),
        'other <b>': fit(shop[0], 'ease', split='random'),
    }


@pytest.fixture(scope='module')
def comparison(runs: dict[str, Run]) -> Comparison:
    return compare(runs, k=(5, 10))


def test_metrics_are_those_of_the_runs(runs: dict[str, Run], comparison: Comparison) -> None:
    assert list(comparison.values) == [*runs, *REFERENCES]
    for name, run in runs.items():
        expected = run.evaluate('test', (5, 10))
        found = comparison.values[name]
        shared = found.keys() & expected.keys()
        assert shared == {f'{metric}@{k}' for metric in ('recall', 'ndcg') for k in (5, 10)}
        assert {metric: found[metric] for metric in shared} == pytest.approx(
            {metric: expected[metric] for metric in shared}
        )
        recorded = run.metrics['baselines']
        for reference in REFERENCES:
            assert comparison.values[reference]['recall@10'] == pytest.approx(
                recorded[reference]['recall@10']
            )


def test_validation(runs: dict[str, Run]) -> None:
    found = compare(runs, part='val', k=10).values['mine']
    assert found['ndcg@10'] == pytest.approx(runs['mine'].metrics['val_ndcg@10'])


def test_default_cutoff(runs: dict[str, Run]) -> None:
    assert compare(runs).k == (20,)


def test_diversity_uses_the_same_vectors_for_all(
    runs: dict[str, Run], comparison: Comparison
) -> None:
    run = runs['mine']
    content = run.train['item'].x_image, run.train['item'].x_text
    expected = evaluate_ranking(
        run.z_user,
        run.z_item,
        supervision_edges(run.test),
        exclude=run.seen('val'),
        k=5,
        metrics='diversity',
        features=torch.cat([F.normalize(x) for x in content], dim=1),
    )['diversity@5']
    assert comparison.values['mine']['diversity@5'] == pytest.approx(expected)
    vectors = [lists.features for lists in comparison.lists.values()]
    assert all(vector is vectors[0] for vector in vectors)
    given = torch.eye(60)
    assert compare(runs, k=5, features=given).values['mine']['diversity@5'] == 1


def test_items_without_content_differ_by_their_users(shop: SyntheticShop) -> None:
    data = shop[0].clone()
    for key in [key for key in data['item'] if key != 'num_nodes']:
        del data['item'][key]
    vectors = item_vectors(data)
    dense = torch.zeros(60, 150)
    user, item = data[INTERACTS].edge_index
    dense[item, user] = 1
    assert torch.equal(vectors.to_dense().bool(), dense.bool())


def test_tests_are_paired_and_corrected(comparison: Comparison) -> None:
    names = [f'{metric}@{k}' for metric in ('recall', 'ndcg', 'mrr', 'hit_ratio') for k in (5, 10)]
    base = comparison.lists['mine'].per_user(('recall', 'ndcg', 'mrr', 'hit_ratio'), (5, 10))
    expected = {}
    for run in ('other <b>', *REFERENCES):
        mine = comparison.lists[run].per_user(('recall', 'ndcg', 'mrr', 'hit_ratio'), (5, 10))
        for name in names:
            a, b = base[name].double().numpy(), mine[name].double().numpy()
            expected[run, name] = float(ttest_rel(b, a).pvalue) if (a != b).any() else 1.0
    corrected = dict(zip(expected, holm(list(expected.values())), strict=True))
    assert {
        (run, name): test.p_value
        for run, tests in comparison.tests.items()
        for name, test in tests.items()
    } == pytest.approx(corrected)
    test = comparison.tests['Popularity']['recall@10']
    values = comparison.values
    assert test.difference == pytest.approx(
        values['Popularity']['recall@10'] - values['mine']['recall@10']
    )


def test_another_baseline(runs: dict[str, Run]) -> None:
    out = compare(runs, baseline='ItemKNN', k=5)
    assert list(out.values) == ['ItemKNN', 'mine', 'other <b>', 'Popularity']
    assert list(out.tests) == ['mine', 'other <b>', 'Popularity']
    assert repr(out) == "Comparison(ItemKNN, mine, other <b>, Popularity, baseline='ItemKNN')"


def test_tables(comparison: Comparison) -> None:
    table = comparison.table()
    assert table['run'] == ['mine', 'other <b>', *REFERENCES]
    assert table['recall@5'] == [of_run['recall@5'] for of_run in comparison.values.values()]
    differences = comparison.differences()
    assert list(differences.columns) == ['run', 'metric', 'difference', 'low', 'high', 'p_value']
    assert len(differences) == 3 * 4 * 2
    per_user = comparison.per_user()
    assert len(per_user['user']) == len(comparison.lists['mine'].users)
    assert sum(per_user['interactions']) == comparison.lists['mine'].target.size(1)
    assert np.mean(per_user['ItemKNN ndcg@10']) == pytest.approx(
        comparison.values['ItemKNN']['ndcg@10']
    )


def test_groups(comparison: Comparison) -> None:
    num_users, num_held_out = 150, comparison.lists['mine'].target.size(1)
    activity = comparison.grouped('activity')
    assert sum(group['mine']['users'] for group in activity.values()) == num_users
    mean = sum(group['mine']['users'] * group['mine']['ndcg@10'] for group in activity.values())
    assert mean / num_users == pytest.approx(comparison.values['mine']['ndcg@10'])
    popularity = comparison.grouped('popularity')
    assert sum(group['mine']['interactions'] for group in popularity.values()) == num_held_out
    exposure = [group['Popularity']['exposure@5'] for group in popularity.values()]
    assert sum(exposure) == pytest.approx(1)
    head = popularity['head']
    assert head['Popularity']['exposure@5'] > 2 * head['mine']['exposure@5']
    with pytest.raises(ValueError, match="'name' must be one of 'activity', 'popularity'"):
        comparison.grouped('colour')


class Page(HTMLParser):
    """Collects the texts of cells and whether tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ('meta', 'link', 'line', 'circle'):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ('line', 'circle'):
            assert self.open.pop() == tag


def test_page(comparison: Comparison, tmp_path: Path) -> None:
    path = tmp_path / 'pages' / 'compare.html'
    comparison.to_html(path)
    text = path.read_text()
    assert Page(text).open == []
    assert not re.search(r'https?://|<script|@import|<b>', text)
    assert 'other &lt;b&gt;' in text
    assert f'{comparison.values["mine"]["recall@10"]:.4f}' in text
    assert f'{comparison.tests["ItemKNN"]["mrr@5"].difference:+.4f}' in text
    assert 'corrected for all 24 tests' in text
    assert 'By popularity of the held-out item' in text
    assert list(path.parent.iterdir()) == [path]


def test_page_shows_names_that_steer_a_terminal(runs: dict[str, Run], tmp_path: Path) -> None:
    compare({'\u202e\x1b[31m': runs['mine']}, k=5).to_html(tmp_path / 'page.html')
    text = (tmp_path / 'page.html').read_text()
    assert '\x1b' not in text
    assert '\u202e' not in text
    assert r'<bdi>\u202e\x1b[31m</bdi>' in text


def test_page_of_one_metric(runs: dict[str, Run], tmp_path: Path) -> None:
    for metrics in (['ndcg'], ['coverage']):
        compare(runs, metrics=metrics, k=5).to_html(tmp_path / 'page.html')
        text = (tmp_path / 'page.html').read_text()
        assert Page(text).open == []
        assert ('Differences to' in text) == (metrics == ['ndcg'])


class TestMistakes:
    def test_of_runs(self, shop: SyntheticShop, runs: dict[str, Run]) -> None:
        with pytest.raises(ValueError, match="'runs' is empty"):
            compare({})
        other = fit(shop[0], 'itemknn', split='random', seed=1)
        with pytest.raises(
            ValueError, match=r"'mine' and 'seed 1' have different train interactions .* same split"
        ):
            compare({**runs, 'seed 1': other})

    def test_of_another_shop(self, runs: dict[str, Run], tmp_path: Path) -> None:
        shop = SyntheticShop(tmp_path, num_users=140, num_items=60)
        with pytest.raises(ValueError, match=r'different users \(150 and 140, 140 in both\)'):
            compare({**runs, 'small': fit(shop[0], 'itemknn', split='random')})

    def test_of_names(self, runs: dict[str, Run]) -> None:
        with pytest.raises(ValueError, match="'baseline' must be one of 'mine', 'other <b>', 'Po"):
            compare(runs, baseline='first')
        with pytest.raises(ValueError, match="'part' must be one of 'val', 'test'"):
            compare(runs, part='train')  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"'metrics' must be one of .* .got 'auc'"):
            compare(runs, metrics=['auc'])
        with pytest.raises(ValueError, match="'cutoff' must be at most 60, the number of items"):
            compare(runs, k=61)
