from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ['FoldIn', 'HistoryFoldIn', 'LeastSquaresFoldIn', 'LinearFoldIn']

Array = NDArray[Any]
Floats = NDArray[np.float64]

NORMALISE = ('none', 'sqrt', 'mean', 'unit')
TINY = 1e-30
CHUNK = 1024  # Users that are embedded at a time.
HEAD = 'head_'
HEAD_ARRAYS = ('mean', 'weight_in', 'bias_in', 'weight_out', 'bias_out')


class FoldIn(ABC):
    r"""Embeds users whom a model was not trained on, by the items that they like.

    A trained model gives it (:meth:`Recommender.fold_in <pyg_mmgef.nn.Recommender.fold_in>`). It
    needs NumPy alone, so that a server can keep it without torch, and embeds a user in closed form:
    nothing is trained. The score of an item for the user is the inner product with the item's
    embedding, as for any other user.

    A subclass keeps the arrays of one way to do so. All of them are saved and loaded alike, by
    :meth:`to_arrays` with :attr:`settings`, and :meth:`from_arrays`.
    """

    kind: ClassVar[str]
    """The name of the way, as :attr:`settings` has it."""

    @property
    @abstractmethod
    def num_items(self) -> int:
        """Number of items that a history may hold."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of the embeddings."""

    @property
    def settings(self) -> dict[str, Any]:
        """What isn't an array, for a file in JSON."""
        return {'kind': self.kind}

    @abstractmethod
    def to_arrays(self) -> dict[str, Array]:
        """Return the arrays by name."""

    @staticmethod
    def from_arrays(arrays: Mapping[str, Array], settings: Mapping[str, Any]) -> 'FoldIn':
        """Return what was saved.

        Args:
            arrays: What :meth:`to_arrays` returned; they may be memory-mapped.
            settings: What :attr:`settings` was.

        Raises:
            ValueError: If the kind is unknown, or an array is missing or misshaped.
        """
        kinds = {cls.kind: cls for cls in (HistoryFoldIn, LeastSquaresFoldIn, LinearFoldIn)}
        options: dict[str, Any] = {**arrays, **settings}
        kind = options.pop('kind', None)
        head = {name: options.pop(HEAD + name) for name in HEAD_ARRAYS if HEAD + name in options}
        options |= {'head': head} if head else {}
        if kind not in kinds:
            raise ValueError(f"'kind' must be one of {sorted(kinds)} (got {kind!r})")
        try:
            return kinds[kind](**options)
        except TypeError as error:
            raise ValueError(f"the arrays or settings don't fit kind={kind!r}: {error}") from error

    @abstractmethod
    def with_items(self, vectors: ArrayLike) -> 'FoldIn':
        """Return one whose histories may also hold further items, in the rows behind the others.

        Args:
            vectors: What each new item gives to a history, such as
                :meth:`ContentWeights.embed <pyg_mmgef.catalog.ContentWeights.embed>` makes of its
                features by the weights for histories. Shape: ``[N, channels]``.

        Raises:
            ValueError: If the vectors have another shape.
        """

    def embed(self, histories: Sequence[ArrayLike]) -> NDArray[np.float32]:
        """Return the embeddings of users.

        Args:
            histories: The rows of the items that each user likes, in any order; a repeated one
                counts once.

        Returns:
            Shape: ``[len(histories), channels]``.

        Raises:
            ValueError: If a history isn't a vector of integers, or holds an item that isn't there.
        """
        rows = [np.unique(self._checked(history, place)) for place, history in enumerate(histories)]
        out = np.empty((len(rows), self.channels), dtype=np.float32)
        for start in range(0, len(rows), CHUNK):
            out[start : start + CHUNK] = self._embedded(rows[start : start + CHUNK])
        return out

    def embed_csr(self, indptr: ArrayLike, indices: ArrayLike) -> NDArray[np.float32]:
        """Return the embeddings of users, whose histories lie one behind the other.

        Args:
            indptr: Where each history starts, and where the last one ends. Shape: ``[N + 1]``.
            indices: The items. Shape: ``[indptr[-1]]``.

        Raises:
            ValueError: As :meth:`embed`, or if the pointers don't fit.
        """
        pointer, items = np.asarray(indptr), np.asarray(indices)
        if (
            pointer.ndim != 1
            or pointer.size == 0
            or pointer[0] != 0
            or pointer[-1] != items.size
            or np.any(np.diff(pointer) < 0)
        ):
            raise ValueError(
                "'indptr' must start with 0, not decrease, and end with the number of 'indices' "
                f'({items.size})'
            )
        return self.embed(np.split(items, pointer[1:-1]) if pointer.size > 1 else [])

    def parts(self, history: ArrayLike) -> NDArray[np.float32]:
        """Return what each liked item gives to the user's embedding; the parts sum to it.

        The inner product of a part with an item's embedding says how much the liked item adds to
        the item's score. An item that is repeated has its part split.

        Args:
            history: The items that the user likes. Shape: ``[M]``.

        Returns:
            Shape: ``[M, channels]``.

        Raises:
            ValueError: As :meth:`embed`, or if the embedding isn't a sum over the items.
        """
        items, position, count = np.unique(
            self._checked(history), return_inverse=True, return_counts=True
        )
        parts = self._parts(items) / count[:, None]
        return parts[position.reshape(-1)].astype(np.float32)

    @abstractmethod
    def _embedded(self, histories: list[Array]) -> Array:
        """Return the embeddings, of distinct items each."""

    @abstractmethod
    def _parts(self, items: Array) -> Array:
        """Return the part of each of distinct items."""

    def _checked(self, history: ArrayLike, place: int | None = None) -> Array:
        name = "'history'" if place is None else f'history {place}'
        items = np.asarray(history)
        if items.size == 0:
            return np.zeros(0, dtype=np.int64)
        if items.ndim != 1 or items.dtype.kind not in 'iu':
            raise ValueError(
                f'{name} must be a vector of item rows '
                f'(got shape {list(items.shape)}, {items.dtype})'
            )
        low, high = items.min(), items.max()
        if low < 0 or high >= self.num_items:
            raise ValueError(
                f'{name} holds item row {low if low < 0 else high}, but there are rows 0 to '
                f'{self.num_items - 1}; add new items by with_items'
            )
        return items

    def _new_rows(self, vectors: ArrayLike, channels: int) -> Array:
        new = np.asarray(vectors)
        if new.ndim != 2 or new.shape[1] != channels:
            raise ValueError(f"'vectors' must have shape [N, {channels}] (got {list(new.shape)})")
        return new


