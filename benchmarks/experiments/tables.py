"""Tables and plots of all runs there are, as pages of the documentation."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import pyplot
from experiments.contestants import CONTESTANTS
from experiments.published import PUBLISHED, WHY_NOT_THE_SAME
from experiments.runs import read_runs
from scipy.stats import wilcoxon

__all__ = ['write_tables']

BASELINE = 'MM-GEF'
METRICS = ('recall@10', 'recall@20', 'ndcg@10', 'ndcg@20')
TITLES = {
    'shop': 'The synthetic shop',
    'ml100k': 'MovieLens 100K',
    'baby': 'Amazon Baby',
    'tiktok': 'TikTok',
    'lfm2k': 'LFM-2k',
    'gowalla': 'Gowalla',
}
TASKS = {
    'warm': 'Full ranking of the items that a user has not seen; users with a test interaction.',
    'cold among cold': 'Cold items of test, ranked among each other; users with such an '
    'interaction.',
    'cold among all': "The same interactions, ranked among all items but the user's of train.",
}
Runs = list[dict[str, Any]]


def write_tables(root: Path, docs: Path) -> None:
    """Write a page for each data set."""
    runs = read_runs(root)
    if not runs:
        raise SystemExit(f'there are no runs in {root}; make some with "run"')
    docs.mkdir(parents=True, exist_ok=True)
    names = [name for name in TITLES if any(run['data'] == name for run in runs)]
    for name in names:
        own = [run for run in runs if run['data'] == name]
        (docs / f'{name}.rst').write_text(page(name, own, docs))
        print(f'Wrote {docs / name}.rst')


def page(data: str, runs: Runs, docs: Path) -> str:
    """Return the page of a data set."""
    lines = heading(TITLES[data], '=')
    lines += [
        '.. Made by benchmarks/experiments from the files of all runs; do not edit.',
        '',
        'Mean ± standard deviation over the seeds. Options were chosen on validation, with as many '
        'trials for every',
        'model; the epoch too. *p*: Wilcoxon signed-rank test over users (NDCG@20, mean of the '
        f'seeds) against {BASELINE}.',
        '',
    ]
    for condition in dict.fromkeys(run['condition'] for run in sorted(runs, key=by_condition)):
        here = [run for run in runs if run['condition'] == condition]
        models = [run for run in here if not run['variant']]
        for task in TASKS:
            rows = groups((run for run in models if task in run['metrics']), 'contestant')
            if rows:
                lines += heading(title_of(condition, task), '-')
                lines += [TASKS[task], '', *table(data, condition, task, rows)]
        if condition == 'warm':
            lines += [*plot(data, groups(models, 'contestant'), docs), *ablations(here)]
    if data in WHY_NOT_THE_SAME:
        lines += [WHY_NOT_THE_SAME[data], '']
    return '\n'.join(lines) + '\n'


def by_condition(run: dict[str, Any]) -> tuple[int, str]:
    order = ('warm', 'cold', 'only', 'noise', 'fewer')
    return order.index(run['condition'].partition(':')[0]), run['condition']


def title_of(condition: str, task: str) -> str:
    kind, _, value = condition.partition(':')
    return {
        'warm': 'All items',
        'cold': f'A fifth of the items cold: {task}',
        'only': f'Only {value} features',
        'noise': f'{100 * float(value or 0):.0f} % of the items with features of another',
        'fewer': f'{100 * float(value or 0):.0f} % of the train interactions removed',
    }[kind]


def heading(text: str, line: str) -> list[str]:
    return [text, line * len(text), '']


def groups(runs: Iterable[dict[str, Any]], key: str) -> dict[str, Runs]:
    """Return the runs by a key, in the order of the contestants."""
    out: dict[str, Runs] = {}
    for run in runs:
        out.setdefault(run[key], []).append(run)
    order = list(CONTESTANTS)
    return dict(sorted(out.items(), key=lambda item: order.index(item[1][0]['contestant'])))


def table(data: str, condition: str, task: str, rows: dict[str, Runs]) -> list[str]:
    published = PUBLISHED.get(data, {}) if (condition, task) == ('warm', 'warm') else {}
    header = ['', *METRICS, 'p', 'seeds', 'epoch', 's', 'MB']
    if published:
        header.append('published')
    best = {metric: max(mean(runs, task, metric) for runs in rows.values()) for metric in METRICS}
    cells = []
    for name, runs in rows.items():
        row = [name]
        for metric in METRICS:
            text = f'{mean(runs, task, metric):.4f}'.lstrip('0')
            bold = mean(runs, task, metric) == best[metric]
            row.append(
                f'**{text}** ± {spread(runs, task, metric)}'
                if bold
                else f'{text} ± {spread(runs, task, metric)}'
            )
        row += [
            p_value(runs, rows.get(BASELINE, []), task),
            str(len(runs)),
            f'{statistics.mean(run["epoch"] for run in runs):.0f}',
            f'{statistics.mean(run["seconds"] for run in runs):.0f}',
            f'{statistics.mean(run["MiB"] for run in runs) * 1.048576:.0f}',
        ]
        if published:
            row.append(' / '.join(f'{value:.4f}'.lstrip('0') for value in published.get(name, ())))
        cells.append(row)
    missing = [name for name in published if name not in rows]
    for name in missing:
        blanks = [''] * (len(header) - 3)
        numbers = ' / '.join(f'{value:.4f}'.lstrip('0') for value in published[name])
        cells.append([name, 'n/a', *blanks, numbers])
    return list_table(header, cells)


def list_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ['.. list-table::', '   :header-rows: 1', '']
    for row in (header, *rows):
        lines += [f'   {"* -" if n == 0 else "  -"} {cell}'.rstrip() for n, cell in enumerate(row)]
    return [*lines, '']


def ablations(runs: Runs) -> list[str]:
    """Return a table of the variants of each contestant that has some."""
    lines: list[str] = []
    for name in CONTESTANTS:
        own = [run for run in runs if run['contestant'] == name]
        if not any(run['variant'] for run in own):
            continue
        rows = groups(own, 'variant')
        plain = rows.get('', [])
        cells = [
            [
                variant or name,
                *(
                    f'{mean(r, "warm", metric):.4f} ± {spread(r, "warm", metric)}'.lstrip('0')
                    for metric in METRICS
                ),
                f'{mean_of(r, "val_recall@20"):.4f}'.lstrip('0'),
                p_value(r, plain, 'warm'),
                ', '.join(f'{value:.2f}' for value in np.mean([run['alpha'] for run in r], axis=0))
                if all(run['alpha'] for run in r)
                else '',
            ]
            for variant, r in rows.items()
        ]
        lines += heading(f'Ablations of {name}', '-')
        lines += list_table(['', *METRICS, 'validation', 'p', 'α'], cells)
    return lines


def mean(runs: Runs, task: str, metric: str) -> float:
    return statistics.mean(run['metrics'][task][metric] for run in runs)


def mean_of(runs: Runs, key: str) -> float:
    return statistics.mean(run[key] for run in runs)


def spread(runs: Runs, task: str, metric: str) -> str:
    values = [run['metrics'][task][metric] for run in runs]
    return f'{statistics.stdev(values):.4f}'.lstrip('0') if len(values) > 1 else '?'


def p_value(runs: Runs, baseline: Runs, task: str) -> str:
    """Return how likely the two are equally good, as the ranks of the users' differences tell."""
    if not baseline or runs is baseline:
        return ''
    ours, theirs = per_user(runs, task), per_user(baseline, task)
    if not (ours - theirs).any():
        return '1'
    p = float(wilcoxon(ours, theirs).pvalue)
    sign = '+' if ours.mean() > theirs.mean() else '-'
    return f'{sign} {p:.3f}' if p >= 0.001 else f'{sign} < .001'


def per_user(runs: Runs, task: str) -> np.ndarray:
    values = []
    for run in runs:
        with np.load(run['path'].with_suffix('.npz'), allow_pickle=False) as arrays:
            values.append(arrays[f'{task}, ndcg@20'])
    return np.mean(values, axis=0)


def plot(data: str, rows: dict[str, Runs], docs: Path) -> list[str]:
    """Draw Recall@20 of all models, and return the lines that show it."""
    size = (6.5, 0.6 + 0.28 * len(rows))
    figure, axis = pyplot().subplots(figsize=size, layout='constrained')
    means = [mean(runs, 'warm', 'recall@20') for runs in rows.values()]
    errors = [float(spread(runs, 'warm', 'recall@20').replace('?', '0')) for runs in rows.values()]
    axis.barh(list(rows), means, xerr=errors)
    axis.invert_yaxis()
    axis.set(xlabel='test Recall@20')
    figure.savefig(docs / f'{data}.png', dpi=120)
    pyplot().close(figure)
    return [f'.. image:: {data}.png', '   :alt: Recall@20 of all models', '']
