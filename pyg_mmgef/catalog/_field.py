"""A field of the items: its values, and which items fulfil a condition."""

from collections import Counter
from functools import cached_property
from reprlib import repr as short
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef._spelling import spelt
from pyg_mmgef.tables.find_columns import close_match
from pyg_mmgef.tables.table import listed

__all__ = ['Condition', 'Field', 'Value']

Value: TypeAlias = str | int | float | bool
Condition: TypeAlias = Value | list[Value] | tuple[float | None, float | None]
"""A value, a list of which one must be met, or a range with both ends, ``None`` if it is open."""

_SHOWN = 40  # characters of a value in a message
_TRUE = frozenset(('true', 'yes', 'y', 't', 'on', '1'))
_FALSE = frozenset(('false', 'no', 'n', 'f', 'off', '0'))


class Field:
    """The values of a field, one an item.

    Args:
        name: Its name, for messages.
        values: float64 with NaN, or strings and :obj:`None` as objects. Shape: ``[num_items]``.
    """

    def __init__(self, name: str, values: NDArray[Any]) -> None:
        self.name, self.values = name, values

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers."""
        return self.values.dtype != object

    @cached_property
    def distinct(self) -> list[Any]:
        """The distinct values, the most common first."""
        values = self.values.tolist()
        if self.is_number:
            values = [value for value in values if value == value]
        return [value for value, _ in Counter(values).most_common() if value is not None]

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """The place of each item's value among :attr:`distinct`, ``-1`` if it has none."""
        code = self._code_of
        return np.array([code.get(value, -1) for value in self.values.tolist()], np.int64)

    def fulfilling(self, condition: Condition, argument: str) -> NDArray[np.bool_]:
        """Return a mask of the items that fulfil a condition; those without a value don't.

        Args:
            condition: The condition.
            argument: Where it comes from, for messages.

        Raises:
            ValueError: If no item has a value, or a range is asked of texts.
        """
        if isinstance(condition, tuple):
            return self._within(condition, argument)
        values = condition if isinstance(condition, list) else [condition]
        is_met = np.zeros(len(self.distinct) + 1, bool)  # the last one is of missing values
        for value in values:
            is_met[self._codes_of(value, argument)] = True
        return is_met[self.codes]

    @cached_property
    def _code_of(self) -> dict[Any, int]:
        return {value: code for code, value in enumerate(self.distinct)}

    @cached_property
    def _truths(self) -> list[bool | None]:
        """What each distinct value says, if all of them say yes or no, else nothing."""
        truths = []
        for value in self.distinct:
            truths.append(_truth(value))
            if truths[-1] is None:
                return []
        return truths

    def _within(
        self, limits: tuple[float | None, float | None], argument: str
    ) -> NDArray[np.bool_]:
        if not self.is_number:
            raise ValueError(
                f'{spelt(argument)} asks for a range of {self.name!r}, which holds texts such as '
                f'{self._listed(5)}; give one of them'
            )
        low, high = limits
        # NaN is neither below nor above.
        above = self.values >= (-np.inf if low is None else low)
        return above & (self.values <= (np.inf if high is None else high))

    def _codes_of(self, value: Value, argument: str) -> list[int]:
        truth = _truth(value)
        if truth is not None and self._truths:
            return [code for code, own in enumerate(self._truths) if own is truth]
        known = None if isinstance(value, bool) else self._plain(value)
        if known in self._code_of:
            return [self._code_of[known]]
        raise ValueError(
            f'{spelt(argument)} asks for {self.name!r} = {short(value)}, which no item has'
            f'{self._hint(value)}'
        )

    def _plain(self, value: Value) -> str | float | None:
        """Return a value in the type of the field's."""
        if not self.is_number:
            is_whole = isinstance(value, float) and value.is_integer()
            return str(int(value) if is_whole else value)
        try:
            return float(value)
        except (ValueError, OverflowError):
            return None

    def _hint(self, value: Value) -> str:
        if not self.distinct:
            return '; the field is empty'
        if self.is_number:
            low, high = min(self.distinct), max(self.distinct)
            return f'; it holds numbers from {low:g} to {high:g}, give one of them or a range'
        match = close_match(value, self.distinct) if isinstance(value, str) else ''
        return f'{match}; it holds {self._listed(10)}'

    def _listed(self, limit: int) -> str:
        return listed((str(value)[:_SHOWN] for value in self.distinct), limit)


def _truth(value: Any) -> bool | None:
    """Return what a value says, if it is a word or a number for yes or no."""
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    return bool(value) if value in (0, 1) else None
