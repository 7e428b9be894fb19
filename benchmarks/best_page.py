"""The page that says who ranks best, made of the rows of ``best.py``."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import kept
import numpy as np
from common import pyplot
from experiments.figures import decimal, gain, p_text, plus_minus, share
from experiments.rst import heading, list_table, wrapped, write_page
from experiments.stats import LEVEL
from scipy.stats import ttest_1samp

__all__ = ['CONTESTANTS', 'grouped', 'page', 'read', 'write']

Rows: TypeAlias = list[dict[str, Any]]
Figure: TypeAlias = Callable[[dict[str, Any]], float]

CONTESTANTS = (
    *('Popularity', 'ContentCentroid', 'ItemKNN', 'EASE', 'CEASE', 'IALS', 'LightGCN'),
    *('MM-GEF, paper', 'MM-GEF, item dropout', 'MM-GEF, merged', 'default'),
)
DEFAULT = 'ContentIALS, the default'
TITLES = {
    'shop': 'The synthetic shop',
    'ml100k': 'MovieLens 100K',
    'lfm2k': 'LFM-2k',
    'tiktok': 'TikTok',
    'baby': 'Amazon Baby',
}
# Models that read feature vectors, which Amazon Baby lacks.
FOR_FEATURES = ('ContentCentroid', 'CEASE', 'MM-GEF, paper', 'MM-GEF, item dropout')
SEEDS = 3
MADE = '.. Made by benchmarks/best.py from its rows; do not edit.'
COLD, WARM = 'cold among cold', 'warm among all'
ABOUT = (
    '``python benchmarks/best.py`` chooses the options of each row on warm validation and reads '
    'test once. The rows are kept in ``docs/best``. Figures are of test, mean ± standard deviation '
    'over the seeds.',
    '**Splits.** A fifth of the items is cold: half of their interactions are for validation, half '
    'for test. The warm interactions are split 8:1:1. Each seed makes both anew. TikTok and Amazon '
    "Baby also have their given split, where the closed forms don't depend on the seed and are run "
    'once. Amazon Baby has no other, as its raw features are not published with its graphs.',
    '**Features** are those of the small encoders that need no download for the shop and '
    'MovieLens, MiniLM and VGGish vectors for LFM-2k, and the published ones for TikTok.',
    "**Options.** EASE's penalty is chosen among four values, CEASE's penalty and weight of the "
    "features among nine pairs, IALS's and the default's penalty and weight of pairs that never "
    "met among nine pairs, ItemKNN's among four, and the learning rate of what is trained among "
    "two. The ranges of the default's grid, its weights of content and co-interactions, and the "
    'exponent of its penalty were settled in sight of one seed of these data sets, the first two '
    'of test results too. How many interactions its content counts as, and the share of content in '
    'the histories that cold items are ranked by, were chosen on validation, cold items included. '
    'So its lead is an upper bound of what to expect on other data.',
    '**Cold items** have the embedding that a ridge regression makes of their features, in every '
    "model; the default adapts it to its users. ItemKNN's embeddings are sparse, so it ranks cold "
    'items by chance. Equal scores are in random order.',
    '**Rankings.** *Warm* items are ranked among all, where cold ones score zero. *Cold* items are '
    'ranked among each other. *Together*, all items are ranked among all. There the embeddings of '
    'cold items have a factor, chosen for the harmonic mean of the recall of warm and of cold '
    'items on the validation interactions of both.',
    '**Leads** are of NDCG@20, between two rows with the same seeds. The p-value is that of a '
    "t-test over the seeds' differences; with three seeds it is small only where all agree.",
    '**CPU seconds** are those of all trials of a choice together, in one thread; other programs '
    'ran beside. Where there are none, they were not measured.',
)


CAUTION = (
    'The default was tuned in sight of some of these data, so its lead is an upper bound of what '
    'to expect on others. How it was measured stands below.'
)


def write(root: Path, docs: Path) -> None:
    """Write the page and its plots."""
    rows = read(root)
    if not rows:
        raise SystemExit(f'there are no rows in {root}; make some with "run"')
    path = root / 'earlier.json'
    earlier = json.loads(path.read_text()) if path.exists() else []
    write_page(docs / 'best.rst', page(rows, earlier, docs))


def read(root: Path) -> Rows:
    """Return the rows that a folder keeps, but for models that don't fit the data."""
    return [row for _, row in kept.read_all(root) if row.get('rankings') or row.get('warm')]


