"""Tables and plots of all runs there are, as pages of the documentation."""

import statistics
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from common import pyplot
from experiments.contestants import CONTESTANTS
from experiments.published import PUBLISHED, WHY_NOT_THE_SAME
from experiments.runs import read_runs, read_search
from scipy.stats import ttest_rel

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
MADE = '.. Made by benchmarks/experiments from the files of all runs; do not edit.'
PROTOCOL = (
    'Models under one protocol: the same splits, batches of 2,048 triplets, Adam, a search '
    'on validation alone with as many trials for every model that has something to choose, '
    'stopping when Recall@20 of validation has not improved for 30 epochs, and test read once for '
    'each seed. All of it is made by ``python benchmarks/experiments``. "MM-GEF" is as in the '
    'paper; "MM-GEF, preset" is ``pyg_mmgef.presets.MERGED`` as it is, which was chosen by hand on '
    'the validation part of Amazon Baby and on no other data.'
)
ABOUT_TABLES = (
    'Mean ± standard deviation over the seeds; options and epoch by validation. *p*: paired t-test '
    f'over users on NDCG@20, mean of the seeds that both have, against {BASELINE}; the sign tells '
    'who is better. It takes the trained models as given: their seeds show in ±. *s*: of training '
    'an epoch on one thread, median of the runs, two processes at a time on a machine of two '
    'cores. *MB*: peak of the whole process. *Epoch*: the best; with an asterisk, some run was '
    'stopped by the limit of epochs.'
)
LEVEL = 0.01
ABOUT_CLAIMS = (
    'Each claim of MM-GEF (arXiv 2308.07222) as a comparison of two rows over the same seeds: the '
    'difference of their means, and a paired t-test over users on NDCG@20, corrected for the '
    'number of rows on this page (Holm). A row is decided where the corrected p is below '
    f'{LEVEL} and all seeds agree, at least three. Ablations change the one option and keep the '
    'learning rate and penalty that were chosen for the whole model, which favours it. Cold items: '
    'the options are those of the search on all items, whose validation part holds a tenth of the '
    'interactions that the cold test ranks.'
)
SHOWN = ('recall@20', 'ndcg@20')
Row: TypeAlias = tuple[str, str]
FULL: Row = ('MM-GEF', '')
# A claim, the row that should win, the one that should lose, and where.
CLAIMS: list[tuple[str, Row, Row, str, str]] = [
    ('It beats LightGCN', FULL, ('LightGCN', ''), 'warm', 'warm'),
    ('Early fusion beats late', FULL, ('MM-GEF', 'late-fusion'), 'warm', 'warm'),
    ('The co-interaction graph helps', FULL, ('MM-GEF', 'similar-only'), 'warm', 'warm'),
    ('The multimodal graph helps', FULL, ('MM-GEF', 'co-interacts-only'), 'warm', 'warm'),
    ('Soft attention beats the average', FULL, ('MM-GEF', 'average'), 'warm', 'warm'),
    ('Convolving beats depth 0', FULL, ('MM-GEF', 'depth-0'), 'warm', 'warm'),
    *(
        (f'Cold items gain over {name}', FULL, (name, ''), 'cold', 'cold among cold')
        for name in ('LightGCN', 'VBPR', 'LATTICE', 'FREEDOM')
    ),
]
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
        (docs / f'{name}.rst').write_text(page(name, own, root, docs))
        print(f'Wrote {docs / name}.rst')
    (docs / 'claims.rst').write_text(claims_page(runs))
    pages = ['reading'] if any(docs.glob('reading.*')) else []
    (docs / 'index.rst').write_text(index_page([*pages, 'claims', *names]))


def index_page(names: Sequence[str]) -> str:
    """Return the page that leads to the others."""
    tree = ['.. toctree::', '   :maxdepth: 1', '', *(f'   {name}' for name in names), '']
    return '\n'.join([MADE, '', *heading('Results', '='), *wrapped(PROTOCOL), *tree])


