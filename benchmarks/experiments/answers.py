"""What a table says, in a sentence or two made of its figures."""

import math
from collections.abc import Mapping, Sequence

from experiments.figures import decimal, gain, p_text, plus_minus, share
from experiments.stats import LEVEL, Runs, mean, p_with_seeds, values

from pyg_mmgef.ranking import holm

__all__ = ['about_best', 'about_changes', 'about_variants', 'difference', 'ranked']

PAPER = 'MM-GEF'


def ranked(rows: Mapping[str, Runs], task: str, metric: str = 'ndcg@20') -> list[str]:
    """Return the names of the rows, the best first."""
    return sorted(rows, key=lambda name: -mean(rows[name], task, metric))


def difference(ours: Runs, theirs: Runs, task: str) -> str:
    """Return a gain of NDCG@20 with its p-value; of one run alone there is no p-value."""
    change = gain(mean(ours, task, 'ndcg@20') - mean(theirs, task, 'ndcg@20'))
    p = p_with_seeds(ours, theirs, task)
    return change if math.isnan(p) else f'{change} ({p_text(p)})'


def about_best(rows: Mapping[str, Runs], task: str) -> str:
    """Return which model ranks best, how far ahead, and where the paper's model is."""
    order = ranked(rows, task)
    first = order[0]
    text = f'**{first} ranks best**, with NDCG@20 {_figure(rows[first], task)} and Recall@20 '
    text += f'{_figure(rows[first], task, "recall@20")}. '
    if len(order) > 1:
        text += f'{order[1]} is next with {_figure(rows[order[1]], task)}: '
        text += f'{_verdict(rows[first], rows[order[1]], task)}. '
    by_recall = ranked(rows, task, 'recall@20')[0]
    if by_recall != first:
        figure = _figure(rows[by_recall], task, 'recall@20')
        text += f'By Recall@20, {by_recall} is first with {figure}. '
    if PAPER in order[2:]:
        text += f'{PAPER}, the model of the paper, is number {order.index(PAPER) + 1} of '
        text += f'{len(order)} with {_figure(rows[PAPER], task)}: '
        text += f'{first} has {_verdict(rows[first], rows[PAPER], task)}.'
    return text.strip()


def about_variants(name: str, rows: Mapping[str, Runs], task: str) -> str:
    """Return which changes of a model make a difference that is more than chance."""
    plain = rows.get('', [])
    changed = {variant: runs for variant, runs in rows.items() if variant}
    p_of = {variant: p_with_seeds(runs, plain, task) for variant, runs in changed.items()}
    tested = [variant for variant, p in p_of.items() if not math.isnan(p)]
    before = mean(plain, task, 'ndcg@20')
    decided = [
        f'``{variant}`` ({gain(mean(rows[variant], task, "ndcg@20") - before)})'
        for variant, p in zip(tested, holm([p_of[v] for v in tested]), strict=True)
        if p < LEVEL
    ]
    text = (
        f'**{len(decided)} of {len(tested)} changes** of {name} that were run with several seeds '
    )
    text += f'make{"s" * (len(decided) == 1)} a difference of NDCG@20 beyond the spread over users '
    text += f'and seeds (p < {decimal(LEVEL, 2)}, corrected for their number)'
    text += f': {", ".join(decided)}.' if decided else '.'
    if len(tested) < len(changed):
        text += f' The other {len(changed) - len(tested)} have one seed, which has no spread.'
    return text


def about_changes(rows: Mapping[str, Sequence[Runs]], column: int, how: str) -> str:
    """Return what the models keep of their NDCG@20 under a change."""
    kept = [
        (mean(row[column], 'warm', 'ndcg@20') / mean(row[0], 'warm', 'ndcg@20'), name)
        for name, row in rows.items()
        if row[0] and row[column]
    ]
    shares = ', '.join(f'{name} {share(part)}' for part, name in sorted(kept, reverse=True))
    return f'**What is left of NDCG@20 {how}**: {shares}.'


def _figure(runs: Runs, task: str, metric: str = 'ndcg@20') -> str:
    return plus_minus(values(runs, task, metric))


def _verdict(ours: Runs, theirs: Runs, task: str) -> str:
    p = p_with_seeds(ours, theirs, task)
    lead = decimal(mean(ours, task, 'ndcg@20') - mean(theirs, task, 'ndcg@20'))
    if math.isnan(p):
        return f'a lead of {lead}, of one seed, so chance is not excluded'
    where = 'more than' if p < LEVEL else 'within'
    return f'a lead of {lead}, {where} the spread over users and seeds ({p_text(p)})'
