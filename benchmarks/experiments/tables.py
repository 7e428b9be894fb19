"""Tables and plots of all runs there are, as pages of the documentation."""

import itertools
import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from experiments.answers import about_best, about_changes, about_variants, difference, ranked
from experiments.claims import claims_page, judged
from experiments.contestants import CONTESTANTS
from experiments.figures import decimal, plus_minus, share
from experiments.plots import plot_models, plot_shares
from experiments.published import PUBLISHED, WHY_NOT_THE_SAME
from experiments.reading import reading_page
from experiments.rst import MADE, heading, link, list_table, note, wrapped, write_page
from experiments.runs import ANEW, read_runs, read_search
from experiments.shops import LACKING
from experiments.stats import Runs, is_cut, mean, values

__all__ = ['write_tables']

BASELINE = 'MM-GEF'
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
    'cold among all': 'The same interactions, ranked among all items but those that the user is '
    'known to have from other parts.',
}
OLDER_RULE = (
    '**Figures of cold items on this page follow an older rule.** Each model ranks a cold item by '
    'the embedding that the model itself has for it (``content_map=None``), equal scores rank by '
    'the number of the item, and all seeds share one split. A model that knows nothing of cold '
    'items shows what chance and numbering give. Today, cold items of every model have the '
    'embedding that a ridge regression makes of their features, equal scores are in random order, '
    'and each seed has its own split: {best} has those figures, and the present default.'
).format(best=link('Who ranks best', '../best.rst'))
CHANGES = {
    'only': (
        'Only some of the features',
        'with {} alone',
        'Test NDCG@20 with one modality alone.',
    ),
    'noise': (
        'Items with the features of another',
        'with the features of {} of the items swapped',
        'Test NDCG@20 where this share of the items swapped all their features among each other, '
        'with the options of the search without noise.',
    ),
    'fewer': (
        'Train interactions removed',
        'without {} of the train interactions',
        "Test NDCG@20 without this share of the train interactions, but never without a user's "
        'last. What is removed is not ranked either.',
    ),
}
ABOUT_MODELS = (
    '"MM-GEF" is the model of the paper, with our reading of what it leaves open. "MM-GEF, preset" '
    'is ``pyg_mmgef.presets.MERGED`` as it is, which was chosen by hand on the validation part of '
    'Amazon Baby and on no other data. "MM-GEF, merged" is the same model with a search for '
    'learning rate, penalty and edge dropout. These two have 128 channels, all others 64.'
)
PROTOCOL = (
    'All models meet under one protocol: the same splits, batches of 2,048 triplets, Adam. A '
    'search on validation alone chooses the options of every model that has some; each page names '
    'the trials. Training stops when Recall@20 of validation has not improved for 30 epochs, or at '
    'the limit of epochs that the page names. Test is read once for each seed. '
    '``python benchmarks/experiments`` makes all of it, and the runs are kept in '
    '``docs/results/runs``.'
)
ABOUT_TABLES = (
    'Figures are of test, mean ± standard deviation over the seeds; options and epoch are chosen '
    'on validation, with at most {epochs} epochs.{gain} n/a: the model needs what the data lacks.'
)
ABOUT_GAIN = (
    f' The gain over {BASELINE} is one of NDCG@20. Its p-value has the spread over users and over '
    'seeds of both models in its error (Welch), and is not corrected for the number of rows; one '
    'seed has no spread, so there is no p-value.'
)
ABOUT_COST = (
    '*Epoch* is the best one; an asterisk: the limit of epochs stopped some run while it might '
    'still have improved. *Seconds* are of training an epoch on {threads}, median of the runs; '
    'other programs ran beside, so they are upper bounds. *MB* is the peak of the whole process.'
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
    verdicts = judged(runs, TITLES)
    write_page(docs / 'claims.rst', claims_page(verdicts))
    write_page(docs / 'index.rst', index_page(there))
    if there.keys() == TITLES.keys():  # It speaks of all of them.
        write_page(docs / 'reading.md', reading_page(runs, verdicts, TITLES, root))


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


def index_page(there: Mapping[str, Runs]) -> str:
    """Return the page that leads to the others."""
    cells = []
    for data, runs in there.items():
        row = [link(TITLES[data], f'{data}.rst')]
        for condition, task in (('warm', 'warm'), ('cold', 'cold among cold')):
            rows = models(runs, condition, task)
            order = ranked(rows, task)[:1]
            row += [f'{name}: {_ndcg(rows[name], task)}' for name in order] or ['']
            if task == 'warm':
                row.append(_ndcg(rows[BASELINE], task) if BASELINE in rows else 'n/a')
        cells.append(row)
    header = ['data', 'best, NDCG@20', BASELINE, 'best of cold items (older rule)']
    pages = ['reading', 'claims'] if there.keys() == TITLES.keys() else ['claims']
    tree = ['.. toctree::', '   :hidden:', '', *(f'   {name}' for name in [*pages, *there]), '']
    more = {
        'reading': f'{link("What holds", "reading.md")} sums up what helps and what does not.',
        'claims': f'{link("The claims of the paper", "claims.rst")} are tested one by one.',
        'best': f'{link("Who ranks best", "../best.rst")} has the present default, and cold items '
        'by the present rule.',
    }
    return '\n'.join(
        [
            *[MADE, '', *heading('Results', '=')],
            *wrapped(
                'Recommenders under one protocol. Which model ranks best depends on the data; how '
                'much of a lead is chance, each page says.'
            ),
            *list_table(header, cells),
            *itertools.chain.from_iterable(wrapped(more[name]) for name in [*pages, 'best']),
            *wrapped(ABOUT_MODELS),
            *[*heading('How it was measured', '-'), *wrapped(PROTOCOL), *note(OLDER_RULE), *tree],
        ]
    )


def page(data: str, runs: Runs, root: Path, docs: Path) -> str:
    """Return the page of a data set: what came out, the tables, and how it was measured."""
    lines = [MADE, '', *heading(TITLES[data], '=')]
    warm, cold = models(runs, 'warm', 'warm'), models(runs, 'cold', 'cold among cold')
    if warm:
        lines += wrapped(about_best(warm, 'warm'))
    if cold:
        text = about_best(cold, 'cold among cold')
        lines += wrapped(f'Cold items, by an older rule that is explained below: {text}')
    for condition, task in itertools.product(('warm', 'cold'), TASKS):
        rows = models(runs, condition, task)
        if rows:
            lines += heading(title_of(condition, task), '-')
            lines += note(OLDER_RULE) if task.startswith('cold') else []
            lines += [*wrapped(TASKS[task]), *table(data, condition, task, rows)]
        if rows and condition == 'warm':
            lines += plot_models(data, rows, docs)
    lines += ablations([run for run in runs if run['condition'] == 'warm'])
    lines += changes(data, runs, docs)
    lines += [*heading('How it was measured', '-'), *wrapped(about_tables(runs))]
    if data in WHY_NOT_THE_SAME:
        lines += wrapped(WHY_NOT_THE_SAME[data])
    lines += [*searches(root, data, dict.fromkeys(run['contestant'] for run in runs))]
    return '\n'.join([*lines, *costs(runs)]) + '\n'


def models(runs: Runs, condition: str, task: str) -> dict[str, Runs]:
    """Return the rows of a table."""
    return groups(
        (
            run
            for run in runs
            if run['condition'] == condition and not run['variant'] and task in run['metrics']
        ),
        'contestant',
    )


def about_tables(runs: Runs) -> str:
    has_baseline = any(run['contestant'] == BASELINE for run in runs)
    limits = ' or '.join(str(n) for n in sorted({run['epochs'] for run in runs}))
    return ABOUT_TABLES.format(epochs=limits, gain=ABOUT_GAIN if has_baseline else '')


def title_of(condition: str, task: str) -> str:
    kind = 'All items' if condition == 'warm' else 'A fifth of the items cold'
    return kind if condition == task else f'{kind}: {"warm items" if task == "warm" else task}'


def groups(runs: Iterable[dict[str, Any]], key: str) -> dict[str, Runs]:
    """Return the runs by a key, in the order of the contestants."""
    out: dict[str, Runs] = {}
    for run in runs:
        out.setdefault(run[key], []).append(run)
    order = list(CONTESTANTS)
    return dict(sorted(out.items(), key=lambda item: order.index(item[1][0]['contestant'])))


def table(data: str, condition: str, task: str, rows: dict[str, Runs]) -> list[str]:
    """Return the main figures of the models, the best first."""
    published = PUBLISHED.get(data, {}) if (condition, task) == ('warm', 'warm') else {}
    baseline = rows.get(BASELINE)
    header = ['', 'NDCG@20', 'Recall@20', *([f'over {BASELINE}'] if baseline else []), 'seeds']
    if published:
        header.append('published, NDCG / Recall')
    best = {metric: ranked(rows, task, metric)[0] for metric in ('ndcg@20', 'recall@20')}
    cells = []
    for name in ranked(rows, task):
        runs = rows[name]
        row = [name]
        for metric, first in best.items():
            text = plus_minus(values(runs, task, metric))
            row.append(f'**{text}**' if name == first else text)
        if baseline:
            row.append('' if runs is baseline else difference(runs, baseline, task))
        row.append(str(len(runs)))
        cells.append([*row, pair(published.get(name))] if published else row)
    for name in [name for name in published if name not in rows]:
        why = 'n/a' if CONTESTANTS[name].needs in LACKING.get(data, ()) else 'not run'
        cells.append([name, why, *[''] * (len(header) - 3), pair(published[name])])
    return list_table(header, cells)


def pair(published: tuple[float, float] | None) -> str:
    """Return published figures in the order of the columns: NDCG@20, then Recall@20."""
    return ' / '.join(map(decimal, published[::-1])) if published else ''


def costs(runs: Runs) -> list[str]:
    """Return the other cut-off, the epochs and what training cost."""
    threads = ' or '.join(f'{n} threads' for n in sorted({run.get('threads', 1) for run in runs}))
    about = ABOUT_COST.format(threads=threads.replace('1 threads', 'one thread'))
    lines = [*heading('Ranked to 10, epochs and cost', '-'), *wrapped(about)]
    for condition, task in itertools.product(('warm', 'cold'), TASKS):
        rows = models(runs, condition, task)
        cells = [
            [
                name,
                plus_minus(values(rows[name], task, 'ndcg@10')),
                plus_minus(values(rows[name], task, 'recall@10')),
                epochs_of(rows[name]),
                f'{statistics.median(run["seconds_per_epoch"] for run in rows[name]):.2f}',
                f'{statistics.mean(run["MiB"] for run in rows[name]) * 1.048576:.0f}',
            ]
            for name in ranked(rows, task)
        ]
        if rows:
            lines += wrapped(f'{title_of(condition, task)}:')
            header = ['', 'NDCG@10', 'Recall@10', 'epoch', 'seconds', 'MB']
            lines += list_table(header, cells)
    return lines


def epochs_of(runs: Runs) -> str:
    mark = '*' * any(map(is_cut, runs))
    return f'{statistics.mean(run["epoch"] for run in runs):.0f}' + mark


def changes(data: str, runs: Runs, docs: Path) -> list[str]:
    """Return a table for each kind of change of what is trained on, and draw those by a share."""
    lines: list[str] = []
    for kind, (title, how, about) in CHANGES.items():
        plain = [run for run in runs if not run['variant']]
        found = {run['condition'] for run in plain if run['condition'].startswith(f'{kind}:')}
        if not found:
            continue
        conditions = ['warm', *sorted(found)]  # As text: all shares begin with '0.'.
        rows = {
            name: [
                [run for run in own if run['condition'] == condition] for condition in conditions
            ]
            for name, own in groups(plain, 'contestant').items()
            if found & {run['condition'] for run in own}
        }
        names = [condition.partition(':')[2] for condition in conditions[1:]]
        columns = ['all', *names] if kind == 'only' else [share(float(n)) for n in ('0', *names)]
        cells = [[name, *(_ndcg(own, 'warm') for own in row)] for name, row in rows.items()]
        lines += heading(title, '-')
        for n in range(1, len(columns)) if kind == 'only' else [len(columns) - 1]:
            lines += wrapped(about_changes(rows, n, how.format(columns[n])))
        lines += [*wrapped(about), *list_table(['', *columns], cells)]
        if kind != 'only':
            lines += plot_shares(f'{data}_{kind}', [0.0, *map(float, names)], rows, title, docs)
    return lines


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
                f'``{variant}``' if variant else name,
                _ndcg(r, 'warm'),
                plus_minus(values(r, 'warm', 'recall@20')),
                difference(r, plain, 'warm') if variant and plain else '',
                decimal(statistics.mean(run['val_recall@20'] for run in r)),
                alpha(r),
            ]
            for variant, r in sorted(rows.items(), key=lambda row: (row[0] != '', *_rank(row[1])))
        ]
        lines += heading(f'Ablations of {name}', '-')
        lines += wrapped(about_variants(name, rows, 'warm')) if plain else []
        header = ['', 'NDCG@20', 'Recall@20', f'over {name}', 'validation Recall@20', 'α']
        lines += list_table(header, cells)
    return lines