class LinearFoldIn(FoldIn):
    r"""A user is a sum over the liked items.

    .. math::
        \mathbf{z}_u = \mathbf{b} + s \sum_{j \in \mathcal{N}(u)} \mathbf{v}_j

    with a vector :math:`\mathbf{v}_j` of each item, and the factor :math:`s` of a user with
    :math:`n` items: 1 (``'none'``), :math:`1 / \sqrt{n}` (``'sqrt'``), :math:`1 / n` (``'mean'``),
    or what makes the sum a unit vector (``'unit'``).

    The part of an item is :math:`s \mathbf{v}_j` and an equal share of :math:`\mathbf{b}`.

    Args:
        vectors: The vectors. Shape: ``[num_items, channels]``.
        offset: The vector :math:`\mathbf{b}`, zero for :obj:`None`. Shape: ``[channels]``.
            (default: :obj:`None`)
        normalise: The factor :math:`s`. (default: ``'sqrt'``)
        explained: Where the vectors were fitted to the embeddings of the users that the model
            knows: the share of their variance that is explained of a user left out. :obj:`None`
            where the vectors follow from the model. (default: :obj:`None`)

    Raises:
        ValueError: If a shape doesn't fit or the factor is unknown.

    Example:
        >>> fold_in = LinearFoldIn(np.eye(3), normalise='sqrt')
        >>> fold_in.embed([[0], [0, 1, 2]]).round(2)
        array([[1.  , 0.  , 0.  ],
               [0.58, 0.58, 0.58]], dtype=float32)
    """

    kind = 'linear'

    def __init__(
        self,
        vectors: Array,
        offset: Array | None = None,
        *,
        normalise: str = 'sqrt',
        explained: float | None = None,
    ) -> None:
        _check_matrix('vectors', vectors)
        if normalise not in NORMALISE:
            raise ValueError(f"'normalise' must be one of {NORMALISE} (got {normalise!r})")
        if offset is None:
            offset = np.zeros(vectors.shape[1], dtype=np.float32)
        _check_shape('offset', offset, (vectors.shape[1],))
        self.vectors = vectors
        self.offset = offset
        self.normalise = normalise
        self.explained = explained

    @property
    def num_items(self) -> int:
        """Number of items that a history may hold."""
        return self.vectors.shape[0]

    @property
    def channels(self) -> int:
        """Channels of the embeddings."""
        return self.vectors.shape[1]

    @property
    def settings(self) -> dict[str, Any]:
        """What isn't an array, for a file in JSON."""
        return {**super().settings, 'normalise': self.normalise, 'explained': self.explained}

    def to_arrays(self) -> dict[str, Array]:
        """Return the arrays by name."""
        return {'vectors': self.vectors, 'offset': self.offset}

    def with_items(self, vectors: ArrayLike) -> 'LinearFoldIn':
        """Return one whose histories may also hold further items, see :class:`FoldIn`."""
        new = self._new_rows(vectors, self.channels)
        return LinearFoldIn(
            np.concatenate([self.vectors, new.astype(self.vectors.dtype)]),
            self.offset,
            normalise=self.normalise,
            explained=self.explained,
        )

    def _embedded(self, histories: list[Array]) -> Array:
        total = np.zeros((len(histories), self.channels))
        count = np.array([len(items) for items in histories])
        filled = count > 0
        if filled.any():
            rows = self.vectors[np.concatenate(histories)].astype(np.float64)
            start = (np.cumsum(count) - count)[filled]
            total[filled] = np.add.reduceat(rows, start, axis=0)
        return self.offset + self._factor(total, count) * total

    def _parts(self, items: Array) -> Array:
        rows = self.vectors[items].astype(np.float64)
        count = np.array([len(items)])
        return self._factor(rows.sum(axis=0)[None], count) * rows + self.offset / max(1, len(items))

    def _factor(self, total: Floats, count: Array) -> Floats:
        count = np.maximum(count, 1)[:, None].astype(np.float64)
        if self.normalise == 'unit':
            return 1 / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), TINY)
        powers = {'none': 0.0, 'sqrt': -0.5, 'mean': -1.0}
        return count ** powers[self.normalise]


