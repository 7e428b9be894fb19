import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.catalog import FoldIn, Rules, item_covariance, score_spread
from pyg_mmgef.serving._best_rows import best_rows, rounding_of
from pyg_mmgef.serving._ids import Id
from pyg_mmgef.serving._item_changes import ItemChange
from pyg_mmgef.serving._live_items import LiveItems
from pyg_mmgef.serving.export_folder import ExportFolder

__all__ = ['Answer', 'Ask', 'Engine', 'UnknownItem', 'UnknownUser']

MOST_SCORES = 2**24  # Scores that are computed at a time: 64 MiB.
MOST_RULES = 32  # Rules whose masks are kept.


class UnknownUser(LookupError):
    """The export doesn't know the user."""


class UnknownItem(LookupError):
    """There is no such item, or it is retired."""


@dataclass(frozen=True, eq=False)
class Ask:
    """What one request asks for: items for a user, for liked items, or similar to an item."""

    k: int = 10
    user: Id | None = None
    liked: Sequence[Id] = ()
    item: Id | None = None
    """Asks for items that are similar to it."""
    rules: Rules = field(default_factory=Rules)
    needs_user: bool = False
    """Whether an unknown user is an error; else popular items are the answer."""


@dataclass(frozen=True, eq=False)
class Answer:
    """The items that are recommended, the best first."""

    version: str
    reason: str
    """What they come from: ``'history'``, ``'liked'``, ``'new user'`` or ``'similar'``."""
    items: list[dict[str, Any]]
    ignored: list[Id] = field(default_factory=list)
    """Liked items that aren't known."""


@dataclass(frozen=True, eq=False)
class _Query:
    """A vector whose inner products with all items are their scores."""

    ask: Ask
    reason: str
    vector: NDArray[np.float32] | None
    """:obj:`None` ranks by popularity. Shape: ``[channels]``."""
    left_out: NDArray[np.integer]
    """Rows that aren't shown, for this user alone."""
    liked: NDArray[np.int64]
    ignored: list[Id] = field(default_factory=list)
    parts: NDArray[np.float32] | None = None
    """What each liked item adds to the vector. Shape: ``[len(liked), channels]``."""


NOTHING = np.zeros(0, np.int64)
NO_RULES = Rules()


class _Vectors:
    """The vectors of all items, of which rows are read as of an array."""

    def __init__(self, items: LiveItems) -> None:
        self._items = items
        self.shape = len(items.catalog), items.added.shape[1]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._items.vectors(rows.reshape(-1)).reshape(*rows.shape, -1)


