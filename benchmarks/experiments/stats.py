"""Means over seeds, and tests over users."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from experiments.runs import ends_alike
from scipy.stats import t, ttest_rel

__all__ = [
    'Runs',
    'holm',
    'is_cut',
    'mean',
    'mean_of',
    'of',
    'p_of',
    'p_text',
    'p_value',
    'p_with_seeds',
    'spread',
]

Runs = list[dict[str, Any]]


def of(runs: Runs, data: str, condition: str, contestant: str, variant: str) -> Runs:
    """Return the runs of one row of a table."""
    row = (data, condition, contestant, variant)
    keys = ('data', 'condition', 'contestant', 'variant')
    return [run for run in runs if tuple(run[key] for key in keys) == row]


def is_cut(run: dict[str, Any]) -> bool:
    """Return whether the limit of epochs stopped the run while it might still have improved."""
    return bool(run['curve']) and not ends_alike(run['epoch'], run['epochs'], run['epochs'] + 1)


def mean(runs: Runs, task: str, metric: str) -> float:
    return statistics.mean(run['metrics'][task][metric] for run in runs)


def mean_of(runs: Runs, key: str) -> float:
    return statistics.mean(run[key] for run in runs)


def spread(runs: Runs, task: str, metric: str) -> str:
    values = [run['metrics'][task][metric] for run in runs]
    return f'{statistics.stdev(values):.4f}'.lstrip('0') if len(values) > 1 else '?'


def p_value(runs: Runs, baseline: Runs, task: str) -> str:
    """Return how likely the two are equally good, and which is better."""
    if not baseline or runs is baseline:
        return ''
    better = mean(runs, task, 'ndcg@20') > mean(baseline, task, 'ndcg@20')
    return f'{"+" if better else "-"} {p_text(p_of(runs, baseline, task))}'


def p_of(runs: Runs, baseline: Runs, task: str) -> float:
    """Return the p-value of a paired t-test over users, each with its mean over a row's seeds."""
    ours, theirs = paired(runs, baseline, task)
    return float(ttest_rel(ours, theirs).pvalue) if (ours != theirs).any() else 1.0


def p_with_seeds(ours: Runs, theirs: Runs, task: str) -> float:
    """Return the p-value of a difference with the spread over users and over seeds in its error.

    Welch's test with a third variance: that of the users' paired differences, beside those of the
    two models' means over seeds.
    """
    gains = np.subtract(*paired(ours, theirs, task))
    parts = [(gains.var(ddof=1) / gains.size, gains.size)]
    for runs in (ours, theirs):
        means = [run['metrics'][task]['ndcg@20'] for run in runs]
        parts.append((np.var(means, ddof=1) / len(means), len(means)))
    square = sum(part for part, _ in parts)
    if square == 0:
        return 0.0 if gains.mean() else 1.0
    freedom = square**2 / sum(part**2 / (count - 1) for part, count in parts)
    return float(2 * t.sf(abs(gains.mean()) / np.sqrt(square), freedom))


def p_text(p: float) -> str:
    return '< .001' if p < 0.001 else f'{p:.3f}'


def paired(ours: Runs, theirs: Runs, task: str) -> np.ndarray:
    """Return NDCG@20 of each user with test interactions in two rows, each the mean over its runs.

    Raises:
        SystemExit: If they ranked for different users.
    """
    values = [[run['per_user'][task].astype(float) for run in runs] for runs in (ours, theirs)]
    ranked = [~np.isnan(value) for value in values[0] + values[1]]
    if not all(np.array_equal(ranked[0], other) for other in ranked):
        raise SystemExit(
            f'the runs beside {ours[0]["path"]} and {theirs[0]["path"]} ranked for different users'
        )
    return np.stack([np.mean(value, axis=0)[ranked[0]] for value in values])


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.maximum.accumulate(factors * np.asarray(p_values)[order]).clip(max=1.0)
    return [float(p) for p in corrected[np.argsort(order)]]
