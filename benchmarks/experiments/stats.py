"""Means over seeds, and tests over users."""

import statistics
from typing import Any

import numpy as np
from experiments.runs import ends_alike
from scipy.stats import t

from pyg_mmgef.ranking import paired_t_test

__all__ = [
    'LEVEL',
    'Runs',
    'is_cut',
    'mean',
    'of',
    'p_of',
    'p_with_seeds',
    'values',
]

Runs = list[dict[str, Any]]
LEVEL = 0.05
"""Below which a difference counts as more than chance."""


def of(runs: Runs, data: str, condition: str, contestant: str, variant: str) -> Runs:
    """Return the runs of one row of a table."""
    row = (data, condition, contestant, variant)
    keys = ('data', 'condition', 'contestant', 'variant')
    return [run for run in runs if tuple(run[key] for key in keys) == row]


def is_cut(run: dict[str, Any]) -> bool:
    """Return whether the limit of epochs stopped the run while it might still have improved."""
    return bool(run['curve']) and not ends_alike(run['epoch'], run['epochs'], run['epochs'] + 1)


def values(runs: Runs, task: str, metric: str) -> list[float]:
    return [run['metrics'][task][metric] for run in runs]


def mean(runs: Runs, task: str, metric: str) -> float:
    return statistics.mean(values(runs, task, metric))


def p_of(runs: Runs, baseline: Runs, task: str) -> float:
    """Return the p-value of a paired t-test over users, each with its mean over a row's seeds."""
    ours, theirs = paired(runs, baseline, task)
    return paired_t_test(theirs, ours).p_value


def p_with_seeds(ours: Runs, theirs: Runs, task: str) -> float:
    """Return the p-value of a difference with the spread over users and over seeds in its error.

    Welch's test with a third variance: that of the users' paired differences, beside those of the
    two models' means over seeds. Not a number where a row has one run, which has no spread.
    """
    if min(len(ours), len(theirs)) < 2:
        return float('nan')
    gains = np.subtract(*paired(ours, theirs, task))
    parts = [(gains.var(ddof=1) / gains.size, gains.size)]
    for runs in (ours, theirs):
        means = values(runs, task, 'ndcg@20')
        parts.append((np.var(means, ddof=1) / len(means), len(means)))
    square = sum(part for part, _ in parts)
    if square == 0:
        return 0.0 if gains.mean() else 1.0
    freedom = square**2 / sum(part**2 / (count - 1) for part, count in parts)
    return float(2 * t.sf(abs(gains.mean()) / np.sqrt(square), freedom))


def paired(ours: Runs, theirs: Runs, task: str) -> np.ndarray:
    """Return NDCG@20 of each user with test interactions in two rows, each the mean over its runs.

    Raises:
        SystemExit: If they ranked for different users.
    """
    found = [[run['per_user'][task].astype(float) for run in runs] for runs in (ours, theirs)]
    ranked = [~np.isnan(value) for value in found[0] + found[1]]
    if not all(np.array_equal(ranked[0], other) for other in ranked):
        raise SystemExit(
            f'the runs beside {ours[0]["path"]} and {theirs[0]["path"]} ranked for different users'
        )
    return np.stack([np.mean(value, axis=0)[ranked[0]] for value in found])
