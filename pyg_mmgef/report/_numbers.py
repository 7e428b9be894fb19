"""Numbers as a reader likes them."""

import math

__all__ = ['compared', 'count', 'lift', 'percent']

SPACE, MINUS = '\u00a0', '\u2212'
MANY = 2
"""From this ratio on, 'times' is easier to read than a percentage."""


def percent(share: float) -> str:
    """Return a share in percent, with one digit after the point below ten percent.

    Example:
        >>> [percent(x).replace(SPACE, ' ') for x in (0.281, 0.0449, 0.0, 0.0001, 1.0)]
        ['28 %', '4.5 %', '0 %', 'less than 0.1 %', '100 %']
    """
    if math.isnan(share):
        return 'none'
    if 0 < share < 0.0005:
        return f'less than 0.1{SPACE}%'
    value = 100 * share
    return f'{value:.{1 if 0 < value < 9.95 else 0}f}{SPACE}%'


def count(number: int, word: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Example:
        >>> count(1, 'product'), count(1200, 'product'), count(2, 'person', 'people')
        ('1 product', '1,200 products', '2 people')
    """
    return f'{number:,} {word if number == 1 else plural or word + "s"}'


def lift(value: float, base: float) -> str:
    """Return by how much a value is above another: ``'+14 %'``, or ``'3.4 times'`` if it is far.

    The result is empty where there is nothing to divide by.

    Example:
        >>> [lift(*x).replace(SPACE, ' ') for x in ((1.14, 1), (0.9, 1), (3.4, 1), (1, 1), (1, 0))]
        ['+14 %', '−10 %', '3.4 times', '±0 %', '']
    """
    if not base > 0:
        return ''
    ratio = value / base
    if ratio >= MANY:
        return f'{ratio:.1f} times' if ratio < 10 else f'{ratio:.0f} times'
    change = round(100 * (ratio - 1))
    sign = '+' if change > 0 else MINUS if change < 0 else '±'
    return f'{sign}{abs(change)}{SPACE}%'


def compared(value: float, base: float) -> str:
    """Return the comparison of :func:`lift` as words of a sentence.

    Example:
        >>> [compared(*x).replace(SPACE, ' ') for x in ((1.14, 1), (0.9, 1), (3.4, 1))]
        ['14 % more than', '10 % less than', '3.4 times as much as']
    """
    if value / base >= MANY:
        return f'{lift(value, base)} as much as'
    change = round(100 * (value / base - 1))
    if change == 0:
        return 'as much as'
    return f'{abs(change)}{SPACE}% {"more" if change > 0 else "less"} than'
