"""Tables and plots of all runs there are, as pages of the documentation."""

import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import pyplot
from experiments.claims import claims_page
from experiments.contestants import CONTESTANTS
from experiments.published import PUBLISHED, WHY_NOT_THE_SAME
from experiments.rst import MADE, heading, list_table, wrapped
from experiments.runs import ANEW, read_runs, read_search
from experiments.shops import LACKING
from experiments.stats import Runs, is_cut, mean, mean_of, p_value, spread

from pyg_mmgef.files import write_atomically

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
    'interaction. Options and epoch are those that rank warm items best, as validation holds no '
    'others. Equal scores rank by number: a model that knows nothing of cold items shows what '
    'chance and numbering give.',
    'cold among all': 'The same interactions, ranked among all items but those that the user is '
    'known to have from other parts.',
}
CHANGES = {
    'only': ('Only some of the features', 'Test NDCG@20 with one modality alone.'),
    'noise': (
        'Items with the features of another',
        'Test NDCG@20 where this share of the items swapped all their features among each other, '
        'with the options of the search without noise.',
    ),
    'fewer': (
        'Train interactions removed',
        "Test NDCG@20 without this share of the train interactions, but never without a user's "
        'last. What is removed is not ranked either.',
    ),
}
PROTOCOL = (
    'Models under one protocol: the same splits, batches of 2,048 triplets, Adam, a search '
    'on validation alone for every model that has something to choose, with the number of trials '
    'that the page names, stopping when Recall@20 of validation has not improved for 30 epochs or '
    'at a limit that the page names, and test read once for each seed. All of it is made by '
    '``python benchmarks/experiments``. "MM-GEF" is as in the paper; "MM-GEF, preset" is '
    '``pyg_mmgef.presets.MERGED`` as it is, which was chosen by hand on the validation part of '
    'Amazon Baby and on no other data; "MM-GEF, merged" is the same model with a search like all '
    'others, for learning rate, penalty and edge dropout. These two have 128 channels, all others '
    '64.'
)
ABOUT_TABLES = (
    'Mean ± standard deviation over the seeds; options and epoch by validation, at most {epochs} '
    'epochs. {p}*s*: of training an epoch on {threads}, median of the runs. *MB*: peak of the '
    'whole process. *Epoch*: the best; with an asterisk, some run was stopped by the limit of '
    'epochs while it might still have improved. n/a: the model needs what the data lacks.'
)
ABOUT_P = (
    f'*p*: paired t-test over users on NDCG@20, mean over the seeds, against {BASELINE}, not '
    'corrected for the number of rows; the sign tells who is better. It takes the trained models '
    'as given: their seeds show in ±. '
)


def write_tables(root: Path, docs: Path) -> None:
    """Write a page for each data set that there are runs of, and those on all data."""
    runs = [run for run in read_runs(root) if run['contestant'] in CONTESTANTS]
    check_alike(runs)
    if not runs:
        raise SystemExit(f'there are no runs in {root}; make some with "run"')
    there = {name: own for name in TITLES if (own := [run for run in runs if run['data'] == name])}
    docs.mkdir(parents=True, exist_ok=True)
    for name, own in there.items():
        write_page(docs / f'{name}.rst', page(name, own, root, docs))
    write_page(docs / 'claims.rst', claims_page(runs, TITLES))
    pages = ['reading'] if any(docs.glob('reading.*')) else []
    write_page(docs / 'index.rst', index_page([*pages, 'claims', *there]))


def write_page(path: Path, text: str) -> None:
    """Write a page, but not over one that was made otherwise."""
    if path.exists() and not path.read_text().startswith(MADE):
        raise SystemExit(f'{path} is no page of results; give another folder with --docs')
    write_atomically(path, text.encode())
    print(f'Wrote {path}')


def check_alike(runs: Runs) -> None:
    """Raise SystemExit where a row would mix options, or a variant change more than it says.

    Nor may a run have options that there aren't any more.
    """
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for run in sorted(runs, key=lambda run: run['variant']):  # The plain runs first.
        contestant = CONTESTANTS[run['contestant']]
        change = contestant.variants.get(run['variant'], {})
        old = set(run['options']) - {*contestant.options, *contestant.space, *change}
        if old:
            raise SystemExit(
                f'{run["path"]} was run with {", ".join(sorted(old))}, which {run["contestant"]} '
                f'no longer takes; {ANEW}'
            )
        row = (run['data'], run['condition'], run['contestant'])
        first = rows.setdefault((*row, run['variant']), run)
        expected = first['options']
        plain = rows.get((*row, ''))
        if plain and run['variant']:
            expected = json.loads(json.dumps({**plain['options'], **change}))
        if (run['options'], run['epochs']) != (expected, (plain or first)['epochs']):
            raise SystemExit(
                f'{run["path"]} was run with options {run["options"]} and {run["epochs"]} epochs, '
                f'and not with {expected} and {(plain or first)["epochs"]} as the row that it '
                f'belongs to; {ANEW}'
            )


def index_page(names: Sequence[str]) -> str:
    """Return the page that leads to the others."""
    tree = ['.. toctree::', '   :maxdepth: 1', '', *(f'   {name}' for name in names), '']
    return '\n'.join([MADE, '', *heading('Results', '='), *wrapped(PROTOCOL), *tree])


