from copy import copy

import pytest

from pyg_mmgef.report._comparison import comparison
from pyg_mmgef.report._evidence import Evidence


def with_metrics(evidence: Evidence, **recalls: float) -> Evidence:
    """Return the evidence of a run with some recalls, its own under the name ``run``."""
    other = copy(evidence)
    other.run = copy(evidence.run)
    other.run.metrics = {
        'test_recall@20': recalls.pop('run'),
        'baselines': {name: {'recall@20': value} for name, value in recalls.items()},
    }
    return other


def test_rows(evidence: Evidence) -> None:
    shown = comparison(evidence)
    assert [row['title'] for row in shown['rows']] == [
        *('This model', 'Best-sellers', 'Often together', 'EASE')
    ]
    assert shown['names'] == [
        f'{metric}@{k}' for metric in ('recall', 'precision', 'ndcg') for k in (10, 20)
    ]
    metrics = evidence.run.metrics
    own = [text for text, _ in shown['rows'][0]['cells']]
    assert own == [f'{metrics[f"test_{name}"]:.4f}' for name in shown['names']]
    for place, name in enumerate(shown['names']):
        values = [metrics[f'test_{name}'], *(row[name] for row in metrics['baselines'].values())]
        marked = [row['cells'][place][1] for row in shown['rows']]
        assert marked == [value == max(values) for value in values]


def test_who_is_ahead(evidence: Evidence) -> None:
    worse = comparison(with_metrics(evidence, run=0.1, Popularity=0.2, EASE=0.3))
    assert worse['ahead'] == ['Best-sellers', 'EASE']
    assert [row['lift'] for row in worse['rows']] == ['−50\u00a0%', '±0\u00a0%', '+50\u00a0%']
    better = comparison(with_metrics(evidence, run=0.5, Popularity=0.2, EASE=0.3))
    assert better['ahead'] == []


def test_a_run_without_metrics(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = evidence.run.metrics['test_recall@20']
    monkeypatch.setattr(evidence.run, 'metrics', {})
    shown = comparison(evidence)
    assert [row['title'] for row in shown['rows']] == ['This model', 'Best-sellers']
    assert shown['rows'][0]['cells'][0][0] == f'{expected:.4f}'