def page(rows: Rows, earlier: Rows, docs: Path) -> str:
    """Return the page: who ranks best, the tables, and how it was measured."""
    groups = grouped(rows)
    lines = [MADE, '', *heading('Who ranks best', '='), *answer(groups)]
    for (data, cold), own in groups.items():
        kind = 'a fifth of the items cold' if cold else 'the given split'
        lines += heading(f'{TITLES[data]}, {kind}', '-')
        lines += [*(cold_tables(own) if cold else given_table(own)), *missing(data, own, cold)]
    lines += [*room(groups, docs), *earlier_table(rows, earlier)]
    lines += heading('How it was measured', '-')
    for text in ABOUT:
        lines += wrapped(text)
    return '\n'.join(lines)


def grouped(rows: Rows) -> dict[tuple[str, bool], dict[str, Rows]]:
    """Return the rows by their split, a data set and whether it has cold items, and shown name."""
    return {
        (data, cold): of
        for data in TITLES
        for cold in (True, False)
        if (of := by_contestant(rows, data, cold))
    }


def by_contestant(rows: Rows, data: str, cold: bool) -> dict[str, Rows]:
    """Return the rows of a split by their shown names."""
    of = [row for row in rows if (row['data'], row['cold']) == (data, cold)]
    found = {name: [row for row in of if row['contestant'] == name] for name in CONTESTANTS}
    return {shown(name): own for name, own in found.items() if own}


def shown(contestant: str) -> str:
    return DEFAULT if contestant == 'default' else contestant


def figure(task: str, metric: str = 'ndcg@20') -> Figure:
    """Return what reads a figure of a row; on a given split there is only one ranking."""

    def read(row: dict[str, Any]) -> float:
        ranking = row['rankings'][task] if row['cold'] else row['warm']
        return ranking[metric]

    return read


def at_the_scale(task: str, key: str = 'at the scale') -> Figure:
    return lambda row: row[key][task]['recall@20']


def cell(rows: Rows, of: Figure) -> str:
    return plus_minus([of(row) for row in rows])


def mean(rows: Rows, of: Figure) -> float:
    return statistics.mean(map(of, rows))


def ranked(own: Mapping[str, Rows], of: Figure) -> list[str]:
    """Return the names, the best first; those with fewer seeds come last where splits differ."""
    most = max(map(len, own.values()))

    def key(name: str) -> tuple[bool, float]:
        rows = own[name]
        return rows[0]['cold'] and len(rows) < most, -mean(rows, of)

    return sorted(own, key=key)


def answer(groups: Mapping[tuple[str, bool], dict[str, Rows]]) -> list[str]:
    """Return where the default is first, by how much, and where it isn't."""
    lines: list[str] = []
    for kind, task, keys in (
        ('warm', WARM, list(groups)),
        ('cold', COLD, [key for key in groups if key[1]]),
    ):
        firsts = [key for key in keys if ranked(groups[key], figure(task))[0] == DEFAULT]
        of = figure(task)
        text = f'**Among {kind} items, {DEFAULT}, is first in {len(firsts)} of {len(keys)} tables**'
        if firsts:
            leads = sorted(relative_lead(groups[key], of) for key in firsts)
            least_and_most = dict.fromkeys((share(leads[0]), share(leads[-1])))
            text += f', with {" to ".join(least_and_most)} more NDCG@20 than the next'
            clear = sum(is_clear(groups[key], of) for key in firsts)
            text += f'; {clear} of these leads exceed{"s" * (clear == 1)} the spread over seeds'
        text += '.'
        for key in [key for key in keys if key not in firsts]:
            text += f' On {named(key)}, {not_first(groups[key], of)}.'
        lines += wrapped(text)
    header = ['', 'items', 'first, NDCG@20', 'next', 'lead']
    cells = [
        [named(key), kind, *first_and_next(own, figure(task))]
        for key, own in groups.items()
        for kind, task in (('warm', WARM), ('cold', COLD))
        if key[1] or kind == 'warm'
    ]
    return [*lines, *list_table(header, cells), *wrapped(CAUTION)]


