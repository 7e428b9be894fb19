"""The plots of the pages; each returns the lines that show it."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import pyplot
from experiments.answers import ranked
from experiments.stats import Runs, mean, values

__all__ = ['plot_models', 'plot_shares']


def plot_models(data: str, rows: dict[str, Runs], docs: Path) -> list[str]:
    """Draw Recall@20 of all models, the best above."""
    rows = {name: rows[name] for name in ranked(rows, 'warm', 'recall@20')}
    size = (6.5, 0.6 + 0.28 * len(rows))
    figure, axis = pyplot().subplots(figsize=size, layout='constrained')
    recalls = [values(runs, 'warm', 'recall@20') for runs in rows.values()]
    errors = [statistics.stdev(own) if len(own) > 1 else 0.0 for own in recalls]
    axis.barh(list(rows), [statistics.mean(own) for own in recalls], xerr=errors)
    axis.invert_yaxis()
    axis.set(xlabel='test Recall@20')
    return _image(figure, docs / f'{data}.png', 'Recall@20 of all models')


def plot_shares(
    name: str, shares: Sequence[float], rows: dict[str, list[Runs]], title: str, docs: Path
) -> list[str]:
    """Draw NDCG@20 over the share that was changed."""
    figure, axis = pyplot().subplots(figsize=(6.5, 3.5), layout='constrained')
    for label, row in rows.items():
        points = [
            (share, mean(own, 'warm', 'ndcg@20'))
            for share, own in zip(shares, row, strict=True)
            if own
        ]
        axis.plot(*zip(*points, strict=True), marker='o', label=label)
    axis.set(xlabel=f'share ({title.lower()})', ylabel='test NDCG@20')
    axis.legend(frameon=False)
    return _image(figure, docs / f'{name}.png', f'NDCG@20, {title.lower()}')


def _image(figure: Any, path: Path, alt: str) -> list[str]:
    figure.savefig(path, dpi=120)
    pyplot().close(figure)
    return [f'.. image:: {path.name}', f'   :alt: {alt}', '']
