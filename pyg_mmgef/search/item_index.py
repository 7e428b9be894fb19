import logging
import os
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef._threads import run_jobs, without_autocast
from pyg_mmgef.files import open_atomically
from pyg_mmgef.search._cluster_join import join_cells
from pyg_mmgef.search._exact import (
    HALF_SPACING,
    SPARE,
    exact_search,
    float32_rounding,
    product_dtype,
)
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._top_lists import CandidateLists, candidate_lists
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_positive

__all__ = ['ItemIndex', 'check_recall']

log = logging.getLogger(__name__)

FORMAT = 1  # Of the files; a reader refuses others.
BLOCK_CANDIDATES = 2**23  # Candidates held at a time: 200 MiB.
FIT_ROWS = 2**12  # Sample that the projection is fitted on.
ROWS = 2**13  # Rows projected or scored at a time.
EXACT_ROWS = 2**11  # Queries, and items, compared in one product with all channels.
VARIANCE, CHANNELS = 0.9, 254  # Variance that the projection keeps, and its channels at most.
ROUNDS, POINTS = 5, 30  # Of k-means: iterations, and points per cell that it sees.
CELL_SIZE = 384  # Items of a cell on average, and four times as many at most.
ROUND_CELL = 64  # Cells are padded to multiples: oneDNN prepares every new shape anew.
NEARBY = 32  # Cells that are kept in a row as similar.
SAMPLE = 512  # Items whose exact neighbours settle the parameters.
PROBES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64)
PROBE_COST = 7  # Measured: to probe a cell costs as much as to score so many candidates.
WIDTHS = (1.5, 2, 3, 4, 6, 8)  # Candidates kept, for each neighbour wanted.
CPU = torch.device('cpu')


class Setting(NamedTuple):
    """How much is searched, and the recall that it had on a sample."""

    num_probes: int
    num_candidates: int
    recall: float