class Engine:
    """Answers requests from an export and the changes of its items; one thread alone uses it.

    The score of an item is the inner product of its vector with the user's. All items are ranked
    by it, in float64, equal ones by their rows, so an answer doesn't depend on what else is asked.

    Args:
        export: The export.
    """

    def __init__(self, export: ExportFolder) -> None:
        self.export = export
        self.items = LiveItems(export)
        """The items with their changes."""
        self._longest = float(self.items.norms.max(initial=0.0))
        self._masks: dict[str, tuple[NDArray[np.bool_] | None, NDArray[np.float64] | None]] = {}
        self._covariances: dict[bool, NDArray[np.float64]] = {}
        self._grown: FoldIn | None = None

    def apply(self, changes: list[ItemChange]) -> None:
        """Apply changes of items, in their order."""
        if changes:
            self.items.apply(changes)
            self._masks.clear()
            self._grown = None
            self._longest = float(self.items.norms.max(initial=0.0))

    def answer(self, asks: Sequence[Ask]) -> list[Answer | Exception]:
        """Return the answer of each request, or the error that it is answered by.

        An error is an :class:`UnknownUser`, an :class:`UnknownItem`, or a :class:`ValueError` that
        says what is wrong with the request.
        """
        answers: list[Any] = [None] * len(asks)
        queries: list[tuple[int, _Query]] = []
        for place, ask in enumerate(asks):
            query = _attempt(self._query, ask)
            if isinstance(query, Exception):
                answers[place] = query
            else:
                queries.append((place, query))
        most = max(1, MOST_SCORES // max(1, self.export.num_items))
        for start in range(0, len(queries), most):
            part = queries[start : start + most]
            scores = self._scores([query for _, query in part])
            for (place, query), row in zip(part, scores, strict=True):
                answers[place] = _attempt(self._answer, query, row)
        return answers

    def search(self, text: str, limit: int) -> list[dict[str, Any]]:
        """Return the first items whose title holds a text, in any case of letters."""
        wanted, found = text.casefold(), []
        for row, title in enumerate(self.items.catalog.titles):
            if wanted in title.casefold() and self.items.is_there[row]:
                found.append(self.describe(row))
                if len(found) == limit:
                    break
        return found

    def describe(self, row: int) -> dict[str, Any]:
        """Return what the catalog has about an item, for JSON."""
        catalog = self.items.catalog
        picture = catalog.pictures[row]
        if row < self.export.num_items and picture == self.export.catalog.pictures[row]:
            # The export has a path of the machine that made it; its thumbnail is served instead.
            has_picture = self.items.picture_of(row) is not None
            picture = f'/pictures/{quote(str(catalog.ids[row]), safe="")}' if has_picture else None
        fields = {name: _plain(column[row]) for name, column in catalog.fields.items()}
        return {
            'item': catalog.ids[row],
            'title': catalog.titles[row],
            'picture': picture,
            'fields': {name: value for name, value in fields.items() if value is not None},
        }

    def row_of(self, item: Id) -> int:
        """Return the row of an item.

        Raises:
            UnknownItem: If there is none, or it is retired.
        """
        row = self.items.row_of(item)
        if row is None:
            raise UnknownItem(f'there is no item {str(item)[:80]!r}')
        return row

    def _query(self, ask: Ask) -> _Query:
        if ask.item is not None:
            row = self.row_of(ask.item)
            vector = self.items.vectors(np.array([row]))[0]
            if not self.items.norms[row]:
                raise ValueError(
                    f'the model knows nothing about the item {str(ask.item)[:80]!r}: its vector is '
                    'zero'
                )
            return _Query(ask, 'similar', vector, np.array([row]), NOTHING)
        user = None if ask.user is None else self.export.user_ids.row_of(ask.user)
        if ask.user is not None and user is None and ask.needs_user:
            raise UnknownUser(
                f'the export has no user {str(ask.user)[:80]!r}; it has {self.export.num_users}. '
                'Leave out fallback=error to get popular items, or send the items that are liked'
            )
        seen = NOTHING if user is None else self.export.seen(user).astype(np.int64)
        if ask.liked:
            return self._query_of_liked(ask, seen)
        left_out = NOTHING if ask.rules.repeat else seen
        if user is None:
            return _Query(ask, 'new user', None, left_out, NOTHING)
        return _Query(ask, 'history', self.export.user_vectors[user], left_out, NOTHING)

    def _query_of_liked(self, ask: Ask, seen: NDArray[np.int64]) -> _Query:
        fold_in = self.export.fold_in
        if fold_in is None:
            raise ValueError(
                f"the model {self.export.meta.get('model')!r} can't make a user of liked items; "
                'ask by user, or for items similar to one'
            )
        found = [self.items.catalog.row_of(item) for item in ask.liked]
        ignored = [item for item, row in zip(ask.liked, found, strict=True) if row is None]
        liked = np.array([row for row in found if row is not None], np.int64)
        rows = np.union1d(seen, liked)
        left_out = liked if ask.rules.repeat else rows
        is_new = rows >= self.export.num_items
        says = self.items.history[rows[is_new] - self.export.num_items].any(axis=-1)
        known = np.append(rows[~is_new], rows[is_new][np.asarray(says)])
        if not len(known):
            return _Query(ask, 'new user', None, left_out, NOTHING, ignored)
        if np.any(says):
            self._grown = fold_in = self._grown or fold_in.with_items(self.items.history)
        vector = fold_in.embed([known])[0]
        try:
            parts = fold_in.parts(known)
        except ValueError:  # The vector isn't a sum over the items.
            parts = None
        return _Query(ask, 'liked', vector, left_out, known, ignored, parts)

    def _scores(self, queries: Sequence[_Query]) -> NDArray[np.float32]:
        """Return all scores in float32. Shape: ``[len(queries), num_items]``."""
        first, count = self.export.num_items, len(self.items.catalog)
        scores = np.empty((len(queries), count), np.float32)
        zeros = np.zeros(self.export.channels, np.float32)
        vectors = np.stack([zeros if q.vector is None else q.vector for q in queries])
        np.matmul(vectors, self.export.item_vectors.T, out=scores[:, :first])
        if count > first:
            np.matmul(vectors, self.items.added.T, out=scores[:, first:])
        for row, query in zip(scores, queries, strict=True):
            if query.vector is None:
                row[:] = self.items.popularity
            elif query.ask.item is not None:
                _divide(row, self.items.norms * np.linalg.norm(query.vector))
        return scores

    def _answer(self, query: _Query, scores: NDArray[np.float32]) -> Answer:
        rules = query.ask.rules
        mask, boosts = self._mask_of(rules)
        error = 0.0
        if query.ask.item is not None:
            error = 2 * rounding_of(self.export.channels, 1.0)  # The lengths are rounded, too.
        elif query.vector is not None:
            length = float(np.linalg.norm(query.vector.astype(np.float64)))
            error = rounding_of(self.export.channels, length * self._longest)
        if boosts is not None:
            boosts = boosts * self._spread(query)
            # Under similarity, an item without a vector has a score of -inf.
            largest = np.abs(scores).max(where=np.isfinite(scores), initial=0.0)
            error += 1e-6 * float(np.abs(boosts).max() + largest)
            scores += boosts.astype(np.float32)
        if mask is not None:
            scores[~mask] = -np.inf
        scores[query.left_out] = -np.inf

        def exact(rows: NDArray[np.int64]) -> NDArray[np.float64]:
            found = self._exact(query, rows)
            return found if boosts is None else found + boosts[rows]

        rows, found = self._chosen(query, scores, exact, error, mask)
        items = [
            {**self.describe(int(row)), 'score': float(score)}
            for row, score in zip(rows, found, strict=True)
        ]
        self._add_reasons(items, rows, query)
        return Answer(self.export.version, query.reason, items, query.ignored)

    def _chosen(
        self,
        query: _Query,
        scores: NDArray[np.float32],
        exact: Callable[[NDArray[np.int64]], NDArray[np.float64]],
        error: float,
        mask: NDArray[np.bool_] | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the rows to show and their scores."""
        rules, k = query.ask.rules, query.ask.k
        if not (rules.max_per or rules.pin or rules.diversity):
            return best_rows(scores, k, exact, error)
        catalog = self.items.catalog
        pins = catalog.rows_of(rules.pin, 'pin')
        pin_scores = np.where(scores[pins] > -np.inf, exact(pins), np.nan)

        def search(users: NDArray[np.int64], depth: int) -> tuple[Any, Any]:
            rows, found = best_rows(scores, depth, exact, error)
            missing = (0, depth - len(rows))
            return (
                np.pad(rows, missing, constant_values=-1)[None],
                np.pad(found, missing, constant_values=-np.inf)[None],
            )

        vectors = cast(NDArray[np.float32], _Vectors(self.items))
        chosen = rules.choose(
            catalog,
            search,
            1,
            k,
            pin_scores=pin_scores[None],
            vectors=vectors,
            allowed=mask,
        )
        is_item = chosen.items[0] >= 0
        return chosen.items[0][is_item], chosen.scores[0][is_item]

    def _exact(self, query: _Query, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the scores of some items in float64."""
        if query.vector is None:
            return self.items.popularity[rows].astype(np.float64)
        vector = query.vector.astype(np.float64)
        vectors = self.items.vectors(rows).astype(np.float64)
        scores: NDArray[np.float64] = (vectors * vector).sum(axis=1)
        if query.ask.item is not None:
            lengths = np.sqrt((vectors * vectors).sum(axis=1)) * np.sqrt((vector * vector).sum())
            _divide(scores, lengths)
        return scores

    def _spread(self, query: _Query) -> float:
        """Return the unit of boosts: the standard deviation of the scores of the export's items."""
        if query.vector is None:
            return float(self.export.popularity.std(dtype=np.float64)) or 1.0
        is_cosine = query.ask.item is not None
        if is_cosine not in self._covariances:
            vectors: NDArray[np.floating] = self.export.item_vectors
            if is_cosine:
                length = self.items.norms[: len(vectors), None]
                vectors = vectors / np.where(length > 0, length, 1)
            self._covariances[is_cosine] = item_covariance(vectors)
        vector = query.vector.astype(np.float64)
        if is_cosine:
            vector = vector / np.linalg.norm(vector)
        return float(score_spread(vector[None], self._covariances[is_cosine])[0])

    def _mask_of(self, rules: Rules) -> tuple[NDArray[np.bool_] | None, NDArray[np.float64] | None]:
        """Return which items may be shown and what is added to their scores, None for no change."""
        part = Rules(only=rules.only, exclude=rules.exclude, where=rules.where, boost=rules.boost)
        if part == NO_RULES:
            return None if self.items.are_all_there else self.items.is_there, None
        key = json.dumps(part.to_dict(), sort_keys=True)
        if key not in self._masks:
            if len(self._masks) == MOST_RULES:
                self._masks.pop(next(iter(self._masks)))
            mask = part.allowed(self.items.catalog) & self.items.is_there
            self._masks[key] = mask, part.boosts(self.items.catalog) if part.boost else None
        return self._masks[key]

    def _add_reasons(
        self, items: list[dict[str, Any]], rows: NDArray[np.int64], query: _Query
    ) -> None:
        """Name for each item the liked one that adds most to its score."""
        if query.parts is None or not len(rows):
            return
        shares = query.parts.astype(np.float64) @ self.items.vectors(rows).astype(np.float64).T
        catalog = self.items.catalog
        for item, column in zip(items, shares.T, strict=True):
            best = int(column.argmax())
            if column[best] > 0:
                row = int(query.liked[best])
                item['because'] = {'item': catalog.ids[row], 'title': catalog.titles[row]}


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns, or the mistake of a request that it has found."""
    try:
        return function(*arguments)
    except (LookupError, ValueError) as error:
        return error


def _divide(scores: NDArray[np.floating], lengths: NDArray[np.floating]) -> None:
    """Divide inner products by lengths in place; what has none is left out."""
    np.divide(scores, lengths, out=scores, where=lengths > 0)
    scores[lengths == 0] = -np.inf


def _plain(value: Any) -> str | float | int | None:
    """Return the value of a field for JSON, :obj:`None` if it is missing."""
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    if not np.isfinite(number):
        return None
    return int(number) if number.is_integer() else number