def named(key: tuple[str, bool]) -> str:
    data, cold = key
    name = TITLES[data].replace('The ', 'the ')
    return name if cold or data == 'baby' else f'{name}, given split'


def not_first(own: dict[str, Rows], of: Figure) -> str:
    """Return who is first in place of the default, and whether chance explains it."""
    first = ranked(own, of)[0]
    if DEFAULT not in own:
        return f'{first} is first, as the default was not run'
    return f'{first} is first; its lead over the default is {lead(own[first], own[DEFAULT], of)}'


def relative_lead(own: dict[str, Rows], of: Figure) -> float:
    """Return how much more the first has than the next; 0 where there is no other."""
    first, *others = ranked(own, of)
    return mean(own[first], of) / mean(own[others[0]], of) - 1 if others else 0.0


def first_and_next(own: dict[str, Rows], of: Figure) -> list[str]:
    first, *others = ranked(own, of)
    if not others:
        return [f'{first}: {cell(own[first], of)}', '', '']
    ahead = lead(own[first], own[others[0]], of)
    return [*(f'{name}: {cell(own[name], of)}' for name in (first, others[0])), ahead]


def differences(ours: Rows, theirs: Rows, of: Figure) -> list[float]:
    """Return the difference of two rows on each split that both were run on."""
    sides = [{row['seed']: of(row) for row in rows} for rows in (ours, theirs)]
    return [sides[0][seed] - sides[1][seed] for seed in sorted(sides[0].keys() & sides[1].keys())]


def p_of(changes: list[float]) -> float:
    """Return the p-value of a t-test over the seeds; of too few, or all alike, not a number."""
    return float(ttest_1samp(changes, 0.0).pvalue) if len(changes) >= SEEDS else math.nan


def lead(ours: Rows, theirs: Rows, of: Figure) -> str:
    """Return the mean difference over the seeds that both have, with its p-value."""
    changes = differences(ours, theirs, of)
    if not changes:
        return gain(mean(ours, of) - mean(theirs, of))
    text, p = gain(statistics.mean(changes)), p_of(changes)
    if len(changes) < SEEDS:
        return f'{text} ({len(changes)} seed{"s" * (len(changes) > 1)})'
    if math.isnan(p):
        return text
    return f'{text} ({p_text(p)}{"" if p < LEVEL else ", within the spread"})'


def is_clear(own: dict[str, Rows], of: Figure) -> bool:
    """Return whether the lead over the next is more than the spread over the seeds."""
    first, *others = ranked(own, of)
    return bool(others) and p_of(differences(own[first], own[others[0]], of)) < LEVEL


def cold_tables(own: dict[str, Rows]) -> list[str]:
    """Return a table of each kind of items by itself, and one of all together."""
    columns = [figure(task, metric) for task in (WARM, COLD) for metric in ('ndcg@20', 'recall@20')]
    best = [ranked(own, of)[0] for of in columns]
    cells = []
    for name in ranked(own, columns[0]):
        texts = [
            f'**{cell(own[name], of)}**' if name == first else cell(own[name], of)
            for of, first in zip(columns, best, strict=True)
        ]
        cells.append([name, *texts, str(len(own[name]))])
    header = ['', 'warm NDCG@20', 'warm Recall@20', 'cold NDCG@20', 'cold Recall@20', 'seeds']
    lines = list_table(header, cells)
    together = {name: rows for name, rows in own.items() if 'at the scale' in rows[0]}
    harmonic = at_the_scale('harmonic mean')
    cells = [
        [
            name,
            cell(together[name], harmonic),
            *(
                decimal(mean(together[name], at_the_scale(task)), 3)
                for task in (WARM, 'cold among all', 'overall')
            ),
            seconds(together[name]),
        ]
        for name in ranked(together, harmonic)
    ]
    header = ['', 'harmonic mean', 'warm', 'cold', 'overall', 'CPU seconds']
    together_now = wrapped('All items ranked together, Recall@20:')
    return [*lines, *together_now, *list_table(header, cells)]


def seconds(rows: Rows) -> str:
    """Return the CPU seconds of a choice, which other programs hardly change."""
    found = [row['CPU seconds of all trials'] for row in rows if 'CPU seconds of all trials' in row]
    return f'{statistics.mean(found):.0f}' if found else ''


