import pytest

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._groups import groupings
from pyg_mmgef.report._numbers import percent


def test_by_category(evidence: Evidence) -> None:
    table = {table['title']: table for table in groupings(evidence)}['By category']
    assert sorted(row['name'] for row in table['rows']) == ['Lamps', 'Rugs', 'Sofas']
    lists = evidence.lists
    kinds = evidence.run.catalog.fields['category']
    for row in table['rows']:
        hits: dict[int, int] = {}
        total: dict[int, int] = {}
        for user, item in lists.target.t().tolist():
            if kinds[item] == row['name']:
                found = item in lists.items[lists.users.tolist().index(user)].tolist()
                hits[user] = hits.get(user, 0) + found
                total[user] = total.get(user, 0) + 1
        recall = sum(hits[user] / total[user] for user in total) / len(total)
        assert row['people'] == len(total)
        assert row['choices'] == sum(total.values())
        assert row['shares'][0][0] == percent(recall)
    widths = [width for row in table['rows'] for _, width in row['shares']]
    assert max(widths) == 100


def test_by_activity_and_popularity(evidence: Evidence) -> None:
    by_activity, by_popularity, _ = groupings(evidence)
    assert by_activity['title'] == 'By how much a person has chosen before'
    assert sum(row['people'] for row in by_activity['rows']) == 60
    assert all('choice' in row['name'] for row in by_activity['rows'])
    assert by_popularity['rows'][0]['name'] == 'Best-sellers'
    total = sum(row['choices'] for row in by_popularity['rows'])
    assert total == evidence.lists.target.size(1)
    tail = next(row for row in by_popularity['rows'] if row['name'] == 'Seldom chosen')
    assert tail['shares'][1][1] == 0
    assert tail['lift'] == ''


def test_no_category_no_table(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, 'category', None)
    assert len(groupings(evidence)) == 2
