"""The page that sums up all others: prose from a template, every figure from the runs."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.answers import difference, ranked
from experiments.claims import Verdict, matrix, summary
from experiments.figures import decimal, gain, plus_minus, share
from experiments.published import PUBLISHED
from experiments.runs import read_search
from experiments.stats import LEVEL, Runs, mean, of, p_with_seeds, values
from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ['reading_page']

MADE_MD = '<!-- Made by benchmarks/experiments from reading.md.j2 and all runs; do not edit. -->'


class Figures:
    """What the template asks the runs for: a row is given by its data, model and condition."""

    def __init__(self, runs: Runs, titles: Mapping[str, str]) -> None:
        self.runs, self.titles = runs, titles

    def row(self, data: str, name: str, variant: str = '', condition: str = 'warm') -> Runs:
        """Return the runs of a row.

        Raises:
            ValueError: If there are none.
        """
        found = of(self.runs, data, condition, name, variant)
        if not found:
            raise ValueError(f'there are no runs of {name}, {variant} on {data}, {condition}')
        return found

    def rows(self, data: str, condition: str = 'warm') -> dict[str, Runs]:
        """Return all models on a data set."""
        names = dict.fromkeys(run['contestant'] for run in self.runs if run['data'] == data)
        found = {name: of(self.runs, data, condition, name, '') for name in names}
        return {name: runs for name, runs in found.items() if runs}

    def ndcg(self, data: str, name: str, variant: str = '', condition: str = 'warm') -> str:
        task = _task(condition)
        return plus_minus(values(self.row(data, name, variant, condition), task, 'ndcg@20'))

    def recall(self, data: str, name: str, variant: str = '', condition: str = 'warm') -> str:
        task = _task(condition)
        return plus_minus(values(self.row(data, name, variant, condition), task, 'recall@20'))

    def best(self, data: str, condition: str = 'warm') -> str:
        return ranked(self.rows(data, condition), _task(condition))[0]

    def place(self, data: str, name: str, condition: str = 'warm') -> str:
        """Return the place of a model by NDCG@20: ``'2 of 9'``."""
        order = ranked(self.rows(data, condition), _task(condition))
        return f'{order.index(name) + 1} of {len(order)}'

    def validation(self, data: str, name: str, variant: str, seeds: Sequence[int]) -> str:
        """Return the mean Recall@20 of validation over some seeds."""
        runs = [run for run in self.row(data, name, variant) if run['seed'] in seeds]
        assert len(runs) == len(seeds)
        return decimal(statistics.mean(run['val_recall@20'] for run in runs))

    def kept(self, data: str, name: str, condition: str) -> str:
        """Return which share of its NDCG@20 a model keeps under a condition."""
        changed, plain = (self.row(data, name, '', each) for each in (condition, 'warm'))
        return share(mean(changed, 'warm', 'ndcg@20') / mean(plain, 'warm', 'ndcg@20'))

    def clear_gains(self, ours: str, theirs: str) -> str:
        """Return where a model beats another by more than the spread, and by how much."""
        gains = []
        for data, title in self.titles.items():
            pair = [self.rows(data).get(name) for name in (ours, theirs)]
            if not (pair[0] and pair[1]) or p_with_seeds(pair[0], pair[1], 'warm') >= LEVEL:
                continue
            if mean(pair[0], 'warm', 'ndcg@20') > mean(pair[1], 'warm', 'ndcg@20'):
                gains.append(f'{_in_text(title)} ({difference(pair[0], pair[1], "warm")})')
        return ' and '.join(gains)

    def against_others(self, name: str, others: Sequence[str]) -> list[list[str]]:
        """Return rows of a table: a model beside others and the best one, on each data set."""
        out = []
        for data, title in self.titles.items():
            if name in self.rows(data):
                figures = [self.ndcg(data, each) for each in (name, *others)]
                best = self.best(data)
                out.append([title, *figures, f'{best}: {self.ndcg(data, best)}'])
                out[-1].append(self.place(data, name))
        return out

    def published(self) -> list[list[str]]:
        """Return rows of a table: what others have published beside ours, and the difference."""
        out = []
        for data, row in PUBLISHED.items():
            found = self.rows(data)
            for name in [name for name in row if name in found]:
                ours = [mean(found[name], 'warm', metric) for metric in ('ndcg@20', 'recall@20')]
                change = ours[0] / row[name][1] - 1
                pairs = [' / '.join(map(decimal, pair)) for pair in (ours, row[name][::-1])]
                out.append([self.titles[data], name, *pairs, _percent(change)])
        return out


def searched(runs: Runs, root: Path) -> dict[str, Any]:
    """Return how many runs have the validation figure of the search that chose their options."""
    changes = []
    for run in runs:
        plain = not run['variant'] and run['seed'] == 0 and run['condition'] in ('warm', 'cold')
        found = read_search(root, run['data'], run['condition'], run['contestant'])
        if plain and found['trials'] and run['curve']:
            changes.append(abs(found['val_recall@20'] - run['val_recall@20']))
    same = sum(change < 5e-5 for change in changes)
    return {'total': len(changes), 'same': same, 'largest': decimal(max(changes))}


def _task(condition: str) -> str:
    return 'cold among cold' if condition == 'cold' else 'warm'


def _percent(ratio: float) -> str:
    return f'{"−" if ratio < 0 else "+"}{100 * abs(ratio):.0f} %'


def _in_text(title: str) -> str:
    """Return a title as it stands within a sentence."""
    return title.replace('The ', 'the ', 1)


def pipe_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def reading_page(
    runs: Runs, verdicts: Sequence[Verdict], titles: Mapping[str, str], root: Path
) -> str:
    """Return the page that sums up the tables."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {'gain': gain, 'in_text': _in_text}
    return environment.get_template('reading.md.j2').render(
        made=MADE_MD,
        of=Figures(runs, titles),
        titles=titles,
        summary=summary(verdicts),
        claims=pipe_table(*matrix(verdicts)),
        confirmed=[verdict for verdict in verdicts if verdict.text == 'confirmed'],
        searched=searched(runs, root),
        table=pipe_table,
    )
