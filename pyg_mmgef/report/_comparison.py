"""The run beside simpler models."""

from typing import Any

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._headline import is_sure
from pyg_mmgef.report._numbers import lift
from pyg_mmgef.runs._metric_words import MEANINGS

__all__ = ['comparison']

OTHERS: dict[str, tuple[str, str]] = {
    'Popularity': ('Best-sellers', 'the same list for everybody, without what a person has'),
    'ItemKNN': ('Often together', 'products that people have together with theirs (ItemKNN)'),
    'EASE': ('EASE', 'a linear model of which products people have together'),
}


def comparison(evidence: Evidence) -> dict[str, Any]:
    """Return the metrics of the run and of the baselines, the best value of each marked."""
    metrics = evidence.run.metrics
    ours = {
        name.removeprefix('test_'): value
        for name, value in metrics.items()
        if name.startswith('test_')
    }
    others = metrics.get('baselines', {})
    if not ours or not others:  # A run that isn't finished has none.
        ours, others = (
            evidence.lists.evaluate(),
            {'Popularity': evidence.best_sellers.evaluate()},
        )
    names = list(ours)
    best = {name: max([ours[name], *(row[name] for row in others.values())]) for name in names}
    main = f'recall@{evidence.k}'

    def row(title: str, note: str, values: dict[str, float], is_ours: bool) -> dict[str, Any]:
        return {
            'title': title,
            'note': note,
            'is_ours': is_ours,
            'cells': [(f'{values[name]:.4f}', values[name] == best[name]) for name in names],
            'lift': lift(values[main], others['Popularity'][main])
            if 'Popularity' in others
            else '',
        }

    rows = [
        row(
            'This model',
            evidence.run.settings.preset or evidence.run.settings.model or '',
            ours,
            True,
        )
    ]
    rows += [row(*_named(name), values, False) for name, values in others.items()]
    ahead = [_named(name)[0] for name, x in others.items() if x[main] > ours[main]]
    return {
        'names': names,
        'meanings': {
            name: text for name, text in MEANINGS.items() if any(x.startswith(name) for x in names)
        },
        'rows': rows,
        'ahead': ahead,
        'main': main,
        'p_value': None if evidence.test is None else _p_text(evidence.test.p_value),
        'is_sure': is_sure(evidence),
        'num_people': len(evidence.lists.users),
    }


def _named(name: str) -> tuple[str, str]:
    """Return what a baseline is called, and what it does."""
    return OTHERS.get(name, (name, ''))


def _p_text(p_value: float) -> str:
    return 'p < 0.001' if p_value < 0.001 else f'p = {p_value:.3f}'
