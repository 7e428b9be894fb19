import pytest
import torch

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._reach import reach


def number(text: str) -> float:
    return float(text.split('\u00a0')[0])


def test_shares_of_the_catalogue(evidence: Evidence) -> None:
    shown = reach(evidence)
    assert [row['name'] for row in shown['rows']] == [
        *('Best-sellers', 'In between', 'Seldom chosen', 'New'),
    ]
    assert sum(row['num_items'] for row in shown['rows']) == 75
    for place in range(3):
        assert sum(row['shares'][place][1] for row in shown['rows']) == pytest.approx(100, abs=0.3)
    new = shown['rows'][-1]['shares']
    new_rows = torch.tensor([list(evidence.run.item_ids).index(f'i{i}') for i in (72, 73, 74)])
    is_new = torch.isin(evidence.lists.items, new_rows)
    assert new[0][1] == pytest.approx(100 * float(is_new.float().mean()), abs=0.06)
    assert [text for text, _ in new[1:]] == ['0\u00a0%', '0\u00a0%']
    head = shown['rows'][0]['shares']
    assert head[2][1] > head[1][1] >= 20  # Best-sellers are shown more than they are chosen.


def test_numbers_of_the_lists(evidence: Evidence) -> None:
    rows = {name: values for _, name, *values in reach(evidence)['numbers']}
    of_lists = ('diversity', 'novelty', 'average_popularity')
    assert set(rows) == {
        f'{name}@20' for name in ('coverage', 'gini', 'personalization', *of_lists)
    }
    lists = evidence.lists, evidence.best_sellers
    coverage = [len(x.items.unique()) / 75 for x in lists]
    assert rows['coverage@20'] == [f'{share:.4g}' for share in coverage]
    popularity = [evidence.popularity[x.items].double().mean() for x in lists]
    assert rows['average_popularity@20'] == [f'{mean:.4g}' for mean in popularity]


def test_what_is_recommended_most(evidence: Evidence) -> None:
    most = reach(evidence)['most'][0]
    exposure = evidence.lists.exposure(20)
    assert most['id'] == evidence.run.item_ids[int(exposure.argmax())]
    assert number(most['note'].removeprefix('in ')) == round(100 * int(exposure.max()) / 60)
