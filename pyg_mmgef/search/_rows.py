"""The features of a search: checked, in float32, with their metric."""

import hashlib
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from pyg_mmgef.sparse._csr import csr_tensor
from pyg_mmgef.validate import check_choice, check_finite

__all__ = ['METRICS', 'SearchRows', 'as_writable', 'pair_products']

FLOAT32 = torch.finfo(torch.float32)
METRICS = ('cosine', 'ip', 'l2')
SAFE_NORM = (1e-15, 1e15)  # Between these, squares of float32 rows neither under- nor overflow.
FINGERPRINT_ROWS = 2**14  # Rows hashed at a time.
DIFFERENCE_ENTRIES = 2**20  # Coordinates of differences held at a time: 4 MiB stay in the cache.


class SearchRows:
    r"""A matrix of item features and the metric that compares its rows.

    Products of rows that point in unrelated directions are zero but for rounding errors, whose size
    depends on the basis. :meth:`without_noise` sets them to zero.

    Float32 features, also memory-mapped ones, are not copied: a row is normalised (cosine) or
    centred (L2, which keeps distances and loses fewer digits) when it is read. Other precisions are
    converted to float32 once. Under cosine, a matrix is copied if the squared length of a row
    under- or overflows.

    Args:
        x: Item features, a tensor or an array, floating point. Shape: ``[N, channels]``.
        metric: ``'cosine'``, ``'ip'`` or ``'l2'``. (default: ``'cosine'``)
        allow_empty: Accept a matrix without rows. (default: :obj:`False`)

    Raises:
        ValueError: If :obj:`x` isn't a non-empty floating point matrix of finite values, or has
            rows so long that their inner products or distances overflow, or the metric is unknown.
    """

    def __init__(
        self, x: Tensor | np.ndarray, metric: str = 'cosine', *, allow_empty: bool = False
    ) -> None:
        check_choice('metric', metric, METRICS)
        x = _as_tensor(x, allow_empty).detach()
        self.spacing = max(torch.finfo(x.dtype).eps, FLOAT32.eps)
        x = x.float()
        norm = torch.linalg.vector_norm(x, dim=1)
        if not bool(torch.isfinite(norm).all()):  # Not finite, or just very long.
            check_finite('x', x)
        if metric != 'cosine':
            _check_length(norm, metric)
        self.metric = metric
        self.x = x
        self.scale: Tensor | None = None
        self.has_content = torch.ones_like(norm, dtype=torch.bool)
        if metric == 'cosine':
            self.x, norm = _rescaled(x, norm)
            self.has_content = norm > 0
            self.scale = torch.where(self.has_content, 1 / norm, 0.0)
        self.center: Tensor | None = None
        if metric == 'l2':
            self.center = x.mean(dim=0, dtype=torch.float64).float()

    @property
    def num_items(self) -> int:
        """Number of rows."""
        return self.x.size(0)

    @property
    def channels(self) -> int:
        """Number of columns."""
        return self.x.size(1)

    @property
    def device(self) -> torch.device:
        """Device of the features."""
        return self.x.device

    def __getitem__(self, index: slice | Tensor) -> Tensor:
        """Return rows as they are compared: of unit length (cosine) or centred (L2)."""
        rows = self.x[index] if isinstance(index, slice) else self.x.index_select(0, index)
        if self.center is not None:
            return rows - self.center
        return rows if self.scale is None else rows * self.scale[index, None]

    def select(self, index: Tensor) -> 'SearchRows':
        """Return the features of some of the items (a copy)."""
        out = object.__new__(SearchRows)
        out.metric, out.center, out.spacing = self.metric, self.center, self.spacing
        out.x = self.x[index]
        out.scale = None if self.scale is None else self.scale[index]
        out.has_content = self.has_content[index]
        return out

    def queries(self, x: Tensor | np.ndarray) -> 'SearchRows':
        """Return features of other items, to be compared with these.

        Args:
            x: Features of other items, possibly none. Shape: ``[Q, channels]``.

        Raises:
            ValueError: If they aren't a finite matrix, or have other channels.
        """
        other = SearchRows(x, self.metric, allow_empty=True)
        if other.channels != self.channels:
            raise ValueError(
                f"'x' must have the {self.channels} channels of the index (got {other.channels})"
            )
        other.center = self.center
        return other

    def append(self, x: Tensor | np.ndarray) -> 'SearchRows':
        """Return the features with those of other items appended (a copy)."""
        other = self.queries(x)
        out = object.__new__(SearchRows)
        out.metric, out.center = self.metric, self.center
        out.spacing = max(self.spacing, other.spacing)
        out.x = torch.cat([self.x, other.x])
        out.has_content = torch.cat([self.has_content, other.has_content])
        out.scale = None
        if self.scale is not None and other.scale is not None:
            out.scale = torch.cat([self.scale, other.scale])
        return out

    def fingerprint(self) -> str:
        """Return a checksum of metric, shape and values."""
        digest = hashlib.blake2b(f'{self.metric} {list(self.x.shape)}'.encode(), digest_size=16)
        for rows in self.x.split(FINGERPRINT_ROWS):
            digest.update(rows.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def noise(self) -> float:
        r"""The cosine up to which two rows may be orthogonal but for rounding.

        It is :math:`\epsilon_x + \epsilon \sqrt{c}` with the spacing :math:`\epsilon_x` of the
        precision that the features came in, :math:`\epsilon` of float32, and :math:`c` channels.
        The first is at most what rounding both rows changes, the second what the sums of products
        add up to: rounding errors are as often positive as negative, so they grow with the root
        (`"A New Approach to Probabilistic Rounding Error Analysis"
        <https://doi.org/10.1137/18M1226312>`_).
        """
        return self.spacing + FLOAT32.eps * self.channels**0.5

    def without_noise(self, score: Tensor, item: Tensor, neighbor: Tensor) -> tuple[Tensor, Tensor]:
        """Return similarities with zero for those that rounding alone can make, best first.

        Distances stay as they are: those of rows that differ in nothing but rounding are small.

        Args:
            score: Similarities, best first. Shape: ``[Q, C]``.
            item: The rows that they belong to. Shape: ``[Q]``.
            neighbor: The rows that these are compared with. Shape: ``[Q, C]``.

        Returns:
            Similarities and neighbours of the same shapes.
        """
        if self.metric == 'l2':
            return score, neighbor
        if self.metric == 'cosine':
            return score.masked_fill(score.abs() <= self.noise, 0.0), neighbor
        norm = torch.linalg.vector_norm(self.x, dim=1)
        noise = self.noise * norm[item, None] * norm[neighbor]
        score, order = score.masked_fill(score.abs() <= noise, 0.0).sort(
            dim=1, descending=True, stable=True
        )
        return score, neighbor.gather(1, order)

    def score(self, query: 'SearchRows', row: Tensor, candidate: Tensor) -> Tensor:
        r"""Return the float32 similarity of some queries and their candidate items.

        Inner products are :func:`pair_products`; L2 distances come from differences.

        Args:
            query: The queries; these features themselves, or others by :meth:`queries`.
            row: The rows of :obj:`query` to score. Shape: ``[Q]``.
            candidate: Ids of items, -1 for padding. Shape: ``[Q, C]``.

        Returns:
            Cosines, inner products or negative squared distances, :math:`-\infty` where there is
            no candidate. Shape: ``[Q, C]``.
        """
        chosen = candidate >= 0
        item = candidate[chosen]
        count = chosen.sum(dim=1)
        rows = query.x.index_select(0, row)
        if self.metric == 'l2':
            score = self._distance(rows, item, count)
        else:
            score = pair_products(rows, self.x, count, item)
            if self.scale is not None and query.scale is not None:
                score = score * self.scale[item] * query.scale[row].repeat_interleave(count)
        out = rows.new_full(candidate.shape, float('-inf'))
        out[chosen] = score
        return out

    def _distance(self, rows: Tensor, item: Tensor, count: Tensor) -> Tensor:
        owner = torch.arange(len(rows), dtype=torch.int64, device=self.device)
        owner = owner.repeat_interleave(count)
        size = max(1, DIFFERENCE_ENTRIES // self.channels)
        parts = []
        for query, other in zip(owner.split(size), item.split(size), strict=True):
            difference = self.x.index_select(0, other).sub_(rows.index_select(0, query))
            parts.append(difference.square_().sum(dim=1).neg_())
        return torch.cat(parts)

    def best(self, item: Tensor, candidate: Tensor, k: int) -> tuple[Tensor, Tensor]:
        r"""Return the :obj:`k` most similar candidates of each item, best first, itself excluded.

        Args:
            item: Item ids. Shape: ``[Q]``.
            candidate: Ids of different items, -1 for padding. Shape: ``[Q, C]``, ``C`` at least
                :obj:`k`. With fewer than :obj:`k` others among them, the last scores are
                :math:`-\infty`.
            k: Number of candidates to return.
        """
        score = self.score(self, item, candidate)
        score = score.masked_fill(candidate == item[:, None], float('-inf'))
        score, index = score.topk(k, dim=1)
        return score, candidate.gather(1, index)


def pair_products(x: Tensor, y: Tensor, count: Tensor, column: Tensor) -> Tensor:
    """Return the inner products of rows with some rows of another matrix.

    They are read straight from the rows (PyTorch's :func:`~torch.sparse.sampled_addmm`, a fused
    gather and dot product: nothing of the size ``[Q, C, channels]`` is held). The product of two
    rows doesn't depend on where they are in their matrices, as it does in a dense product.

    Args:
        x: Rows. Shape: ``[Q, channels]``.
        y: Rows of the other matrix. Shape: ``[N, channels]``.
        count: How many of them each row is multiplied with. Shape: ``[Q]``.
        column: Which these are, row after row. Shape: ``[P]``.

    Returns:
        Shape: ``[P]``.
    """
    end = count.cumsum(0)
    pointer, shape = torch.cat([end.new_zeros(1), end]), (len(x), len(y))
    pattern = csr_tensor(pointer, column, x.new_zeros(len(column)), shape)
    return torch.sparse.sampled_addmm(pattern, x, y.t(), beta=0.0).values()


def _check_length(norm: Tensor, metric: str) -> None:
    """Raise a :class:`ValueError` if inner products or squared distances of rows may overflow."""
    limit = FLOAT32.max**0.5 / (2 if metric == 'l2' else 1)
    too_long = (norm >= limit).nonzero().view(-1)
    if too_long.numel() > 0:
        what = 'squared distances' if metric == 'l2' else 'inner products'
        raise ValueError(
            f"'x' holds {too_long.numel()} rows longer than {limit:.0e} (first: row "
            f'{int(too_long[0])}), whose {what} overflow float32; divide all rows by one number, '
            "which keeps the order of neighbours, or compare by metric='cosine'"
        )


def _rescaled(x: Tensor, norm: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and their lengths, with very short and very long rows scaled to a maximum of 1.

    Their squares under- or overflow, which would lose the length and the products of the row.
    """
    rows = ((norm <= SAFE_NORM[0]) | (norm >= SAFE_NORM[1])).nonzero().view(-1)
    extreme = x.index_select(0, rows)
    largest = extreme.abs().amax(dim=1)
    if not bool((largest > 0).any()):  # All rows are as usual, or zero.
        return x, norm
    extreme = extreme / torch.where(largest > 0, largest, 1.0)[:, None]
    x = x.index_copy(0, rows, extreme)
    return x, norm.index_copy(0, rows, torch.linalg.vector_norm(extreme, dim=1))


def _as_tensor(x: Tensor | np.ndarray, allow_empty: bool) -> Tensor:
    if isinstance(x, np.ndarray):
        if x.dtype.byteorder not in '=|' or any(step < 0 for step in x.strides):
            x = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder('='))
        x = torch.from_numpy(as_writable(x))
    if not isinstance(x, Tensor):
        raise ValueError(f"'x' must be a tensor or a NumPy array (got {type(x).__name__})")
    if x.dim() != 2 or x.size(1) == 0 or (x.size(0) == 0 and not allow_empty):
        raise ValueError(f"'x' must be a non-empty [N, channels] matrix (got {list(x.shape)})")
    if not x.is_floating_point():
        raise ValueError(f"'x' must be floating point (got {x.dtype}); convert with '.float()'")
    return x


def as_writable(x: np.ndarray) -> np.ndarray:
    """Return a view that is flagged as writable, since torch warns about read-only arrays.

    Nothing writes to it.
    """
    if x.flags.writeable:
        return x
    interface = x.__array_interface__ | {'data': (x.ctypes.data, False)}
    return np.asarray(SimpleNamespace(array=x, __array_interface__=interface))