def page(data: str, runs: Runs, root: Path, docs: Path) -> str:
    """Return the page of a data set."""
    threads = ' or '.join(f'{n} threads' for n in sorted({run.get('threads', 1) for run in runs}))
    about = ABOUT_TABLES.format(
        epochs=' or '.join(str(n) for n in sorted({run['epochs'] for run in runs})),
        p=ABOUT_P if any(run['contestant'] == BASELINE for run in runs) else '',
        threads=threads.replace('1 threads', 'one thread'),
    )
    lines = [MADE, '', *heading(TITLES[data], '='), *wrapped(about)]
    for condition in ('warm', 'cold'):
        here = [run for run in runs if run['condition'] == condition]
        models = [run for run in here if not run['variant']]
        for task in TASKS:
            rows = groups((run for run in models if task in run['metrics']), 'contestant')
            if rows:
                lines += heading(title_of(condition, task), '-')
                lines += [*wrapped(TASKS[task]), *table(data, condition, task, rows)]
        if condition == 'warm':
            lines += [*plot(data, groups(models, 'contestant'), docs), *ablations(here)]
    lines += changes(data, runs, docs)
    lines += searches(root, data, dict.fromkeys(run['contestant'] for run in runs))
    if data in WHY_NOT_THE_SAME:
        lines += [*heading('Published numbers', '-'), *wrapped(WHY_NOT_THE_SAME[data])]
    return '\n'.join(lines) + '\n'


def title_of(condition: str, task: str) -> str:
    return 'All items' if condition == 'warm' else f'A fifth of the items cold: {task}'


def groups(runs: Iterable[dict[str, Any]], key: str) -> dict[str, Runs]:
    """Return the runs by a key, in the order of the contestants."""
    out: dict[str, Runs] = {}
    for run in runs:
        out.setdefault(run[key], []).append(run)
    order = list(CONTESTANTS)
    return dict(sorted(out.items(), key=lambda item: order.index(item[1][0]['contestant'])))


def table(data: str, condition: str, task: str, rows: dict[str, Runs]) -> list[str]:
    published = PUBLISHED.get(data, {}) if (condition, task) == ('warm', 'warm') else {}
    baseline = rows.get(BASELINE)
    header = ['', *METRICS, *(['p'] if baseline else []), 'seeds', 'epoch', 's', 'MB']
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
        if baseline:
            row.append(p_value(runs, baseline, task))
        row += [
            str(len(runs)),
            f'{statistics.mean(run["epoch"] for run in runs):.0f}' + '*' * any(map(is_cut, runs)),
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
        why = 'n/a' if CONTESTANTS[name].needs in LACKING.get(data, ()) else 'not run'
        cells.append([name, why, *blanks, numbers])
    return list_table(header, cells)


def changes(data: str, runs: Runs, docs: Path) -> list[str]:
    """Return a table for each kind of change of what is trained on, and draw those by a share."""
    lines: list[str] = []
    for kind, (title, about) in CHANGES.items():
        models = [run for run in runs if not run['variant']]
        found = {run['condition'] for run in models if run['condition'].startswith(f'{kind}:')}
        if not found:
            continue
        conditions = ['warm', *sorted(found)]  # As text: all shares begin with '0.'.
        rows = {
            name: [
                [run for run in own if run['condition'] == condition] for condition in conditions
            ]
            for name, own in groups(models, 'contestant').items()
            if found & {run['condition'] for run in own}
        }
        values = [condition.partition(':')[2] for condition in conditions[1:]]
        columns = ['all', *values] if kind == 'only' else map(percent, ['0', *values])
        cells = [[name, *(cell(own, 'ndcg@20') for own in row)] for name, row in rows.items()]
        lines += [*heading(title, '-'), *wrapped(about), *list_table(['', *columns], cells)]
        if kind != 'only':
            lines += plot_shares(f'{data}_{kind}', [0.0, *map(float, values)], rows, title, docs)
    return lines


def percent(share: str) -> str:
    return f'{100 * float(share):.0f} %'


def cell(runs: Runs, metric: str) -> str:
    """Return mean and spread, or nothing where there are no runs."""
    if not runs:
        return ''
    return f'{mean(runs, "warm", metric):.4f} ± {spread(runs, "warm", metric)}'.lstrip('0')


def plot_shares(
    name: str, shares: Sequence[float], rows: dict[str, list[Runs]], title: str, docs: Path
) -> list[str]:
    """Draw NDCG@20 over the share that was changed, and return the lines that show it."""
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
    return image(figure, docs / f'{name}.png', f'NDCG@20, {title.lower()}')


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
                *(cell(r, metric) for metric in METRICS),
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
    for condition, name in itertools.product(
        ('warm', 'cold'), sorted(names, key=list(CONTESTANTS).index)
    ):
        found = read_search(root, data, condition, name)
        if found['trials']:
            chosen = ', '.join(f'{key} {value}' for key, value in found['chosen'].items())
            best = f'{found["val_recall@20"]:.4f}'.lstrip('0')
            cells.append([condition, name, str(found['trials']), chosen, best])
    header = ['', '', 'trials', 'chosen', 'validation Recall@20']
    return [*heading('What the searches chose', '-'), *list_table(header, cells)] if cells else []


def plot(data: str, rows: dict[str, Runs], docs: Path) -> list[str]:
    """Draw Recall@20 of all models, and return the lines that show it."""
    size = (6.5, 0.6 + 0.28 * len(rows))
    figure, axis = pyplot().subplots(figsize=size, layout='constrained')
    means = [mean(runs, 'warm', 'recall@20') for runs in rows.values()]
    errors = [float(spread(runs, 'warm', 'recall@20').replace('?', '0')) for runs in rows.values()]
    axis.barh(list(rows), means, xerr=errors)
    axis.invert_yaxis()
    axis.set(xlabel='test Recall@20')
    return image(figure, docs / f'{data}.png', 'Recall@20 of all models')


def image(figure: Any, path: Path, alt: str) -> list[str]:
    """Write a figure, and return the lines that show it."""
    figure.savefig(path, dpi=120)
    pyplot().close(figure)
    return [f'.. image:: {path.name}', f'   :alt: {alt}', '']