class LeastSquaresFoldIn(FoldIn):
    r"""A user is the solution of the linear system that alternating least squares has for it.

    .. math::
        \mathbf{z}_u = \mathbf{A}_u^{-1} \sum_{j \in \mathcal{N}(u)} \mathbf{v}_j, \qquad
        \mathbf{A}_u = \mathbf{G} + \lambda (n + c)^{\nu} \mathbf{I} + \sum_{j \in \mathcal{N}(u)}
        \mathbf{v}_j \mathbf{v}_j^{\top}

    with the embeddings :math:`\mathbf{v}_j` of the items, the weighted gram matrix
    :math:`\mathbf{G}` of all items that were trained on, and the user's number :math:`n` of items.
    The part of an item is :math:`\mathbf{A}_u^{-1} \mathbf{v}_j`.

    A network on top of the embedding is the head, :math:`\mathbf{W}_2 \tanh(\mathbf{W}_1
    (\mathbf{z}_u - \bar{\mathbf{z}}) + \mathbf{b}_1) + \mathbf{b}_2`, where a user without items
    has :math:`\bar{\mathbf{z}}` as the embedding. With a head there are no parts.

    Args:
        vectors: The embeddings of the items. Shape: ``[num_items, C]``.
        gram: The matrix :math:`\mathbf{G}`. Shape: ``[C, C]``.
        penalty: The number :math:`\lambda`.
        base_count: The number :math:`c`.
        exponent: The number :math:`\nu`.
        head: The arrays ``mean`` (shape ``[C]``), ``weight_in`` (``[C, H]``), ``bias_in``
            (``[H]``), ``weight_out`` (``[H, channels]``) and ``bias_out`` (``[channels]``), which
            are :math:`\bar{\mathbf{z}}`, :math:`\mathbf{W}_1^{\top}`, :math:`\mathbf{b}_1`,
            :math:`\mathbf{W}_2^{\top}` and :math:`\mathbf{b}_2`; :obj:`None` for no head.
            (default: :obj:`None`)

    Raises:
        ValueError: If a shape doesn't fit, or a number is negative.

    Example:
        >>> fold_in = LeastSquaresFoldIn(
        ...     np.eye(2), np.eye(2), penalty=1.0, base_count=1.0, exponent=0.0
        ... )
        >>> fold_in.embed([[0], [0, 1]]).round(2)
        array([[0.33, 0.  ],
               [0.33, 0.33]], dtype=float32)
    """

    kind = 'least_squares'

    def __init__(
        self,
        vectors: Array,
        gram: Array,
        *,
        penalty: float,
        base_count: float,
        exponent: float,
        head: Mapping[str, Array] | None = None,
    ) -> None:
        _check_matrix('vectors', vectors)
        width = vectors.shape[1]
        _check_shape('gram', gram, (width, width))
        numbers = {'penalty': penalty, 'base_count': base_count, 'exponent': exponent}
        for name, number in numbers.items():
            if not (np.isfinite(number) and number >= 0):
                raise ValueError(f"'{name}' must be finite and not negative (got {number})")
        if head is not None and set(head) != set(HEAD_ARRAYS):
            raise ValueError(f"'head' must have the arrays {HEAD_ARRAYS} (got {tuple(head)})")
        if head is not None:
            _check_matrix('weight_out', head['weight_out'])
            hidden, channels = head['weight_out'].shape
            _check_shape('mean', head['mean'], (width,))
            _check_shape('weight_in', head['weight_in'], (width, hidden))
            _check_shape('bias_in', head['bias_in'], (hidden,))
            _check_shape('bias_out', head['bias_out'], (channels,))
        self.vectors = vectors
        self.gram = gram
        self.penalty = penalty
        self.base_count = base_count
        self.exponent = exponent
        self.head = None if head is None else dict(head)

    @property
    def num_items(self) -> int:
        """Number of items that a history may hold."""
        return self.vectors.shape[0]

    @property
    def channels(self) -> int:
        """Channels of the embeddings."""
        return self.head['weight_out'].shape[1] if self.head else self.vectors.shape[1]

    @property
    def settings(self) -> dict[str, Any]:
        """What isn't an array, for a file in JSON."""
        return {
            **super().settings,
            'penalty': self.penalty,
            'base_count': self.base_count,
            'exponent': self.exponent,
        }

    def to_arrays(self) -> dict[str, Array]:
        """Return the arrays by name."""
        head = {HEAD + name: array for name, array in (self.head or {}).items()}
        return {'vectors': self.vectors, 'gram': self.gram, **head}

    def with_head(self, head: Mapping[str, Array]) -> 'LeastSquaresFoldIn':
        """Return one with a network on top, whose arrays are those of the class."""
        return self._with(head=head)

    def with_items(self, vectors: ArrayLike) -> 'LeastSquaresFoldIn':
        """Return one whose histories may also hold further items, see :class:`FoldIn`.

        The gram matrix stays that of the items that were trained on.
        """
        new = self._new_rows(vectors, self.vectors.shape[1])
        return self._with(vectors=np.concatenate([self.vectors, new.astype(self.vectors.dtype)]))

    def _with(self, **others: Any) -> 'LeastSquaresFoldIn':
        own = {name: value for name, value in self.settings.items() if name != 'kind'}
        arrays = {'vectors': self.vectors, 'gram': self.gram, 'head': self.head}
        return LeastSquaresFoldIn(**{**own, **arrays, **others})

    def _embedded(self, histories: list[Array]) -> Array:
        out = np.zeros((len(histories), self.vectors.shape[1]))
        for row, items in zip(out, histories, strict=True):
            if len(items):
                own, matrix = self._system(items)
                row[:] = np.linalg.solve(matrix, own.sum(axis=0))
        return out if self.head is None else self._through_head(out, self.head)

    def _parts(self, items: Array) -> Array:
        if self.head:
            raise ValueError(
                "a network stands on top of this user's embedding, so it isn't a sum over the "
                'items; a model without one has parts'
            )
        own, matrix = self._system(items)
        return np.linalg.solve(matrix, own.T).T

    def _system(self, items: Array) -> tuple[Floats, Floats]:
        """Return the embeddings of the items, and the matrix."""
        own = self.vectors[items].astype(np.float64)
        matrix = self.gram + own.T @ own
        diagonal = np.einsum('ii->i', matrix)
        diagonal += self.penalty * (len(items) + self.base_count) ** self.exponent
        return own, matrix

    def _through_head(self, z: Floats, head: Mapping[str, Array]) -> Floats:
        is_known = z.any(axis=1, keepdims=True)
        hidden = np.where(is_known, z - head['mean'], 0.0) @ head['weight_in'] + head['bias_in']
        out: Floats = np.tanh(hidden) @ head['weight_out'] + head['bias_out']
        return out


