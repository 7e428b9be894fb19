"""The sentence and the four numbers that the page begins with."""

from typing import Any

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._numbers import compared, count, lift, percent

__all__ = ['headline', 'hero', 'how_measured', 'is_sure']

LEVEL = 0.05
HIDDEN: dict[str | None, str] = {
    'random': 'For each person, some choices were hidden from the model, at random.',
    'time': 'For each person, the latest choices were hidden from the model.',
    'leave_last_out': 'For each person, the last choices were hidden from the model.',
    'global_time': 'All choices after a certain time were hidden from the model.',
}


def headline(evidence: Evidence) -> str:
    """Return in words how much the recommendations find, and whether that is more than chance."""
    ours, theirs = (values['recall'] for values in evidence.measured)
    start = f'{evidence.k} recommendations find {percent(ours)} of the {evidence.choices}'
    if theirs == 0:
        return f'{start}; best-sellers find none' if ours > 0 else start
    if not is_sure(evidence):
        return f'{start}, about as much as best-sellers do ({percent(theirs)})'
    return f'{start}, {compared(ours, theirs)} best-sellers do'


def is_sure(evidence: Evidence) -> bool:
    """Return whether model and best-sellers differ by more than chance."""
    return evidence.test is not None and evidence.test.p_value < LEVEL


def how_measured(evidence: Evidence) -> str:
    """Return how the numbers came about, in two or three sentences."""
    k, lists = evidence.k, evidence.lists
    hidden = HIDDEN.get(evidence.run.settings.split, 'Some choices were hidden from the model.')
    people = count(len(lists.users), 'person', 'people')
    of_them = count(lists.target.size(1), 'hidden choice')
    text = f'{hidden} Then it recommended {k} products to each of {people}, with {of_them}.'
    if len(lists.users) < evidence.num_tested:
        text += f' These are a random sample of {evidence.num_tested:,}.'
    if not is_sure(evidence):
        text += ' The difference to the best-sellers is within what chance can make.'
    return text


def hero(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the four numbers, what each is, and that of the best-sellers."""
    ours, theirs = evidence.measured
    k = evidence.k
    shown = [
        _number(
            ours, theirs, 'recall', f'of the {evidence.choices} are found in {k} recommendations'
        ),
        _number(ours, theirs, 'hit_ratio', 'of the people find at least one of them'),
        _number(ours, theirs, 'coverage', 'of the products are recommended to somebody'),
    ]
    is_new = evidence.popularity == 0
    if bool(is_new.any()):
        counts = [
            int((lists.exposure(k)[is_new] > 0).sum())
            for lists in (evidence.lists, evidence.best_sellers)
        ]
        shown.append(
            {
                'value': f'{counts[0]:,} of {int(is_new.sum()):,}',
                'what': 'new products, which nobody had chosen yet, are recommended',
                'base': f'best-sellers: {counts[1]:,}',
                'lift': '',
            }
        )
    else:
        shown.append(
            _number(ours, theirs, 'personalization', "of a list differs from another person's list")
        )
    return shown


def _number(
    ours: dict[str, float], theirs: dict[str, float], name: str, what: str
) -> dict[str, Any]:
    return {
        'value': percent(ours[name]),
        'what': what,
        'base': f'best-sellers: {percent(theirs[name])}',
        'lift': lift(ours[name], theirs[name]),
    }
