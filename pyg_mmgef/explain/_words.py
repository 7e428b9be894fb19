"""Sentences for the parts of a score."""

from collections.abc import Sequence

from pyg_mmgef.explain.part import Part

__all__ = ['sentences']

REASONS = {
    'user': 'of your taste in general',
    'popularity': 'it is popular',
    'constant': 'of what counts for everybody',
    'residual': 'of rounding in the model',
    'collaborative': 'of who else {verb} it',
    'content': 'of its content',
    'average': 'of what items have in common',
    'bias': 'it is well liked',
    'item': 'of the item itself',
}
NEGLIGIBLE = 1e-4
"""Smaller shares of what speaks for an item aren't counted as reasons."""
MODALITIES = {'image': 'of its picture', 'text': 'of its words', 'x': 'of its content'}


def sentences(parts: Sequence[Part], titles: Sequence[str], most: int, verb: str) -> list[str]:
    """Return what speaks for an item, and then what speaks against it; the largest first."""
    total = sum(part.score for part in parts if part.score > 0)
    if total == 0:
        return ['Nothing that is known of you speaks for it.']
    ordered = [part for part in parts if abs(part.score) > NEGLIGIBLE * total]
    ordered.sort(key=lambda part: abs(part.score), reverse=True)
    pros = [part for part in ordered if part.score > 0]
    cons = [part for part in ordered if part.score < 0]
    out = [
        f'{_percent(part.score, total)} because {_reason(part, titles, verb)}.'
        for part in pros[:most]
    ]
    if len(pros) > most:
        rest = sum(part.score for part in pros[most:])
        out.append(f'{_percent(rest, total)} for {_count(len(pros) - most)}.')
    against = sum(part.score for part in cons)
    if cons and _percent(-against, total) != 'less than 1 %':
        first = _reason(cons[0], titles, verb)
        others = f', and {_count(len(cons) - 1)}' if len(cons) > 1 else ''
        out.append(f'Against it, {_percent(-against, total)}: because {first}{others}.')
    if against + total <= 0:
        out.append('All in all, more speaks against it than for it.')
    return out


def _percent(score: float, total: float) -> str:
    share = round(100 * score / total)
    return f'{share} %' if share >= 1 else 'less than 1 %'


def _count(number: int) -> str:
    return 'one smaller reason' if number == 1 else f'{number} smaller reasons'


def _reason(part: Part, titles: Sequence[str], verb: str) -> str:
    title = '' if part.item is None else f"'{titles[part.item]}'"
    if part.kind == 'history':
        return f'you {verb} {title}'
    if part.kind == 'neighbours':
        return _neighbor(title, part.name or '', verb)
    if part.kind == 'modality':
        name = part.name or 'x'
        return MODALITIES.get(name, f'of its {name}')
    reason = REASONS.get(part.kind, f'of its part {part.kind!r}')
    return reason.format(verb=verb)


def _neighbor(title: str, graph: str, verb: str) -> str:
    if graph == 'co_interacts':
        return f'people who {verb} it also {verb} {title}'
    if graph.startswith('similar_'):
        return f'{MODALITIES.get(graph[8:], f"of its {graph[8:]}")[3:]} is like that of {title}'
    return f'it is like {title}'
