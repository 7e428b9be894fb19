"""The page of a comparison."""

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pyg_mmgef._printable import printable
from pyg_mmgef.ranking.metrics import METRICS
from pyg_mmgef.runs._metric_words import MEANINGS, grouping_title

if TYPE_CHECKING:
    from pyg_mmgef.ranking import PairedTest
    from pyg_mmgef.runs.compare import Comparison

__all__ = ['compare_page']

LEVEL = 0.05


def compare_page(comparison: 'Comparison') -> str:
    """Return a comparison as an HTML page that needs nothing else."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        # Of exactly this type: what the template's own macros return is HTML.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    text = files('pyg_mmgef.runs').joinpath('compare.html.j2').read_text(encoding='utf-8')
    values = comparison.values
    names = list(values[comparison.baseline])
    hits = [name for name in names if _kind(name) in METRICS]
    return environment.from_string(text).render(
        runs=list(values),
        baseline=comparison.baseline,
        num_users=len(comparison.lists[comparison.baseline].users),
        num_held_out=comparison.lists[comparison.baseline].target.size(1),
        headline=_headline(comparison, hits),
        tables={
            'Accuracy': _rows(comparison, hits, best=True),
            'Beyond accuracy': _rows(
                comparison, [name for name in names if name not in hits], best=False
            ),
        },
        differences=_differences(comparison),
        num_tests=sum(map(len, comparison.tests.values())),
        groupings=[
            (grouping_title(name), _groups(comparison, name, hits)) for name in comparison.groups
        ]
        if hits
        else [],
        group_metric=_last(hits) if hits else '',
    )


def _kind(name: str) -> str:
    return name.partition('@')[0]


def _last(hits: list[str]) -> str:
    """Return the metric that stands for all: the first, at the largest cut-off."""
    return [name for name in hits if _kind(name) == _kind(hits[0])][-1]


def _headline(comparison: 'Comparison', hits: list[str]) -> str:
    """Return in words which run finds most, and whether that is more than chance."""
    if not hits:
        return ''
    name, base = _last(hits), comparison.baseline
    value = {run: of_run[name] for run, of_run in comparison.values.items()}
    best = max(value, key=lambda run: value[run])
    if best == base:
        others = [tests[name] for tests in comparison.tests.values()]
        sure = bool(others) and all(test.p_value < LEVEL for test in others)
        end = ', significantly more than each of the others' if sure else ''
        return f'{best} has the highest {name}, {value[best]:.4f}{end}.'
    gain = f', {value[best] / value[base] - 1:+.1%}' if value[base] > 0 else ''
    text = f'{best} has the highest {name}, {value[best]:.4f}; {base} has {value[base]:.4f}{gain}'
    if not comparison.tests:
        return f'{text}.'
    p_value = comparison.tests[best][name].p_value
    word = 'significant' if p_value < LEVEL else 'not significant'
    return f'{text}. The difference is {word} ({_p_text(p_value)}).'


def _rows(comparison: 'Comparison', names: list[str], *, best: bool) -> list[dict[str, Any]]:
    rows = []
    for name in names:
        numbers = [of_run[name] for of_run in comparison.values.values()]
        largest = max(numbers) if best and len(numbers) > 1 else None
        rows.append(
            {
                'name': name,
                'meaning': MEANINGS[_kind(name)],
                'cells': [(_number(number), number == largest) for number in numbers],
            }
        )
    return rows


def _differences(comparison: 'Comparison') -> list[dict[str, Any]]:
    """Return the tests, metric by metric, with the ends of each interval on a common scale."""
    tests, base = comparison.tests, comparison.values[comparison.baseline]
    names = list(next(iter(tests.values()), {}))
    out = []
    for name in names:
        of_metric = {run: of_run[name] for run, of_run in tests.items()}
        reach = max(max(abs(test.low), abs(test.high)) for test in of_metric.values()) or 1.0
        out.append(
            {
                'name': name,
                'rows': [
                    _difference(run, test, base[name], reach) for run, test in of_metric.items()
                ],
            }
        )
    return out


def _difference(run: str, test: 'PairedTest', base: float, reach: float) -> dict[str, Any]:
    is_sure = test.p_value < LEVEL
    verdict = ('more' if test.difference > 0 else 'less') if is_sure else 'not significant'
    return {
        'run': run,
        'difference': f'{test.difference:+.4f}',
        'relative': f'{test.difference / base:+.1%}' if base > 0 else '',
        'interval': f'{test.low:+.4f} to {test.high:+.4f}',
        'p': _p_text(test.p_value),
        'verdict': verdict,
        # From 0 to 200, with no difference at 100.
        'bar': [round(100 + 96 * x / reach, 1) for x in (test.low, test.difference, test.high)],
    }


def _groups(comparison: 'Comparison', name: str, hits: list[str]) -> list[dict[str, Any]]:
    metric = _last(hits)
    cutoff = metric.partition('@')[2]
    out = []
    for group, by_run in comparison.grouped(name).items():
        any_run = by_run[comparison.baseline]
        numbers = [of_run[metric] for of_run in by_run.values()]
        out.append(
            {
                'name': group,
                'note': comparison.groups[name].notes.get(group, ''),
                'users': f'{any_run["users"]:,}',
                'interactions': f'{any_run["interactions"]:,}',
                'cells': [(_number(x), x == max(numbers) and len(numbers) > 1) for x in numbers],
                'exposure': [
                    f'{of_run[f"exposure@{cutoff}"]:.1%}'
                    for of_run in by_run.values()
                    if f'exposure@{cutoff}' in of_run
                ],
            }
        )
    return out


def _number(value: float) -> str:
    if value != value:
        return 'none'
    return f'{value:.4f}' if abs(value) < 1 else f'{value:.4g}'


def _p_text(p_value: float) -> str:
    return 'p < 0.001' if p_value < 0.001 else f'p = {p_value:.3f}'