def _rank(runs: Runs) -> tuple[float]:
    return (-mean(runs, 'warm', 'ndcg@20'),)


def alpha(runs: Runs) -> str:
    """Return the mean attention over the item graphs, of models that have one."""
    if not all(run['alpha'] for run in runs):
        return ''
    return ', '.join(decimal(value, 2) for value in np.mean([r['alpha'] for r in runs], axis=0))


def searches(root: Path, data: str, names: Iterable[str]) -> list[str]:
    """Return a table of what the searches chose."""
    cells = []
    for condition, name in itertools.product(
        ('warm', 'cold'), sorted(names, key=list(CONTESTANTS).index)
    ):
        found = read_search(root, data, condition, name)
        if found['trials']:
            chosen = ', '.join(f'{key} {value}' for key, value in found['chosen'].items())
            best = decimal(found['val_recall@20'])
            cells.append([name, condition, str(found['trials']), chosen, best])
    if not cells:
        return []
    header = ['', 'split', 'trials', 'chosen', 'validation Recall@20']
    return [*heading('What the searches chose', '-'), *list_table(header, cells)]


def _ndcg(runs: Runs, task: str) -> str:
    """Return mean and spread of NDCG@20, or nothing where there are no runs."""
    return plus_minus(values(runs, task, 'ndcg@20')) if runs else ''