def given_table(own: dict[str, Rows]) -> list[str]:
    columns = [figure('', metric) for metric in ('ndcg@20', 'recall@20')]
    cells = [
        [name, *(cell(own[name], of) for of in columns), seconds(own[name])]
        for name in ranked(own, columns[0])
    ]
    return list_table(['', 'NDCG@20', 'Recall@20', 'CPU seconds'], cells)


def missing(data: str, own: dict[str, Rows], cold: bool) -> list[str]:
    """Return which rows were not run (or not kept), or with fewer seeds than the others."""
    absent = [
        name
        for name in CONTESTANTS[:-1]
        if name not in own and not (data == 'baby' and name in FOR_FEATURES)
    ]
    few = [name for name, rows in own.items() if cold and len(rows) < SEEDS]
    text = f'No rows: {"; ".join(absent)}.' if absent else ''
    if few:
        text += f' Rows with fewer than {SEEDS} seeds: {"; ".join(few)}.'
    return wrapped(text.strip()) if text else []


def earlier_table(rows: Rows, earlier: Rows) -> list[str]:
    """Return the earlier figures of what has no rows, or of fewer seeds."""

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        return row['data'], row['cold'], row['contestant']

    there = Counter(map(place, rows))
    cells = [
        [
            named((row['data'], row['cold'])),
            f'{shown(row["contestant"])}, {row["seeds"]} seed{"s" * (row["seeds"] > 1)}',
            *row['warm'],
            *row.get('cold among cold', ['', '']),
        ]
        for row in earlier
        if there[place(row)] < row['seeds']
    ]
    if not cells:
        return []
    text = (
        'The same program made these figures before its rows were kept, and has not made them '
        'again. Here ± is divided by the number of seeds, above by one less. What has no rows and '
        'is not here was never run.'
    )
    header = ['', '', 'warm NDCG@20', 'warm Recall@20', 'cold NDCG@20', 'cold Recall@20']
    lines = [*heading('Earlier figures', '-'), *wrapped(text)]
    return [*lines, *list_table(header, cells)]


def room(groups: Mapping[tuple[str, bool], dict[str, Rows]], docs: Path) -> list[str]:
    """Return what cold items get among warm ones, by default and with more room."""
    found = {data: own for (data, cold), own in groups.items() if cold and DEFAULT in own}
    if not found:
        return []
    text = (
        '``choose_cold_scale`` of ``pyg_mmgef.ranking`` chooses the factor of cold embeddings on '
        'warm validation alone, so that warm items lose about 3 % there. This is what it gives '
        'on test, Recall@20 of the default with all items ranked among all. The curves show what '
        'more room costs.'
    )
    cells = []
    usual = 'at the usual scale'
    for data, own in found.items():
        rows = own[DEFAULT]
        warm, cold = (mean(rows, at_the_scale(task, usual)) for task in (WARM, 'cold among all'))
        lost = 1 - warm / mean(rows, figure(WARM, 'recall@20'))
        cells.append([TITLES[data], decimal(warm), f'{"−" if lost > 0 else "+"}{share(abs(lost))}'])
        cells[-1].append(decimal(cold))
    header = ['', 'warm', 'against no cold items', 'cold']
    lines = [*heading('Room for cold items', '-'), *wrapped(text), *list_table(header, cells)]
    for data, own in found.items():
        path = docs / 'images' / f'best_{data}.png'
        plot(path, own)
        alt = f'Recall@20 of warm against cold items among all, {TITLES[data]}'
        lines += [f'.. image:: images/{path.name}', f'   :alt: {alt}', '']
    return lines


def plot(path: Path, own: dict[str, Rows]) -> None:
    """Plot warm against cold recall among all items, over the scale of cold embeddings."""
    figure, axis = pyplot().subplots(figsize=(6, 4.2), layout='constrained')
    for name, rows in own.items():
        curves = [row['curve'] for row in rows if 'curve' in row]
        if curves:
            _, warm, cold = np.mean(curves, axis=0).T  # Of each scale.
            style = {'linewidth': 2.5, 'color': 'black'} if name == DEFAULT else {}
            axis.plot(cold, warm, label=name, **style)
    axis.set(xlabel='Recall@20 of cold items among all', ylabel='Recall@20 of warm items among all')
    axis.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot().close(figure)