class HistoryFoldIn(FoldIn):
    """A user is the history itself: a channel for each item, one for what the user likes.

    It is that of models that score by similar items, such as EASE and ItemKNN.

    Args:
        num_items: Number of items.

    Raises:
        ValueError: If the number isn't positive.

    Example:
        >>> HistoryFoldIn(num_items=3).embed([[0, 2]])
        array([[1., 0., 1.]], dtype=float32)
    """

    kind = 'history'

    def __init__(self, *, num_items: int) -> None:
        if num_items < 1:
            raise ValueError(f"'num_items' must be a positive integer (got {num_items})")
        self._num_items = num_items

    @property
    def num_items(self) -> int:
        """Number of items that a history may hold."""
        return self._num_items

    @property
    def channels(self) -> int:
        """Channels of the embeddings, one for each item."""
        return self._num_items

    @property
    def settings(self) -> dict[str, Any]:
        """What isn't an array, for a file in JSON."""
        return {**super().settings, 'num_items': self._num_items}

    def to_arrays(self) -> dict[str, Array]:
        """Return no array."""
        return {}

    def with_items(self, vectors: ArrayLike) -> 'FoldIn':
        """Raise a :class:`ValueError`: an item that the model doesn't know has no channel."""
        raise ValueError(
            'the model has a channel for each item that it knows, so a history cannot hold others; '
            'build the model anew with the new items'
        )

    def _embedded(self, histories: list[Array]) -> Array:
        out = np.zeros((len(histories), self._num_items), dtype=np.float32)
        for row, items in zip(out, histories, strict=True):
            row[items] = 1.0
        return out

    def _parts(self, items: Array) -> Array:
        out = np.zeros((len(items), self._num_items), dtype=np.float32)
        out[np.arange(len(items)), items] = 1.0
        return out


def _check_matrix(name: str, array: Array) -> None:
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"'{name}' must be a matrix with rows (got shape {list(array.shape)})")


def _check_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"'{name}' must have shape {list(shape)} (got {list(array.shape)})")
