"""The greedy choice of a list of items: pinned ones first, few of a kind, diverse."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ['POOL', 'Reranked', 'rerank']

POOL = 10
"""Diversity chooses among this many times as many items as are shown."""

_CHUNK = 2**22  # numbers in the vectors of the candidates that are compared at a time
_PIN, _ORDER = 1e9, -2.0
"""Pinned items come before any value of MMR, which lies in [-1, 1], and plain order behind it."""


class Reranked(NamedTuple):
    """What is shown to each user.

    Args:
        items: The rows of the items, ``-1`` where there are no more. Shape: ``[num_users, k]``.
        scores: Their scores, ``-inf`` where there are no more. Shape: ``[num_users, k]``.
        is_complete: Whether longer lists of candidates would change nothing. Where that is false,
            ask for longer ones. Shape: ``[num_users]``.
    """

    items: NDArray[np.int64]
    scores: NDArray[np.float64]
    is_complete: NDArray[np.bool_]


def rerank(
    items: ArrayLike,
    scores: ArrayLike,
    k: int,
    *,
    allowed: NDArray[np.bool_],
    groups: Sequence[tuple[NDArray[np.int64], int]] = (),
    pinned: NDArray[np.int64] | None = None,
    pin_scores: ArrayLike | None = None,
    diversity: float = 0.0,
    vectors: NDArray[np.floating] | None = None,
) -> Reranked:
    r"""Choose :math:`k` of each user's candidates, one after the other.

    Pinned items come first. Each next place goes to the item of

    .. math::
        \max_{i \in P} \; (1 - \lambda) \, r_{ui} - \lambda \max_{j \in S} \cos^+(z_i, z_j)

    whose groups aren't full: Maximal Marginal Relevance of `"The Use of MMR, Diversity-Based
    Reranking for Reordering Documents and Producing Summaries"
    <https://doi.org/10.1145/290941.291025>`_ (Carbonell and Goldstein, 1998). :math:`S` are the
    items that were chosen, the pinned ones included, :math:`P` the first :math:`10 k` candidates
    that are allowed, and :math:`r_{ui} \in [0, 1]` their scores, of which the lowest becomes 0 and
    the highest 1. A negative cosine counts as zero: items that have nothing in common differ
    enough, and the opposite of what a user likes gets no credit for it. Without diversity, and
    once :math:`P` is used up, candidates follow in their order.

    Args:
        items: Candidates of each user, the best first, ``-1`` behind the last.
            Shape: ``[num_users, num_candidates]``.
        scores: Their scores, which fall along a row. Shape: ``[num_users, num_candidates]``.
        k: Number of items to choose.
        allowed: Mask of the items that may be shown. Shape: ``[num_items]``.
        groups: For each limit the group of each item, ``-1`` for none, and the number of items of
            a group that may be shown. Pinned items count, but are shown in any case.
            (default: ``()``)
        pinned: Rows of the items that come first. (default: :obj:`None`)
        pin_scores: Their scores, NaN if a user doesn't see one. Shape: ``[num_users, num_pinned]``.
            (default: :obj:`None`)
        diversity: The weight :math:`\lambda`. (default: ``0.0``)
        vectors: Vectors of the items, needed for diversity. Shape: ``[num_items, channels]``.
            (default: :obj:`None`)

    Raises:
        ValueError: If shapes don't fit, or vectors or scores of pinned items are missing.
    """
    rows, values = np.asarray(items, np.int64), np.asarray(scores, np.float64)
    if rows.ndim != 2 or values.shape != rows.shape:
        raise ValueError(
            "'items' and 'scores' must have one shape [num_users, num_candidates] (got "
            f'{list(rows.shape)} and {list(values.shape)})'
        )
    if k < 1:
        raise ValueError(f"'k' must be a positive integer (got {k!r})")
    pinned = np.zeros(0, np.int64) if pinned is None else pinned
    shape = (len(rows), len(pinned))
    pin_values = np.zeros(shape) if pin_scores is None else np.asarray(pin_scores, np.float64)
    if pin_values.shape != shape or (pin_scores is None and len(pinned) > 0):
        found = 'none' if pin_scores is None else list(pin_values.shape)
        raise ValueError(
            f"'pin_scores' must have shape {list(shape)}, a score of each pinned item (got {found})"
        )
    if diversity and vectors is None:
        raise ValueError("'diversity' compares items; give 'vectors', one an item")
    step = max(1, len(rows))
    if diversity and vectors is not None:
        step = max(1, _CHUNK // ((len(pinned) + POOL * k) * max(1, vectors.shape[1])))
    parts = []
    for start in range(0, max(1, len(rows)), step):
        part = slice(start, start + step)
        table = _Table(rows[part], values[part], allowed, pinned, pin_values[part])
        if diversity and vectors is not None:
            table.compare(POOL * k, diversity, vectors)
        parts.append(table.choose(k, groups))
    return Reranked(*map(np.concatenate, zip(*parts, strict=True)))


class _Table:
    """Pinned items and candidates of some users, side by side, with what decides between them."""

    def __init__(
        self,
        items: NDArray[np.int64],
        scores: NDArray[np.float64],
        allowed: NDArray[np.bool_],
        pinned: NDArray[np.int64],
        pin_scores: NDArray[np.float64],
    ) -> None:
        is_there = (items >= 0) & np.isfinite(scores)
        is_open = is_there & allowed[items]
        self.has_end = ~is_there.all(axis=1) | (is_open.sum(axis=1) >= allowed.sum())
        is_shown = ~np.isnan(pin_scores) & allowed[pinned]
        for item, shown in zip(pinned, is_shown.T, strict=True):
            is_open &= (items != item) | ~shown[:, None]
        order = np.argsort(~is_open, axis=1, kind='stable')  # what is left out goes to the end
        items, scores = np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
        is_open = np.take_along_axis(is_open, order, 1)
        self.num_pins = len(pinned)
        value = np.append(_PIN - np.arange(len(pinned)), _ORDER - np.arange(items.shape[1]))
        self.items = np.hstack([np.broadcast_to(pinned, is_shown.shape), items])
        self.scores = np.hstack([pin_scores, scores])
        self.value = np.where(np.hstack([is_shown, is_open]), value, -np.inf)
        self.has_pool = np.ones(len(items), bool)
        self.diversity, self.directions = 0.0, np.zeros((len(items), 0, 0))

    def compare(self, pool: int, diversity: float, vectors: NDArray[np.floating]) -> None:
        """Let relevance and diversity decide between the first candidates."""
        columns = slice(self.num_pins, self.num_pins + pool)
        value, scores = self.value[:, columns], self.scores[:, columns]
        is_open = value > -np.inf
        low = np.where(is_open, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
        high = np.where(is_open, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
        spread = np.where(high > low, high - low, 1.0)
        relevance = np.where(is_open, scores - low, 0) / spread
        value[...] = np.where(is_open, (1 - diversity) * relevance, -np.inf)
        self.has_pool = is_open.sum(axis=1) >= pool
        near = vectors[self.items[:, : columns.stop]]
        norm = np.linalg.norm(near, axis=2, keepdims=True)
        self.diversity, self.directions = diversity, near / np.where(norm > 0, norm, 1)

    def choose(
        self, k: int, groups: Sequence[tuple[NDArray[np.int64], int]]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Return items, their scores, and whether longer lists of candidates change nothing."""
        users = np.arange(len(self.items))
        out = np.full((len(users), k), -1), np.full((len(users), k), -np.inf)
        codes = [group[self.items] for group, _ in groups]
        counts = [np.zeros(self.items.shape, np.int64) for _ in groups]
        value = self.value.copy()
        closest = np.zeros(self.directions.shape[:2])
        width = closest.shape[1]
        for place in range(k if self.items.shape[1] else 0):
            penalised = value.copy()
            penalised[:, self.num_pins : width] -= closest[:, self.num_pins :]
            best = penalised.argmax(axis=1)
            found = value[users, best] > -np.inf
            for array, column in zip(out, (self.items, self.scores), strict=True):
                array[found, place] = column[users, best][found]
            value[users, best] = -np.inf
            for code, count, (_, most) in zip(codes, counts, groups, strict=True):
                own = code[users, best][:, None]
                count += (code == own) & (own >= 0) & found[:, None]
                is_full = count[:, self.num_pins :] >= most
                value[:, self.num_pins :][is_full] = -np.inf
            if width > 0:
                # A candidate behind the pool is chosen only when the pool is used up.
                last = self.directions[users, np.minimum(best, width - 1)]
                cosine = np.matmul(self.directions, last[:, :, None])[:, :, 0]
                closest = np.maximum(closest, self.diversity * cosine)
        return *out, self.has_end | (self.has_pool & (out[0][:, -1] >= 0))
