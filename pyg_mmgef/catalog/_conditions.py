"""Conditions on a field: as they are given, as text, and as JSON."""

import re
import sys
from collections.abc import Container
from numbers import Real
from reprlib import repr as short
from typing import Any

import numpy as np

from pyg_mmgef._spelling import spelt
from pyg_mmgef.catalog._field import Condition, Value

__all__ = [
    'as_condition',
    'condition_from_json',
    'condition_to_json',
    'is_number',
    'parse_condition',
    'parse_value',
]

_NUMBER = r'[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?'
_ENDS = ('min', 'max')
_RANGE = re.compile(rf'({_NUMBER})?\.\.({_NUMBER})?')


def as_condition(name: str, given: Any, argument: str = 'where') -> Condition:
    """Return a condition as Python holds it.

    Args:
        name: The field, for messages.
        given: A value, a list of values, or a range as a tuple.
        argument: Where it comes from, for messages. (default: ``'where'``)

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(given, tuple):
        return _as_range(name, given, argument)
    if isinstance(given, (list, set, frozenset, np.ndarray)):
        values = [_as_value(name, value, argument) for value in given]
        if not values:
            raise ValueError(f'{spelt(argument)} lists no value for {name!r}')
        return values
    return _as_value(name, given, argument)


def parse_value(text: str) -> Value | tuple[float | None, float | None]:
    """Return the range that a text such as ``10..50`` or ``..50`` means, else the text."""
    found = _RANGE.fullmatch(text.strip())
    if not found or found.groups() == (None, None):
        return text
    low, high = (None if end is None else float(end) for end in found.groups())
    return low, high


def parse_condition(text: str, known: Container[str] = ()) -> tuple[str, Condition]:
    """Return the field and the condition of ``field=value``, ``field=low..high`` or ``field``.

    A field alone asks for its items that say yes.

    Args:
        text: The text.
        known: Fields whose names may hold the sign. (default: ``()``)
    """
    name, sign, value = text.partition('=')
    if text in known or not sign:
        return text, True
    return name, parse_value(value)


def condition_to_json(condition: Condition) -> Any:
    """Return a condition as JSON: a range is an object with ``min`` and ``max``."""
    if not isinstance(condition, tuple):
        return condition
    return {key: end for key, end in zip(_ENDS, condition, strict=True) if end is not None}


def condition_from_json(name: str, given: Any) -> Any:
    """Return what :func:`condition_to_json` returned.

    Raises:
        ValueError: If an object has other keys than ``min`` and ``max``.
    """
    if not isinstance(given, dict):
        return given
    if not given or not set(given) <= set(_ENDS):
        raise ValueError(
            f"a range of {name!r} is an object with 'min', 'max' or both (got the keys "
            f'{list(given)[:5]})'
        )
    return tuple(given.get(key) for key in _ENDS)


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number, and no truth value."""
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    return is_real and bool(abs(value) <= sys.float_info.max)


def _as_range(
    name: str, given: tuple[Any, ...], argument: str
) -> tuple[float | None, float | None]:
    is_range = len(given) == 2 and all(end is None or is_number(end) for end in given)
    if not is_range or given == (None, None):
        raise ValueError(
            f'{spelt(argument)} has the tuple {short(given)} for {name!r}; a range is (low, high), '
            'two numbers, or None for an open end; one of several values is a list'
        )
    low, high = (None if end is None else float(end) for end in given)
    if low is not None and high is not None and low > high:
        raise ValueError(f'{spelt(argument)} has a range of {name!r} from {low:g} down to {high:g}')
    return low, high


def _as_value(name: str, given: Any, argument: str) -> Value:
    value = given.item() if isinstance(given, np.generic) else given
    if not isinstance(value, (str, bool)) and not is_number(value):
        raise ValueError(
            f'{spelt(argument)} must hold texts, finite numbers or booleans (got {short(value)} '
            f'for {name!r})'
        )
    return value
