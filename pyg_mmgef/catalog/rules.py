"""The business rules of a request for recommendations."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from reprlib import repr as short
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyg_mmgef._spelling import spelt
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
from pyg_mmgef.tables.find_columns import close_match
from pyg_mmgef.tables.table import listed

__all__ = ['Rules']

Id: TypeAlias = int | str

Search: TypeAlias = Callable[[NDArray[np.int64], int], tuple[ArrayLike, ArrayLike]]
"""Returns items and scores of some users, by their places, and a number of candidates."""

_MOST_IDS, _MOST_FIELDS, _MOST_VALUES, _LONGEST = 10_000, 100, 1_000, 1_000
"""Limits of rules that come as JSON."""


@dataclass(frozen=True)
class Rules:
    """The business rules of a request: what may be recommended, and what comes first.

    Args:
        repeat: Whether items may be recommended that the user has already. Whoever searches for
            candidates sees to it. (default: :obj:`False`)
        only: Ids of the items that may be recommended; :obj:`None` means all.
            (default: :obj:`None`)
        exclude: Ids of items that may not be recommended. (default: ``()``)
        where: What items must fulfil, by the name of a field: a value; a list of values, one of
            which they must have; or a range of numbers as a tuple ``(low, high)`` with both ends,
            in which :obj:`None` leaves one open. An item without a value fulfils nothing. Texts
            are compared letter by letter. In a field whose values all say yes or no (any of
            ``true yes y t on 1`` and ``false no n f off 0``, in small or capital letters, or the
            numbers 0 and 1) such words are equal to each other and to the booleans, and no item
            need have the one that is asked for: all may be sold out. In a field of texts a number
            is its text, and in one of numbers a text is its number. (default: ``{}``)
        max_per: How many items with the same value of a field a list may hold, such as
            ``{'brand': 2}``. Items without a value aren't limited, as nothing says that they are
            alike. (default: ``{}``)
        boost: By how much the scores of some items rise, or fall if negative, in units of the
            standard deviation of the user's scores over all items of the catalog, see
            :func:`score_spread`. The keys are ``'field=value'``, ``'field=low..high'``, or
            ``'field'`` for those that say yes. An item that several keys name gets the sum.
            (default: ``{}``)
        pin: Ids of the items that come first, in this order. The other rules hold for them too, so
            one that is sold out or that the user has isn't shown; only :attr:`max_per` doesn't
            remove them, but they count. (default: ``()``)
        diversity: How much items of a list should differ, between 0, where only scores count, and
            1; the weight of Maximal Marginal Relevance, see :func:`rerank`. (default: ``0.0``)

    Raises:
        ValueError: If an argument is none of these.

    Example:
        >>> catalog = Catalog(
        ...     ['L1', 'L2', 'L3', 'R1'],
        ...     fields={
        ...         'brand': ['Lumo', 'Lumo', 'Arc', None],
        ...         'price': [20, 45, 90, 60],
        ...         'in_stock': ['yes', 'yes', 'yes', 'no'],
        ...     },
        ... )
        >>> rules = Rules(where={'price': (None, 80), 'in_stock': True}, exclude=['L2'])
        >>> rules.allowed(catalog)
        array([ True, False, False, False])
        >>> rules = Rules(max_per={'brand': 1}, pin=['R1'])
        >>> shown = rules.rerank(
        ...     catalog, [[0, 1, 2]], [[0.9, 0.8, 0.7]], k=3, pin_scores=[[0.1]]
        ... )
        >>> [catalog.ids[row] for row in shown.items[0]]
        ['R1', 'L1', 'L3']
    """

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
            raise ValueError(f'{spelt("repeat")} must be true or false (got {short(self.repeat)})')
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
            raise ValueError(
                f'{spelt("diversity")} must lie in [0, 1] (got {short(self.diversity)})'
            )

    def allowed(self, catalog: Catalog) -> NDArray[np.bool_]:
        """Return a mask of the items that may be shown, whoever the user is.

        Args:
            catalog: The items.

        Returns:
            The mask. Shape: ``[num_items]``.

        Raises:
            ValueError: If the catalog lacks an item or a field, no item has a value, or a range is
                asked of texts.
        """
        mask = np.ones(len(catalog), bool)
        if self.only is not None:
            mask[:] = False
            mask[catalog.rows_of(self.only, 'only')] = True
        mask[catalog.rows_of(self.exclude, 'exclude')] = False
        for name, condition in self.where.items():
            mask &= catalog.field(name, 'where').fulfilling(condition, 'where')
        return mask

    def boosts(self, catalog: Catalog) -> NDArray[np.float64]:
        """Return the boost of each item, to be multiplied by :func:`score_spread` of the user.

        Args:
            catalog: The items.

        Returns:
            The boosts, zero for most. Shape: ``[num_items]``.

        Raises:
            ValueError: As :meth:`allowed`.
        """
        out = np.zeros(len(catalog))
        for key, amount in self.boost.items():
            name, condition = parse_condition(key, catalog.fields)
            out[catalog.field(name, 'boost').fulfilling(condition, 'boost')] += amount
        return out

    def depth(self, k: int) -> int:
        """Return how many candidates of a user suffice for most lists.

        Args:
            k: Number of items to show.
        """
        wanted = k * POOL if self.diversity else k * 4 if self.max_per else k
        return wanted + len(self.pin)

    def rerank(
        self,
        catalog: Catalog,
        items: ArrayLike,
        scores: ArrayLike,
        k: int,
        *,
        pin_scores: ArrayLike | None = None,
        vectors: NDArray[np.floating] | None = None,
    ) -> Reranked:
        """Choose some of each user's candidates; those that aren't allowed are left out.

        The lists are those that the whole ranking would give where ``is_complete`` of the result
        says so. Elsewhere more candidates are needed, for which :meth:`choose` asks.

        Args:
            catalog: The items.
            items: Rows of the candidates of each user, the best first, ``-1`` behind the last;
                without those that the user has, unless :attr:`repeat` is set.
                Shape: ``[num_users, num_candidates]``.
            scores: Their scores, with boosts. Shape: ``[num_users, num_candidates]``.
            k: Number of items to show.
            pin_scores: Scores of the items :attr:`pin`, NaN for those that a user isn't shown as
                he has them. Shape: ``[num_users, len(pin)]``. (default: :obj:`None`)
            vectors: Vectors of all items, which :attr:`diversity` compares.
                Shape: ``[num_items, channels]``. (default: :obj:`None`)

        Raises:
            ValueError: As :meth:`allowed` and :func:`rerank`.
        """
        return rerank(
            items, scores, k, pin_scores=pin_scores, vectors=vectors, **self._resolved(catalog)
        )

    def choose(
        self,
        catalog: Catalog,
        search: Search,
        num_users: int,
        k: int,
        *,
        pin_scores: ArrayLike | None = None,
        vectors: NDArray[np.floating] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Reranked:
        """Search for candidates and choose some of them, until every list is complete.

        Args:
            catalog: The items.
            search: Function of the places of some of the users (int64) and a number of candidates,
                which returns items and scores as :meth:`rerank` expects them. A longer list begins
                with the shorter one.
            num_users: Number of users.
            k: Number of items to show.
            pin_scores: As in :meth:`rerank`. (default: :obj:`None`)
            vectors: As in :meth:`rerank`. (default: :obj:`None`)
            allowed: What :meth:`allowed` returned, for a caller that asks again and again;
                :obj:`None` computes it. (default: :obj:`None`)

        Raises:
            ValueError: As :meth:`rerank`.
        """
        resolved = self._resolved(catalog, allowed)
        out = Reranked(
            np.full((num_users, k), -1),
            np.full((num_users, k), -np.inf),
            np.zeros(num_users, bool),
        )
        depth, users = min(self.depth(k), len(catalog)), np.arange(num_users)
        while len(users) > 0:
            items, scores = search(users, depth)
            pins = None if pin_scores is None else np.asarray(pin_scores)[users]
            found = rerank(items, scores, k, pin_scores=pins, vectors=vectors, **resolved)
            for whole, part in zip(out, found, strict=True):
                whole[users] = part
            if depth >= len(catalog):
                break
            users = users[~found.is_complete]
            depth = min(4 * depth, len(catalog))
        out.is_complete[:] = True
        return out

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

    def _resolved(
        self, catalog: Catalog, allowed: NDArray[np.bool_] | None = None
    ) -> dict[str, Any]:
        """Return the arguments of :func:`rerank` for a catalog."""
        return {
            'allowed': self.allowed(catalog) if allowed is None else allowed,
            'groups': [
                (catalog.field(name, 'max_per').codes, most) for name, most in self.max_per.items()
            ],
            'pinned': catalog.rows_of(self.pin, 'pin'),
            'diversity': self.diversity,
        }


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
        raise ValueError(f'{spelt(name)} must be a list of ids (got {short(given)})')
    ids = tuple(i.item() if isinstance(i, np.generic) else i for i in given)
    for i in ids:
        if not isinstance(i, (str, int)) or isinstance(i, bool):
            raise ValueError(f'{spelt(name)} must hold ids, texts or integers (got {short(i)})')
    return tuple(dict.fromkeys(ids))


def _as_limit(name: str, given: Any) -> int:
    number = given.item() if isinstance(given, np.generic) else given
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(
            f'{spelt("max_per")} must be a positive integer for {name!r} (got {short(given)})'
        )
    return number


def _as_boost(name: str, given: Any) -> float:
    if not is_number(given):
        raise ValueError(
            f'{spelt("boost")} must be a finite number for {name!r} (got {short(given)})'
        )
    return float(given)