def claims_page(runs: Runs) -> str:
    """Return what the runs say of each claim of the paper."""
    cells, p_values, decided = [], [], []
    for claim, ours, theirs, condition, task in CLAIMS:
        for data, title in TITLES.items():
            pair = in_both(*(of(runs, data, condition, *side) for side in (ours, theirs)))
            if not pair[0] or not all(task in run['metrics'] for side in pair for run in side):
                continue
            differences = [
                [
                    a['metrics'][task][key] - b['metrics'][task][key]
                    for a, b in zip(*pair, strict=True)
                ]
                for key in SHOWN
            ]
            signs = {difference > 0 for difference in differences[1]}
            cells.append([claim, title, *(f'{statistics.mean(d):+.4f}' for d in differences)])
            p_values.append(p_of(pair[0], pair[1], task))
            if len(signs) > 1 or len(differences[1]) < 3:
                decided.append('')
            else:
                decided.append('confirmed' if signs == {True} else 'refuted')
    for row, p, verdict in zip(cells, holm(p_values), decided, strict=True):
        row += [p_text(p), (verdict if p < LEVEL else '') or 'undecided']
    header = ['claim', 'data', 'Recall@20', 'NDCG@20', 'p', f'at p < {LEVEL}']
    table = list_table(header, cells) if cells else []
    return '\n'.join(
        [MADE, '', *heading("The paper's claims", '='), *wrapped(ABOUT_CLAIMS), *table]
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.maximum.accumulate(factors * np.asarray(p_values)[order]).clip(max=1.0)
    return [float(p) for p in corrected[np.argsort(order)]]


def in_both(ours: Runs, theirs: Runs) -> tuple[Runs, Runs]:
    """Return the runs of the seeds that both have, in one order."""
    by_seed = [{run['seed']: run for run in runs} for runs in (ours, theirs)]
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    return [by_seed[0][seed] for seed in seeds], [by_seed[1][seed] for seed in seeds]


def of(runs: Runs, data: str, condition: str, contestant: str, variant: str) -> Runs:
    """Return the runs of one row of a table."""
    row = (data, condition, contestant, variant)
    keys = ('data', 'condition', 'contestant', 'variant')
    return [run for run in runs if tuple(run[key] for key in keys) == row]


def page(data: str, runs: Runs, root: Path, docs: Path) -> str:
    """Return the page of a data set."""
    lines = [MADE, '', *heading(TITLES[data], '='), *wrapped(ABOUT_TABLES)]
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
    lines += searches(root, data, dict.fromkeys(run['contestant'] for run in runs))
    if data in WHY_NOT_THE_SAME:
        lines += [*heading('Published numbers', '-'), *wrapped(WHY_NOT_THE_SAME[data])]
    return '\n'.join(lines) + '\n'


def by_condition(run: dict[str, Any]) -> tuple[int, str]:
    order = ('warm', 'cold', 'only', 'noise', 'fewer')
    return order.index(run['condition'].partition(':')[0]), run['condition']


def title_of(condition: str, task: str) -> str:
    kind, _, value = condition.partition(':')
    if kind in ('warm', 'cold'):
        return 'All items' if kind == 'warm' else f'A fifth of the items cold: {task}'
    if kind == 'only':
        return f'Only {value} features'
    share = f'{100 * float(value):.0f} %'
    if kind == 'noise':
        return f'{share} of the items with features of another'
    return f'{share} of the train interactions removed'


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
            f'{statistics.mean(run["epoch"] for run in runs):.0f}'
            + '*' * any(len(run['curve']) * 5 >= run['epochs'] for run in runs),
            f'{statistics.median(run["seconds_per_epoch"] for run in runs):.2f}',
            f'{statistics.mean(run["MiB"] for run in runs) * 1.048576:.0f}',
        ]
        if published:
            row.append(' / '.join(f'{value:.4f}'.lstrip('0') for value in published.get(name, ())))
        cells.append(row)
    missing = [name for name in published if name not in rows]
    for name in missing:
        blanks = [''] * (len(header) - 3)
        numbers = ' / '.join(f'{value:.4f}'.lstrip('0') for value in published[name])
        cells.append([name, 'not run', *blanks, numbers])
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
        rows = groups(sorted(own, key=lambda run: run['variant'] != ''), 'variant')
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
        lines += wrapped('Here *p* is against the first row.')
        lines += list_table(['', *METRICS, 'validation', 'p', 'α'], cells)
    return lines


def searches(root: Path, data: str, names: Iterable[str]) -> list[str]:
    """Return a table of what the searches chose."""
    cells = []
    for name in sorted(names, key=list(CONTESTANTS).index):
        found = read_search(root, data, name)
        if found['trials']:
            chosen = ', '.join(f'{key} {value}' for key, value in found['chosen'].items())
            cells.append([name, str(found['trials']), chosen, f'{found["val_recall@20"]:.4f}'])
    header = ['', 'trials', 'chosen', 'validation Recall@20']
    return [*heading('What the searches chose', '-'), *list_table(header, cells)] if cells else []


def wrapped(text: str) -> list[str]:
    return [*textwrap.wrap(text, 120), '']


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
    runs, baseline = in_both(runs, baseline)
    if not runs:
        return ''
    better = mean(runs, task, 'ndcg@20') > mean(baseline, task, 'ndcg@20')
    return f'{"+" if better else "-"} {p_text(p_of(runs, baseline, task))}'


def p_of(runs: Runs, baseline: Runs, task: str) -> float:
    """Return the p-value of a paired t-test over users."""
    ours, theirs = per_user(runs, task), per_user(baseline, task)
    return float(ttest_rel(ours, theirs).pvalue) if (ours != theirs).any() else 1.0


def p_text(p: float) -> str:
    return f'{p:.3f}' if p >= 0.001 else '< .001'


def per_user(runs: Runs, task: str) -> np.ndarray:
    values, users = [], []
    for run in runs:
        with np.load(run['path'].with_suffix('.npz'), allow_pickle=False) as arrays:
            values.append(arrays[f'{task}, ndcg@20'])
            users.append(arrays[f'{task}, users'])
    if not all(np.array_equal(ids, users[0]) for ids in users):
        raise SystemExit(f'the runs beside {runs[0]["path"]} ranked for other users')
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
