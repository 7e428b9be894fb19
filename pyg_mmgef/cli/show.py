"""Output of the commands: tables of datasets, runs, metrics and recommendations."""

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from pyg_mmgef._printable import shortened
from pyg_mmgef.cli.console import out

if TYPE_CHECKING:
    from pyg_mmgef.runs.compare import Comparison
    from pyg_mmgef.runs.dataset_folder import DatasetFolder
    from pyg_mmgef.runs.item_table import ItemTable
    from pyg_mmgef.runs.run_folder import RunFolder

__all__ = [
    'plain_table',
    'show_comparison',
    'show_dataset',
    'show_groups',
    'show_items',
    'show_metrics',
    'show_models',
    'show_run',
]

MOST_LISTED, LONGEST_TEXT = 10, 60


def show_dataset(dataset: 'DatasetFolder') -> None:
    """Print the counts of a dataset, what to look at, and the pictures that can't be used."""
    out.print(dataset.path, style='bold')
    table = plain_table('', '')
    for words, count in dataset.about['report'].items():
        if count:
            table.add_row(words, f'{count:,}')
    for name, about in dataset.about['modalities'].items():
        table.add_row(f'items with {name}', f'{about["items"]:,} ({about["channels"]} channels)')
    out.print(table)
    for note in dataset.about['notes']:
        out.print(note, style='yellow')
    for name, about in dataset.about['modalities'].items():
        unusable = about['unusable']
        for bad in unusable[:MOST_LISTED]:
            line = f'{name} of item {bad["item"]}: {bad["reason"]} ({bad["path"]})'
            out.print(line, style='dim')
        if len(unusable) > MOST_LISTED:
            out.print(f'... and {len(unusable) - MOST_LISTED} more in dataset.json', style='dim')


def show_run(run: 'RunFolder') -> None:
    """Print the metrics of a run, or the number of epochs if it isn't finished."""
    out.print(run.path, style='bold')
    out.print(f'model {run.settings.preset or run.settings.model}, seed {run.settings.seed}')
    metrics = run.metrics
    if metrics is None:
        epochs = len(run.history())
        out.print(f'not finished: {epochs} epochs; give the same "train" command to continue')
        return
    if metrics['epochs']:
        out.print(f'best epoch {metrics["best_epoch"] + 1} of {metrics["epochs"]}')
    else:
        own = {name: getattr(run.settings, name) for name in ('l2', 'unobserved_weight')}
        shown = ', '.join(f'{name} {value:.4g}' for name, value in own.items() if value is not None)
        out.print(f'solved in closed form{shown and ": "}{shown}')
    for part, counts in metrics.get('held_out', {}).items():
        if counts['new_interactions']:
            out.print(
                f'{part}: {counts["interactions"]:,} interactions of {counts["users"]:,} users, '
                f'without {counts["new_interactions"]:,} of {counts["new_users"]:,} who came later'
            )
    if 'measured_on' in metrics:
        out.print('trained on all interactions; the metrics are those of the run before')
    baselines = metrics.get('baselines', {})
    table = plain_table('', 'validation', 'test', *(f'{name}, test' for name in baselines))
    for key, value in metrics.items():
        if key.startswith('test_'):
            name = key.removeprefix('test_')
            others = [f'{row[name]:.4f}' for row in baselines.values()]
            table.add_row(name, f'{metrics["val_" + name]:.4f}', f'{value:.4f}', *others)
    out.print(table)
    if 'folds' in metrics:
        _show_folds(metrics['folds'])


def _show_folds(folds: list[dict[str, float]]) -> None:
    """Print the test metrics of each fold, the earliest first, their mean and their spread."""
    numbers = [f'fold {number}' for number in range(1, len(folds) + 1)]
    table = plain_table('test, at different times', *numbers, 'mean', 'spread')
    for key in folds[0]:
        if key.startswith('test_'):
            values = [fold[key] for fold in folds]
            summary = statistics.mean(values), statistics.stdev(values)
            cells = [f'{value:.4f}' for value in (*values, *summary)]
            table.add_row(key.removeprefix('test_'), *cells)
    out.print(table)


def show_metrics(metrics: dict[str, float]) -> None:
    """Print metrics, one per line."""
    table = plain_table('', '')
    for name, value in metrics.items():
        table.add_row(name, f'{value:.4f}')
    out.print(table)


def show_groups(groups: dict[str, dict[str, float]], notes: Mapping[str, str]) -> None:
    """Print the metrics of each group, and what is in it."""
    names = list(next(iter(groups.values())))
    table = plain_table('group', *names)
    for group, values in groups.items():
        note = f' ({notes[group]})' if group in notes else ''
        cells = (f'{x:,}' if isinstance(x, int) else f'{x:.4f}' for x in values.values())
        table.add_row(f'{group}{note}', *cells)
    out.print(table)


def show_comparison(comparison: 'Comparison') -> None:
    """Print the metrics of runs, and their differences to the baseline with p-values."""
    table = plain_table('', *comparison.values)
    for name in comparison.values[comparison.baseline]:
        table.add_row(name, *(f'{values[name]:.4f}' for values in comparison.values.values()))
    out.print(table)
    if not comparison.tests:
        return
    out.print('')
    out.print(f'Differences to {comparison.baseline}, paired t-tests corrected by Holm:')
    table = plain_table('', 'metric', 'difference', '95 % interval', 'p')
    for run, tests in comparison.tests.items():
        for name, test in tests.items():
            interval = f'{test.low:+.4f} to {test.high:+.4f}'
            table.add_row(run, name, f'{test.difference:+.4f}', interval, f'{test.p_value:.3g}')
    out.print(table)


def show_items(items: 'ItemTable') -> None:
    """Print a table of items, with titles that are cut where they are long."""
    table = plain_table(*items.columns)
    for row in items.cells():
        table.add_row(*(shortened(cell, LONGEST_TEXT) for cell in row))
    out.print(table)


def show_models(models: dict[str, tuple[str, list[str]]]) -> None:
    """Print a description of each model and its options."""
    table = plain_table('model', 'what it is', 'options of "train", and defaults')
    for name, (what, options) in models.items():
        table.add_row(name, what, ' '.join(options))
    out.print(table)


def plain_table(*columns: str) -> Table:
    """Return an empty table without lines around its cells."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow='fold')
    return table
