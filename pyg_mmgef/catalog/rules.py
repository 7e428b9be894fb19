"""The business rules of a request for recommendations."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.catalog._conditions import (
    as_condition,
    condition_from_json,
    condition_to_json,
    is_number,
    parse_condition,
)
from pyg_mmgef.catalog._field import Condition
from pyg_mmgef.catalog.catalog import Catalog
from pyg_mmgef.catalog.rerank import POOL, Reranked, rerank
from pyg_mmgef.tables._spelling import spelt
from pyg_mmgef.tables.find_columns import close_match
from pyg_mmgef.tables.table import listed

__all__ = ['Rules']

Id: TypeAlias = int | str

_MOST_IDS, _MOST_FIELDS, _MOST_VALUES, _LONGEST = 10_000, 100, 1_000, 1_000
"""Limits of rules that come as JSON."""


@dataclass(frozen=True)
class Rules:
    """What may be recommended in one request, and what comes first."""

    repeat: bool = False
    only: Sequence[Id] | None = None
    exclude: Sequence[Id] = ()
    where: Mapping[str, Condition] = field(default_factory=dict)
    max_per: Mapping[str, int] = field(default_factory=dict)
    boost: Mapping[str, float] = field(default_factory=dict)
    pin: Sequence[Id] = ()
    diversity: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.repeat, bool):
            raise ValueError(f'{spelt("repeat")} must be true or false (got {self.repeat!r})')
        for name in ('only', 'exclude', 'pin'):
            if name != 'only' or self.only is not None:
                object.__setattr__(self, name, _as_ids(name, getattr(self, name)))
        for name, check in (('where', as_condition), ('max_per', _as_limit), ('boost', _as_boost)):
            given = getattr(self, name)
            if not isinstance(given, Mapping):
                raise ValueError(
                    f'{spelt(name)} must map fields to what is asked of them (got '
                    f'{type(given).__name__})'
                )
            object.__setattr__(self, name, {str(key): check(key, v) for key, v in given.items()})
        if not is_number(self.diversity) or not 0 <= self.diversity <= 1:
            raise ValueError(f'{spelt("diversity")} must lie in [0, 1] (got {self.diversity!r})')

    def allowed(self, catalog: Catalog) -> NDArray[np.bool_]:
        """Return a mask of the items that may be shown, whoever asks."""
        mask = np.ones(len(catalog), bool)
        if self.only is not None:
            mask[:] = False
            mask[catalog.rows_of(self.only, 'only')] = True
        mask[catalog.rows_of(self.exclude, 'exclude')] = False
        for name, condition in self.where.items():
            mask &= catalog.field(name, 'where').fulfilling(condition, 'where')
        return mask

    def boosts(self, catalog: Catalog) -> NDArray[np.float64]:
        """Return what is added to the score of each item, in units of the scores' spread."""
        out = np.zeros(len(catalog))
        for key, amount in self.boost.items():
            name, condition = parse_condition(key, catalog.fields)
            out[catalog.field(name, 'boost').fulfilling(condition, 'boost')] += amount
        return out

    def depth(self, k: int) -> int:
        """Return how many candidates a user needs at first."""
        wanted = k * POOL if self.diversity else k * 4 if self.max_per else k
        return wanted + len(self.pin)

    def rerank(
        self,
        catalog: Catalog,
        items: NDArray[np.integer],
        scores: NDArray[np.floating],
        k: int,
        *,
        pin_scores: NDArray[np.floating] | None = None,
        vectors: NDArray[np.floating] | None = None,
    ) -> Reranked:
        """Choose ``k`` of each user's candidates by these rules, see :func:`rerank`."""
        return rerank(
            items,
            scores,
            k,
            allowed=self.allowed(catalog),
            groups=[(catalog.field(n, 'max_per').codes, most) for n, most in self.max_per.items()],
            pinned=catalog.rows_of(self.pin, 'pin'),
            pin_scores=pin_scores,
            diversity=self.diversity,
            vectors=vectors,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the rules that differ from the defaults, in what JSON can hold.

        A range becomes ``{'min': low, 'max': high}``, without an end that is open.
        """
        default = Rules()
        out = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) != getattr(default, f.name)
        }
        if self.where:
            out['where'] = {name: condition_to_json(c) for name, c in self.where.items()}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in out.items()}

    @classmethod
    def from_dict(cls, given: Any) -> 'Rules':
        """Return rules from what JSON holds, see :meth:`to_dict`; a stranger may have written it.

        Args:
            given: A dictionary with some of the arguments.

        Raises:
            ValueError: If it isn't one, has other keys, holds values of other types, or is longer
                than a request needs: 10,000 ids in a list, 100 fields, 1,000 values for a field,
                texts of 1,000 characters.
        """
        known = [f.name for f in fields(cls)]
        if not isinstance(given, Mapping):
            raise ValueError(f'rules must be an object with some of {listed(known)}')
        for name, value in given.items():
            if name not in known:
                raise ValueError(
                    f'rules have no {str(name)[:80]!r}{close_match(str(name), known)}; they have '
                    f'{listed(known)}'
                )
            _check_size(name, value)
        where = given.get('where', {})
        if isinstance(where, Mapping):
            where = {name: condition_from_json(name, c) for name, c in where.items()}
        return cls(**{**given, 'where': where})


def _check_size(name: str, value: Any) -> None:
    """Raise a :class:`ValueError` if a value of JSON is longer than a request needs."""
    is_field = isinstance(value, Mapping)
    parts = [part for pair in value.items() for part in pair] if is_field else [value]
    if len(parts) > 2 * _MOST_FIELDS:
        raise ValueError(f'{name!r} has {len(value)} fields; a request has {_MOST_FIELDS} at most')
    most = _MOST_VALUES if is_field else _MOST_IDS
    for part in parts:
        is_list = isinstance(part, (list, tuple, Mapping))
        if is_list and len(part) > most:
            raise ValueError(f'{name!r} lists {len(part)} values; a request has {most} at most')
        for text in part if is_list else [part]:
            if isinstance(text, str) and len(text) > _LONGEST:
                raise ValueError(
                    f'{name!r} has a text of {len(text)} characters; a request has {_LONGEST} at '
                    'most'
                )


def _as_ids(name: str, given: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise ValueError(f'{spelt(name)} must be a list of ids (got {given!r})')
    ids = tuple(i.item() if isinstance(i, np.generic) else i for i in given)
    for i in ids:
        if not isinstance(i, (str, int)) or isinstance(i, bool):
            raise ValueError(f'{spelt(name)} must hold ids, texts or integers (got {i!r})')
    return tuple(dict.fromkeys(ids))


def _as_limit(name: str, given: Any) -> int:
    number = given.item() if isinstance(given, np.generic) else given
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(
            f'{spelt("max_per")} must be a positive integer for {name!r} (got {given!r})'
        )
    return number


def _as_boost(name: str, given: Any) -> float:
    if not is_number(given):
        raise ValueError(f'{spelt("boost")} must be a finite number for {name!r} (got {given!r})')
    return float(given)