class ItemIndex:
    r"""An index of item features: built once, it gives graphs and neighbours of new items.

    Items are projected to the principal components that hold 90 % of the variance and clustered by
    k-means (FAISS) into cells of some 400. As all queries of a graph are items of the index, they
    are sorted by cell too, and each cell is compared with *all* items that probe it in dense
    low-precision products (a *cluster join*), in place of millions of single scans. The best
    candidates are scored from the full features in float32, so every returned similarity is exact.

    How many cells an item probes and how many candidates it keeps is settled for each :obj:`k` and
    wanted recall on a sample of 512 items whose exact neighbours are computed: the cheapest
    setting whose recall, less two standard errors, is what was wanted. If there is none, the graph
    is computed exactly. The measured recall is logged (logger
    ``pyg_mmgef.search.item_index``, level info) and kept in :attr:`settings`.

    Items of zeros have no neighbours under the cosine metric. The features are not copied if they
    are float32 (except under L2) and must not be changed while the index is used.

    Args:
        x: Item features, a tensor or an array (also memory-mapped). Shape: ``[N, channels]``.
        metric: ``'cosine'``, ``'ip'`` or ``'l2'``. (default: ``'cosine'``)
        generator: Random numbers of the clustering and the sample; by default they are seeded with
            0, so the same features give the same index. (default: :obj:`None`)
        verbose: Show progress bars. (default: :obj:`False`)

    Raises:
        ValueError: If :obj:`x` isn't a non-empty floating point matrix of finite values on the
            CPU, or the metric is unknown.
        ImportError: If FAISS is not installed.

    Example:
        >>> x = torch.randn(1000, 16, generator=torch.Generator().manual_seed(0))
        >>> index = ItemIndex(x)
        >>> edge_index, edge_weight = index.graph(k=5, recall=0.95)
        >>> edge_index.shape
        torch.Size([2, 5000])
    """

    @without_autocast
    def __init__(
        self,
        x: Tensor | np.ndarray | SearchRows,
        *,
        metric: str = 'cosine',
        generator: torch.Generator | None = None,
        verbose: bool = False,
    ) -> None:
        self.features = x if isinstance(x, SearchRows) else SearchRows(x, metric)
        if self.features.device.type != 'cpu':
            raise ValueError(
                f"'x' must be on the CPU (got {self.features.device}); "
                "knn_graph(x, k, backend='exact') works on any device"
            )
        self.verbose = verbose
        self.settings: dict[tuple[int, float], Setting | None] = {}  # None: exact.
        self._generator = generator or torch.Generator().manual_seed(0)
        self._content = self.features.has_content.nonzero().view(-1)
        if self._content.numel() > 0:
            self._fit_projection()
            self._sort_into_cells(self._train_centroids())

    @property
    def num_items(self) -> int:
        """Number of items, those without content included."""
        return self.features.num_items

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return len(self._bounds) - 1 if self._content.numel() > 0 else 0

    @without_autocast
    def graph(self, k: int, *, recall: float = 0.95) -> WeightedGraph:
        """Connect every item to its :obj:`k` most similar other items, approximately.

        Args:
            k: Number of neighbours of an item, less than their number.
            recall: Wanted share of the true neighbours, in ``(0, 1]``; 1 is exact.
                (default: ``0.95``)

        Returns:
            ``edge_index`` of shape ``[2, E]`` (neighbour, item that receives), best first per
            item, and ``edge_weight`` of shape ``[E]``, exact float32 similarities.

        Raises:
            ValueError: If :obj:`k` or :obj:`recall` is out of range.
        """
        check_positive('k', k)
        check_recall(recall)
        if k >= self.num_items:
            raise ValueError(
                f"'k' must be less than the number of items (got k={k} for {self.num_items} items)"
            )
        k = min(k, self._content.numel() - 1)
        if k < 1:
            return torch.empty(2, 0, dtype=torch.long), torch.empty(0)
        score, neighbor = self._neighbors(k, recall)
        edge_index = torch.stack([neighbor.view(-1), self._content.repeat_interleave(k)])
        return edge_index, score.view(-1)

    @without_autocast
    def search(
        self, x: Tensor | np.ndarray, k: int, *, recall: float = 0.95
    ) -> tuple[Tensor, Tensor]:
        """Find the :obj:`k` most similar items of new items, which are not added.

        Args:
            x: Features of the new items. Shape: ``[Q, channels]``.
            k: Number of neighbours, at most the number of items with content.
            recall: Wanted share of the true neighbours, as measured for items of the index.
                (default: ``0.95``)

        Returns:
            Similarities and item ids, best first, both of shape ``[Q, k]``. A new item of zeros has
            similarity 0 with every item.

        Raises:
            ValueError: If an argument is out of range or the channels are others.
        """
        check_positive('k', k)
        check_recall(recall)
        query = self.features.queries(x)
        if k > self._content.numel():
            raise ValueError(
                f"'k' must be at most {self._content.numel()}, the number of items with content "
                f'(got {k})'
            )
        # What finds an item's neighbours among the others finds those of a new item.
        others = min(k, self._content.numel() - 1)
        setting = self._setting(others, recall) if others > 0 else None
        if setting is None:
            return self._exact_queries(query, torch.arange(query.num_items), k)
        width = min(setting.num_candidates, self._content.numel())
        score = torch.empty(query.num_items, k)
        neighbor = torch.empty(query.num_items, k, dtype=torch.long)
        for rows in torch.arange(query.num_items).split(_rows(width)):
            low = self._lower(self._project(query[rows]))
            candidate = self._candidates(low, setting.num_probes, width)
            found, order = self.features.score(query, rows, candidate).topk(k, dim=1)
            score[rows], neighbor[rows] = found, candidate.gather(1, order)
        missing = score[:, -1].isneginf().nonzero().view(-1)
        if missing.numel() > 0:
            score[missing], neighbor[missing] = self._exact_queries(query, missing, k)
        return score, neighbor

    @without_autocast
    def add(self, x: Tensor | np.ndarray) -> None:
        """Append items; their ids follow those of the items before.

        The clustering stays, so an index that grew manifold is better built anew.

        Args:
            x: Features of the new items. Shape: ``[Q, channels]``.
        """
        centroids = self._centroids if self._content.numel() > 0 else None
        self.features = self.features.append(x)
        self._content = self.features.has_content.nonzero().view(-1)
        self.settings.clear()
        if self._content.numel() > 0:
            if centroids is None:
                self._fit_projection()
                centroids = self._train_centroids()
            self._sort_into_cells(centroids)

    @without_autocast
    def update(self, x: Tensor | np.ndarray) -> None:
        """Replace all features, as a graph that is rebuilt every epoch needs it.

        The clustering starts from the cells of the features before, so nothing is trained.

        Args:
            x: New features of the same items. Shape: ``[N, channels]``, any channels.

        Raises:
            ValueError: If the number of items is another.
        """
        features = SearchRows(x, self.features.metric)
        if features.num_items != self.num_items:
            raise ValueError(
                f"'x' must hold the {self.num_items} items of the index (got "
                f'{features.num_items}); add(x) appends items'
            )
        before = self._content
        self.features = features
        self._content = features.has_content.nonzero().view(-1)
        self.settings.clear()
        if self._content.numel() == 0:
            return
        self._fit_projection()
        if not torch.equal(before, self._content):
            centroids = self._train_centroids()
        else:
            cell = torch.searchsorted(self._starts, self._place, right=True) - 1
            centroids = torch.zeros(len(self._starts), self._projection.size(1))
            items = zip(self._order[self._place].split(ROWS), cell.split(ROWS), strict=True)
            for rows, cells in items:
                centroids.index_add_(0, cells, self._project(features[rows]))
            centroids /= cell.bincount()[:, None]
        self._sort_into_cells(centroids)

    def save(self, path: str | os.PathLike) -> None:
        """Write the clustering (not the features) to a file, replacing it at once or not at all.

        Args:
            path: The file, by custom ``*.npz``.
        """
        empty = self._content.numel() == 0
        arrays = {
            'format': np.int64(FORMAT),
            'metric': np.array(self.features.metric),
            'fingerprint': np.array(self.features.fingerprint()),
            'mean': np.empty(0) if empty else self._mean.numpy(),
            'projection': np.empty((0, 0)) if empty else self._projection.numpy(),
            'centroids': np.empty((0, 0)) if empty else self._centroids.numpy(),
        }
        with open_atomically(path) as file:
            np.savez(file, **arrays)

    @classmethod
    @without_autocast
    def load(cls, path: str | os.PathLike, x: Tensor | np.ndarray) -> 'ItemIndex':
        """Read an index of the features :obj:`x`.

        Args:
            path: A file that :meth:`save` wrote.
            x: The features that it was built from.

        Raises:
            ValueError: If the file is not an index, is of another version or of other features.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            version = int(arrays['format'])
        except (KeyError, ValueError, EOFError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"'path' is not an item index: {path}") from error
        if version != FORMAT:
            raise ValueError(
                f"'path' holds an index of format {version}, this version reads {FORMAT}; build "
                'it anew'
            )
        features = SearchRows(x, str(arrays['metric']))
        if features.fingerprint() != str(arrays['fingerprint']):
            raise ValueError(f"'x' are not the features that {path} was built from")
        out = cls.__new__(cls)
        out.features = features
        out.verbose = False
        out.settings = {}
        out._generator = torch.Generator().manual_seed(0)
        out._content = features.has_content.nonzero().view(-1)
        if out._content.numel() > 0:
            out._mean, out._projection = map(
                torch.from_numpy, (arrays['mean'], arrays['projection'])
            )
            out._sort_into_cells(torch.from_numpy(arrays['centroids']))
        return out

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_items}, {self.features.channels}, '
            f'metric={self.features.metric!r}, num_cells={self.num_cells})'
        )

    # Building ---------------------------------------------------------------------------------

    def _draw(self, count: int) -> Tensor:
        """Return different items with content, at random."""
        order = torch.randperm(self._content.numel(), generator=self._generator)
        return self._content[order[:count]]

    def _fit_projection(self) -> None:
        """Find the principal components of a sample, by subspace iteration."""
        sample = self.features[self._draw(FIT_ROWS)]
        # Inner products don't survive centring; distances, and so cosines, do.
        centred = self.features.metric != 'ip'
        self._mean = sample.mean(dim=0) if centred else torch.zeros(sample.size(1))
        sample = sample - self._mean
        size = min(CHANNELS, *sample.shape)
        basis = torch.randn(sample.size(1), size, generator=self._generator)
        for _ in range(3):
            basis = torch.linalg.qr(sample.t() @ (sample @ basis)).Q
        variance, rotation = torch.linalg.eigh((sample @ basis).t() @ (sample @ basis))
        kept = variance.flip(0).cumsum(0) < VARIANCE * sample.square().sum()
        # With the two columns of _lower(), a multiple of 32 channels: what products like.
        num_channels = min(-(-(int(kept.sum()) + 1 + 2) // 32) * 32 - 2, size)
        self._projection = basis @ rotation.flip(1)[:, :num_channels]

    def _project(self, rows: Tensor) -> Tensor:
        dtype = product_dtype(rows.device)
        return ((rows - self._mean).to(dtype) @ self._projection.to(dtype)).float()

    def _lower(self, projected: Tensor, key: bool = False) -> Tensor:
        r"""Round, with two more columns by which products of queries and keys rank as distances.

        These are ones for a query and, for a key, the upper and lower half of
        :math:`-\lVert \mathbf{y} \rVert^2 / 2`.
        """
        out = projected.new_ones(
            len(projected), projected.size(1) + 2, dtype=product_dtype(projected.device)
        )
        out[:, :-2] = projected
        if key:
            shift = -projected.square().sum(dim=1) / 2
            if self.features.metric == 'ip':
                shift.zero_()
            out[:, -2] = shift
            out[:, -1] = shift - out[:, -2]
        return out

    def _train_centroids(self) -> Tensor:
        try:
            import faiss
        except ImportError as error:
            raise ImportError(
                "ItemIndex needs FAISS: pip install faiss-cpu; or use knn_graph(backend='exact')"
            ) from error
        num_items = self._content.numel()
        # Larger cells for many items: k-means costs cells times points, so N² / size².
        size = max(CELL_SIZE, int(num_items**0.5 / 2))
        num_cells = max(1, num_items // size)
        sample = self._project(self.features[self._draw(num_cells * POINTS)])
        seed = int(torch.randint(2**31, (), generator=self._generator))
        kmeans = faiss.Kmeans(
            sample.size(1),
            num_cells,
            niter=ROUNDS,
            seed=seed,
            min_points_per_centroid=1,
            max_points_per_centroid=POINTS,
        )
        kmeans.train(sample.contiguous().numpy())
        assert kmeans.centroids is not None
        centroids = torch.from_numpy(kmeans.centroids)
        # Similar cells in a row: items that follow each other then probe the same cells.
        outer = faiss.Kmeans(
            sample.size(1),
            -(-num_cells // NEARBY),
            niter=ROUNDS,
            seed=seed,
            min_points_per_centroid=1,
        )
        outer.train(kmeans.centroids)
        nearest = torch.from_numpy(outer.assign(kmeans.centroids)[1])
        return centroids[nearest.argsort(stable=True)]

    def _sort_into_cells(self, centroids: Tensor) -> None:
        """Sort the items by nearest centroid; cells that are far too large are cut."""
        self._centroids = centroids
        self._cells = self._lower(centroids, key=True)
        num_items = self._content.numel()
        cell = torch.empty(num_items, dtype=torch.long)
        key = self._cells.new_empty(num_items, self._cells.size(1))

        def assign(start: int) -> None:
            rows = slice(start, start + ROWS)
            projected = self._project(self.features[self._content[rows]])
            key[rows] = self._lower(projected, key=True)
            cell[rows] = self._nearest_cells(self._lower(projected), 1).view(-1)

        blocks = range(0, num_items, ROWS)
        run_jobs(assign, blocks, desc='item index', verbose=self.verbose)
        order = cell.argsort(stable=True)
        size = cell.bincount(minlength=len(centroids))
        limit = 4 * max(CELL_SIZE, num_items // len(centroids))
        parts = size.add(limit - 1).div(limit, rounding_mode='floor')  # None of an empty cell.
        self._cells = self._cells.repeat_interleave(parts, dim=0)
        part = torch.arange(len(self._cells)) - (parts.cumsum(0) - parts).repeat_interleave(parts)
        size, parts = size.repeat_interleave(parts), parts.repeat_interleave(parts)
        size = size * (part + 1) // parts - size * part // parts
        padded = size.add(ROUND_CELL - 1).div(ROUND_CELL, rounding_mode='floor') * ROUND_CELL
        self._starts = padded.cumsum(0) - padded
        self._bounds = [*self._starts.tolist(), int(padded.sum())]
        # Where each item goes: cells begin at their starts, padding is at their ends.
        shift = self._starts - (size.cumsum(0) - size)
        self._place = torch.arange(num_items) + shift.repeat_interleave(size)
        self._order = torch.full((self._bounds[-1],), -1)
        self._order[self._place] = self._content[order]
        self._ids = self._order.int()
        self._key = key.new_zeros(self._bounds[-1], key.size(1))
        self._key[self._place] = key[order]

    # Searching --------------------------------------------------------------------------------

    def _nearest_cells(self, low: Tensor, count: int) -> Tensor:
        """Return the most promising cells of rounded queries, best first."""
        count = min(count, len(self._cells))
        cells = torch.arange(len(self._cells), dtype=torch.int32)

        def nearest(rows: Tensor) -> Tensor:
            lists = candidate_lists(len(rows), count, CPU)
            row = torch.arange(len(rows), dtype=torch.int32)
            lists.offer(rows @ self._cells.t(), row, cells)
            return lists.best(0, len(rows))[1]

        return torch.cat(run_jobs(nearest, low.split(ROWS)))

    def _join(self, low: Tensor, probes: Tensor, lists: CandidateLists) -> None:
        """Offer rounded queries, a list each, the items of the cells they probe."""
        if probes.size(1) > 0:
            join_cells(low, self._key, self._ids, self._bounds, probes, lists)

    def _candidates(self, low: Tensor, num_probes: int, width: int) -> Tensor:
        """Return ids of candidates of rounded queries, best first, -1 for none."""
        probes = self._nearest_cells(low, num_probes)
        lists = candidate_lists(len(low), width, CPU)
        # The nearest cell first: then most keys of the others are below a list's limit.
        self._join(low, probes[:, :1], lists)
        self._join(low, probes[:, 1:], lists)
        return lists.best(0, len(low))[1]

    def _cell_of(self, item: Tensor) -> Tensor:
        """Return the cells of some items."""
        place = torch.empty(self.num_items, dtype=torch.long)
        place[self._order[self._place]] = self._place
        return torch.searchsorted(self._starts, place[item], right=True) - 1

    def _queries(self, place: Tensor) -> Tensor:
        """Return items, given by their place among the keys, as rounded queries."""
        low = self._key[place]
        low[:, -2:] = 1
        return low

    def _neighbors(self, k: int, recall: float) -> tuple[Tensor, Tensor]:
        """Return neighbours of the items with content, in the order of their ids."""
        num_items = self._content.numel()
        setting = self._setting(k, recall)
        if setting is None:
            features = self.features
            if num_items < self.num_items:
                features = features.select(self._content)
            score, neighbor = exact_search(features, k, verbose=self.verbose)
            return score, self._content[neighbor]
        num_probes, width = setting.num_probes, min(setting.num_candidates, num_items)
        score = torch.empty(self.num_items, k)
        neighbor = torch.empty(self.num_items, k, dtype=torch.long)

        def rank(part: tuple[Tensor, Tensor]) -> None:
            item, candidate = part
            score[item], neighbor[item] = self.features.best(item, candidate, k)

        size = max(1, BLOCK_CANDIDATES // width)
        for start in tqdm(range(0, num_items, size), desc='kNN graph', disable=not self.verbose):
            place = self._place[start : start + size]
            candidate = self._candidates(self._queries(place), num_probes, width)
            item = self._order[place]
            rows = _rows(width)
            parts = list(zip(item.split(rows), candidate.split(rows), strict=True))
            run_jobs(rank, parts)
        score, neighbor = score[self._content], neighbor[self._content]
        missing = score[:, -1].isneginf().nonzero().view(-1)
        if missing.numel() > 0:
            item = self._content[missing]
            found, ids = self._exact_queries(self.features, item, k + 1)
            found = found.masked_fill(ids == item[:, None], float('-inf'))
            found, order = found.sort(dim=1, descending=True, stable=True)
            score[missing] = found[:, :k]
            neighbor[missing] = ids.gather(1, order)[:, :k]
        return score, neighbor

    def _exact_queries(self, query: SearchRows, row: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the most similar items of some queries, compared with all."""
        l2 = self.features.metric == 'l2'
        score = torch.zeros(len(row), k)
        neighbor = torch.empty(len(row), k, dtype=torch.long)
        unproven = torch.arange(len(row))
        if product_dtype(CPU) == torch.bfloat16 and not l2:
            lowest = torch.empty(len(row))
            for part in unproven.split(EXACT_ROWS):
                score[part], neighbor[part], lowest[part] = self._compare(
                    query, row[part], k, torch.bfloat16
                )
            # Both factors and the product are rounded. Under the cosine, rows have length one.
            error = torch.tensor(4 * HALF_SPACING[torch.bfloat16])
            if self.features.metric == 'ip':
                longest = torch.linalg.vector_norm(self.features.x, dim=1).amax()
                error = error * longest * torch.linalg.vector_norm(query[row], dim=1)
            unproven = (~(score[:, -1] >= lowest + error)).nonzero().view(-1)
        # Norms and products cancel in distances.
        precise = torch.float64 if l2 or float32_rounding() > 2**-24 else torch.float32
        for part in unproven.split(EXACT_ROWS):
            score[part], neighbor[part], _ = self._compare(query, row[part], k, precise)
        return score, neighbor

    def _compare(
        self, query: SearchRows, row: Tensor, k: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Find candidates among all items by products in ``dtype``, and rank them.

        Returns:
            Similarities and items, of shape ``[Q, k]``, and the lowest product of a candidate, of
            shape ``[Q]``: no other item has a higher one.
        """
        # More than the exact search spares: the error below is the largest there can be.
        width = min(k + 4 * SPARE, self._content.numel())
        low = query[row].to(dtype)
        ids = torch.arange(len(row), dtype=torch.int32)
        lists = candidate_lists(len(row), width, CPU)

        def offer(item: Tensor) -> None:
            items = self.features[item].to(dtype)
            product = low @ items.t()
            if self.features.metric == 'l2':
                product -= items.square().sum(dim=1) / 2
            if dtype == torch.float64:
                product = product.float()
            lists.offer(product, ids, item.int())

        run_jobs(offer, self._content.split(EXACT_ROWS), concurrent=lists.concurrent)
        low_score, candidate = lists.best(0, len(row))
        score, order = self.features.score(query, row, candidate).topk(k, dim=1)
        lowest = low_score[:, -1]
        if width == self._content.numel():  # There are no others.
            lowest = torch.full_like(lowest, float('-inf'))
        return score, candidate.gather(1, order), lowest

    def _setting(self, k: int, recall: float) -> Setting | None:
        """Return the cheapest setting with the wanted recall on the sample, if there is one."""
        if (k, recall) in self.settings:
            return self.settings[k, recall]
        setting = None if recall >= 1 else self._tune(k, recall)
        self.settings[k, recall] = setting
        if setting is None:
            log.info('k=%d: no setting reaches recall %.3f; searching exactly', k, recall)
        else:
            log.info('k=%d: %d probes, %d candidates, sample recall %.4f', k, *setting)
        return setting

    def _tune(self, k: int, recall: float) -> Setting | None:
        num_items = self._content.numel()
        place = self._place[torch.randperm(num_items, generator=self._generator)[:SAMPLE]]
        item = self._order[place]
        exact, ids = self._exact_queries(self.features, item, k + 1)
        # With an inner product, an item is not surely among its own best.
        exact, order = exact.masked_fill(ids == item[:, None], float('-inf')).topk(k, dim=1)
        ids = ids.gather(1, order)
        least = exact[:, -1] - 1e-6 * exact[:, -1].abs()
        low = self._queries(place)
        widths = [min(int(factor * k) + 4, num_items) for factor in WIDTHS]
        probes = self._nearest_cells(low, PROBES[-1])
        lists = candidate_lists(len(low), widths[-1], CPU)
        # With fewer probes, not even all the items of the cells would do.
        covered = (self._cell_of(ids)[:, :, None] == probes[:, None, :]).sum(dim=(0, 1)).cumsum(0)
        least_probes = int((covered / ids.numel() < recall).sum()) + 1
        best: Setting | None = None
        lowest_cost = float('inf')
        before = 0
        for num_probes in [number for number in PROBES if number >= least_probes]:
            if before == probes.size(1) or PROBE_COST * num_probes + widths[0] >= lowest_cost:
                break
            self._join(low, probes[:, before:num_probes], lists)
            before = min(num_probes, probes.size(1))
            candidate = lists.best(0, len(low))[1]
            score = self.features.score(self.features, item, candidate)
            found = (score >= least[:, None]) & (candidate != item[:, None])
            # Of fewer candidates, those found are among the first.
            shares = found.cumsum(dim=1).clamp_(max=k) / k
            for width in widths:
                share = shares[:, width - 1]
                lower = float(share.mean() - 2 * share.std(correction=0) / len(share) ** 0.5)
                cost = PROBE_COST * before + width
                if lower >= recall and cost < lowest_cost:
                    best, lowest_cost = Setting(before, width, float(share.mean())), cost
        return best


def _rows(width: int) -> int:
    """Return how many rows of candidates are scored at a time."""
    return max(1, min(ROWS, BLOCK_CANDIDATES // (8 * width)))


def check_recall(recall: object) -> None:
    """Raise a :class:`ValueError` unless :obj:`recall` is a number in ``(0, 1]``."""
    if isinstance(recall, bool) or not isinstance(recall, (int, float)) or not 0 < recall <= 1:
        raise ValueError(f"'recall' must be a number in (0, 1] (got {recall!r})")
