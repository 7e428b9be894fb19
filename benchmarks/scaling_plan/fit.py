"""The constants of the cost model, from what was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scaling_plan.cost_model import work_of_stage
from scaling_plan.shop import Shop
from scipy.optimize import nnls

__all__ = ['fit_constants', 'predicted_seconds', 'work_of_row']

# Stages one after the other: a later one takes the constants that an earlier one has found.
ORDER = (
    'dense_update',
    'propagation',
    'sampled',
    'tables',
    'exact_neighbors',
    'cell_neighbors',
    'co_interaction',
    'ranking',
)


def fit_constants(rows: Sequence[Mapping[str, Any]], cache: float) -> dict[str, float]:
    r"""Return the seconds of a unit of each kind of work.

    With the units :math:`w_{rj}` and the seconds :math:`t_r` of row :math:`r`, they minimise the
    sum of the squared relative errors over :math:`c_j \ge 0`,

    .. math::
        \sum_r \Big( \sum_j c_j w_{rj} / t_r - 1 \Big)^2 .

    Args:
        rows: What was measured, of one process.
        cache: Bytes of the last level of cache.
    """
    constants: dict[str, float] = {}
    for stage in ORDER:
        for part in ('sampling', 'seconds'):
            own = [row for row in rows if row['stage'] == stage and part in row]
            works = [work_of_row(row, cache).get(part, {}) for row in own]
            names = [name for name in (works[0] if works else {}) if name not in constants]
            if not names:
                continue
            seconds = np.array([row[part] for row in own])
            known = [sum(constants.get(name, 0.0) * n for name, n in w.items()) for w in works]
            units = np.array([[work[name] for name in names] for work in works])
            # Columns of one size, as the solver stops at a fixed precision.
            relative = units / seconds[:, None]
            scale = relative.max(axis=0).clip(min=1e-300)
            found, _ = nnls(relative / scale, (1 - np.array(known) / seconds).clip(min=0))
            constants |= dict(zip(names, (found / scale).tolist(), strict=True))
    return constants


def work_of_row(row: Mapping[str, Any], cache: float) -> dict[str, dict[str, float]]:
    """Return the units of work of a row that was measured."""
    shop = Shop(row['users'], row['items'], row['interactions'])
    return work_of_stage(
        row['stage'], shop, row['channels'], row['num_neighbors'], row['batch'], cache
    )


def predicted_seconds(
    row: Mapping[str, Any], part: str, constants: Mapping[str, float], cache: float
) -> float:
    """Return the seconds that the model gives a row, on the machine that it was measured on."""
    work = work_of_row(row, cache)[part]
    return sum(constants[name] * amount for name, amount in work.items())
