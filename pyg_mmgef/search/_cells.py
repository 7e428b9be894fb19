"""Items in cells of similar items: projected, clustered by k-means, sorted by cell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyg_mmgef._threads import run_jobs
from pyg_mmgef.search._cluster_join import join_cells
from pyg_mmgef.search._faiss import import_faiss
from pyg_mmgef.search._proven import product_dtype
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._top_lists import CandidateLists, candidate_lists

__all__ = ['Cells', 'Projection', 'cell_count', 'lower_rows', 'nearest_cells', 'train_centroids']

CPU = torch.device('cpu')
ROWS = 2**13  # Rows projected at a time.
VARIANCE, CHANNELS = 0.9, 254  # Variance that the projection keeps, and its channels at most.
ROUNDS, POINTS = 5, 30  # Iterations of k-means, and points per cell that it is trained on.
ROUND_CELL = 64  # Cells are padded to a multiple of this: each new shape costs oneDNN time.
NEARBY = 32  # Similar cells that are stored next to each other.


def cell_count(num_items: int, size: int) -> int:
    """Return the number of cells for some items, with about as many as :obj:`size` in each."""
    # Larger cells for many items: k-means costs cells times points, so N² / size².
    return max(1, num_items // max(size, int(num_items**0.5 / 2)))


class Projection(NamedTuple):
    """An affine map to fewer channels."""

    mean: Tensor
    matrix: Tensor

    @classmethod
    def fit(cls, sample: Tensor, centred: bool, generator: torch.Generator) -> Projection:
        """Find the principal components of a sample, by subspace iteration.

        Args:
            sample: Some of the rows. Shape: ``[S, channels]``.
            centred: Subtract the mean, which changes neither distances nor the order of cosines,
                but inner products.
            generator: Generator of the initial subspace.
        """
        # In float64: torch may round float32 products, which would give another index.
        sample = sample.double()
        mean = sample.mean(dim=0) if centred else sample.new_zeros(sample.size(1))
        sample = sample - mean
        size = min(CHANNELS, *sample.shape)
        basis = torch.randn(
            sample.size(1), size, generator=generator, dtype=torch.float32, device=CPU
        ).double()
        for _ in range(3):
            basis = torch.linalg.qr(sample.t() @ (sample @ basis)).Q
        variance, rotation = torch.linalg.eigh((sample @ basis).t() @ (sample @ basis))
        kept = variance.flip(0).cumsum(0) < VARIANCE * sample.square().sum()
        # With the two columns of Cells.lower(), a multiple of 32 channels: products are fastest.
        num_channels = min(-(-(int(kept.sum()) + 1 + 2) // 32) * 32 - 2, size)
        return cls(mean.float(), (basis @ rotation.flip(1)[:, :num_channels]).float())

    def __call__(self, rows: Tensor) -> Tensor:
        """Project rows. Shape: ``[R, channels]`` to ``[R, fewer]``."""
        dtype = product_dtype(rows.device)
        return ((rows - self.mean).to(dtype) @ self.matrix.to(dtype)).float()


def train_centroids(sample: Tensor, num_cells: int, generator: torch.Generator) -> Tensor:
    """Cluster projected items by k-means (FAISS), and put similar centroids next to each other.

    Queries that follow each other then probe the same cells.

    Args:
        sample: Some of the projected items. Shape: ``[S, channels]``.
        num_cells: Number of centroids.
        generator: Generator of the seed of k-means.

    Returns:
        The centroids. Shape: ``[num_cells, channels]``.

    Raises:
        ImportError: If FAISS is not installed.
    """
    faiss = import_faiss('ItemIndex needs FAISS', "use knn_graph(backend='exact')")
    seed = int(torch.randint(2**31, (), generator=generator, dtype=torch.int64, device=CPU))
    options = {'niter': ROUNDS, 'seed': seed, 'min_points_per_centroid': 1}
    kmeans = faiss.Kmeans(sample.size(1), num_cells, max_points_per_centroid=POINTS, **options)
    kmeans.train(sample.contiguous().numpy())
    outer = faiss.Kmeans(sample.size(1), -(-num_cells // NEARBY), **options)
    outer.train(kmeans.centroids)
    nearest = torch.from_numpy(outer.assign(kmeans.centroids)[1])
    return torch.from_numpy(kmeans.centroids)[nearest.argsort(stable=True)]


def lower_rows(projected: Tensor, key: bool, shifted: bool) -> Tensor:
    r"""Round projected rows, and append two columns so that products rank as distances do.

    The columns are ones for a query and, for a key, the upper and lower half of :math:`-\lVert
    \mathbf{y} \rVert^2 / 2` (of zero for inner products).

    Args:
        projected: The projected rows. Shape: ``[R, channels]``.
        key: Whether they are keys, not queries.
        shifted: Whether distances rank, not inner products.
    """
    out = projected.new_ones(
        len(projected), projected.size(1) + 2, dtype=product_dtype(projected.device)
    )
    out[:, :-2] = projected
    if key:
        shift = -projected.square().sum(dim=1) / 2
        if not shifted:
            shift.zero_()
        out[:, -2] = shift
        out[:, -1] = shift - out[:, -2]
    return out


def nearest_cells(low: Tensor, keys: Tensor, count: int) -> Tensor:
    """Return the nearest cells of rounded queries, best first. Shape: ``[Q, count]``.

    Args:
        low: The queries, from :func:`lower_rows`. Shape: ``[Q, channels]``.
        keys: The rounded centroids, likewise. Shape: ``[C, channels]``.
        count: Number of cells; all, where there are fewer.
    """
    count = min(count, len(keys))
    cells = torch.arange(len(keys), dtype=torch.int32, device=CPU)

    def find(rows: Tensor) -> Tensor:
        lists = candidate_lists(len(rows), count, CPU)
        row = torch.arange(len(rows), dtype=torch.int32, device=CPU)
        lists.offer(rows @ keys.t(), row, cells)
        return lists.best(0, len(rows))[1]

    return torch.cat(run_jobs(find, low.split(ROWS)))


class Cells:
    """Items sorted by nearest centroid; cells that are much too large are split.

    Args:
        features: The items.
        content: Ids of the items that are sorted, at least one. Shape: ``[N]``.
        projection: Projects the items.
        centroids: Centres of the cells. Shape: ``[C, channels]``.
        size: A cell is split if it has more than four times as many items, and more than four times
            the average.
        verbose: Show a progress bar. (default: :obj:`False`)
    """

    def __init__(
        self,
        features: SearchRows,
        content: Tensor,
        projection: Projection,
        centroids: Tensor,
        size: int,
        *,
        verbose: bool = False,
    ) -> None:
        self.projection, self.centroids = projection, centroids
        self._num_all_items = features.num_items
        self._shifted = features.metric != 'ip'
        self._cells = self.lower(centroids, key=True)
        num_items = len(content)
        cell = torch.empty(num_items, dtype=torch.int64, device=CPU)
        key = self._cells.new_empty(num_items, self._cells.size(1))

        def assign(start: int) -> None:
            rows = slice(start, start + ROWS)
            projected = projection(features[content[rows]])
            key[rows] = self.lower(projected, key=True)
            cell[rows] = self.nearest(self.lower(projected), 1).view(-1)

        run_jobs(assign, range(0, num_items, ROWS), desc='item index', verbose=verbose)
        order = cell.argsort(stable=True)
        count = cell.bincount(minlength=len(centroids))
        limit = 4 * max(size, num_items // len(centroids))
        parts = count.add(limit - 1).div(limit, rounding_mode='floor')  # 0 for an empty cell.
        self._cells = self._cells.repeat_interleave(parts, dim=0)
        part = torch.arange(len(self._cells), dtype=torch.int64, device=CPU)
        part -= (parts.cumsum(0) - parts).repeat_interleave(parts)
        count, parts = count.repeat_interleave(parts), parts.repeat_interleave(parts)
        count = count * (part + 1) // parts - count * part // parts
        padded = count.add(ROUND_CELL - 1).div(ROUND_CELL, rounding_mode='floor') * ROUND_CELL
        self._starts = padded.cumsum(0) - padded
        self.bounds = [*self._starts.tolist(), int(padded.sum())]
        # Where each item is stored: cells begin at their starts, padding is at their ends.
        shift = self._starts - (count.cumsum(0) - count)
        self.place = torch.arange(num_items, dtype=torch.int64, device=CPU)
        self.place += shift.repeat_interleave(count)
        self.order = torch.full((self.bounds[-1],), -1, dtype=torch.int64, device=CPU)
        self.order[self.place] = content[order]
        self._ids = self.order.int()
        self.key = key.new_zeros(self.bounds[-1], key.size(1))
        self.key[self.place] = key[order]

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def keys(self) -> Tensor:
        """The rounded centroid of each cell. Shape: ``[C, channels]``."""
        return self._cells

    def lower(self, projected: Tensor, key: bool = False) -> Tensor:
        """Return rounded rows, see :func:`lower_rows`."""
        return lower_rows(projected, key, self._shifted)

    def nearest(self, low: Tensor, count: int) -> Tensor:
        """Return the nearest cells of rounded queries, see :func:`nearest_cells`."""
        return nearest_cells(low, self._cells, count)

    def join(self, low: Tensor, probes: Tensor, lists: CandidateLists) -> None:
        """Update the list of each rounded query with the items of the cells that it probes."""
        if probes.size(1) > 0:
            join_cells(low, self.key, self._ids, self.bounds, probes, lists)

    def candidates(self, low: Tensor, num_probes: int, width: int) -> Tensor:
        """Return candidate ids, best first and padded by -1. Shape: ``[Q, width]``."""
        probes = self.nearest(low, num_probes)
        lists = candidate_lists(len(low), width, CPU)
        # The nearest cell first: then most keys of the others are below a list's limit.
        self.join(low, probes[:, :1], lists)
        self.join(low, probes[:, 1:], lists)
        return lists.best(0, len(low))[1]

    def cell_of(self, item: Tensor) -> Tensor:
        """Return the cells of some items."""
        place = torch.empty(self._num_all_items, dtype=torch.int64, device=CPU)
        place[self.order[self.place]] = self.place
        return torch.searchsorted(self._starts, place[item], right=True) - 1

    def queries(self, place: Tensor) -> Tensor:
        """Return items as rounded queries, given the positions where they are stored."""
        low = self.key[place]
        low[:, -2:] = 1
        return low

    def means(self, features: SearchRows, projection: Projection) -> Tensor:
        """Return the mean of each cell's items, from other features and their projection."""
        cell = torch.searchsorted(self._starts, self.place, right=True) - 1
        out = torch.zeros(
            len(self._starts), projection.matrix.size(1), dtype=torch.float32, device=CPU
        )
        items = self.order[self.place].split(ROWS)
        for rows, cells in zip(items, cell.split(ROWS), strict=True):
            out.index_add_(0, cells, projection(features[rows]))
        return out.div_(cell.bincount()[:, None])
