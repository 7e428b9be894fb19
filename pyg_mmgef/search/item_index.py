import logging
import os

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef._threads import run_jobs, without_autocast
from pyg_mmgef.search._cells import CPU, Cells, Projection, cell_count, train_centroids
from pyg_mmgef.search._exact import exact_search
from pyg_mmgef.search._exact_queries import exact_queries
from pyg_mmgef.search._index_file import read_index, write_index
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._tuning import Setting, tune
from pyg_mmgef.search.similar_items import SimilarItems, neighbors_of
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_fraction, check_positive

__all__ = ['ItemIndex']

log = logging.getLogger(__name__)

BLOCK_CANDIDATES = 2**23  # Candidates held at a time: 200 MiB.
ROWS = 2**13  # Rows of candidates scored at a time, at most.
FIT_ROWS = 2**12  # Sample that the projection is fitted on.
POINTS = 30  # Items per cell that k-means is trained on.


class ItemIndex:
    r"""An index of item features, built once, for graphs and for neighbours of new items.

    Items are projected to the principal components that hold 90 % of the variance and clustered by
    k-means (FAISS) into cells of some 400. As all queries of a graph are items of the index, they
    are sorted by cell too, and each cell is compared with *all* items that probe it in dense
    low-precision products (a *cluster join*), instead of millions of single scans. The best
    candidates are scored from the full features in float32, so every returned similarity is exact.

    How many cells an item probes and how many candidates it keeps is chosen for each :obj:`k` and
    wanted recall on a sample of 512 items whose exact neighbours are computed: the cheapest setting
    whose recall, less two standard errors, reaches the wanted one. If none does, the search is
    exact. The measured recall is logged (logger ``pyg_mmgef.search.item_index``, level info) and
    kept in :attr:`settings`.

    Items of zeros have no neighbours under the cosine metric. The features are not copied if they
    are float32 (except under L2) and must not be changed while the index is used.

    Args:
        x: Item features, a tensor or an array (also memory-mapped). Shape: ``[N, channels]``.
        metric: ``'cosine'``, ``'ip'`` or ``'l2'``. (default: ``'cosine'``)
        generator: Generator for the clustering and the sample; :obj:`None` makes one seeded with 0,
            so the same features give the same index on as many threads. With another number, the
            projection is rounded otherwise, so a few other neighbours may be found, with as high a
            recall and exact similarities. (default: :obj:`None`)
        verbose: Show progress bars. (default: :obj:`False`)

    Raises:
        ValueError: If :obj:`x` isn't a non-empty floating point matrix of finite values on the
            CPU, its rows are so long that inner products or distances overflow float32, or the
            metric is unknown.
        ImportError: If FAISS is not installed.

    Example:
        >>> x = torch.randn(1000, 16, generator=torch.Generator().manual_seed(0))
        >>> index = ItemIndex(x)
        >>> edge_index, edge_weight = index.graph(k=5, recall=0.95)
        >>> edge_index.shape
        torch.Size([2, 5000])
    """

    _cell_size = 384  # Items of a cell on average, and four times as many at most.

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
        self.settings: dict[tuple[int, float], Setting | None] = {}  # None means an exact search.
        self._generator = generator or torch.Generator().manual_seed(0)
        self._content = self.features.has_content.nonzero().view(-1)
        self._cells = self._build() if self._content.numel() > 0 else None

    @property
    def num_items(self) -> int:
        """Number of items, those without content included."""
        return self.features.num_items

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return 0 if self._cells is None else len(self._cells)

    @without_autocast
    def graph(self, k: int, *, recall: float = 0.95) -> WeightedGraph:
        """Connect every item to its :obj:`k` most similar other items, approximately.

        Args:
            k: Number of neighbours of an item; all others, where there are fewer.
            recall: Wanted share of the true neighbours, in ``(0, 1]``; 1 is exact.
                (default: ``0.95``)

        Returns:
            ``edge_index`` of shape ``[2, E]`` (neighbour, item that receives), best first per
            item, and ``edge_weight`` of shape ``[E]``, exact float32 similarities. One that is
            zero but for rounding is zero, see :func:`~pyg_mmgef.graph.knn_graph`.

        Raises:
            ValueError: If :obj:`k` or :obj:`recall` is out of range.
        """
        check_positive('k', k)
        check_fraction('recall', recall, '(0, 1]')
        k = max(0, min(k, self._content.numel() - 1))
        score, neighbor = self._neighbors(k, recall)
        score, neighbor = self.features.without_noise(score, self._content, neighbor)
        edge_index = torch.stack([neighbor.view(-1), self._content.repeat_interleave(k)])
        return edge_index, score.view(-1)

    @without_autocast
    def search(self, x: Tensor | np.ndarray, k: int, *, recall: float = 0.95) -> SimilarItems:
        r"""Find the :obj:`k` most similar items of new items, which are not added.

        Args:
            x: Features of the new items, possibly none. Shape: ``[Q, channels]``.
            k: Number of neighbours.
            recall: Wanted share of the true neighbours, as measured for items of the index.
                (default: ``0.95``)

        Returns:
            A named tuple (scores, items), best first, both of shape ``[Q, k]``. Where there are
            fewer items with content, and under ``'cosine'`` for a new item of zeros, which is
            similar to none, the remaining places hold ``-inf`` and -1.

        Raises:
            ValueError: If an argument is out of range or :obj:`x` has other channels.
        """
        check_positive('k', k)
        check_fraction('recall', recall, '(0, 1]')
        query = self.features.queries(x)
        every = torch.arange(query.num_items, dtype=torch.int64, device=CPU)
        # The setting that was chosen for items of the index serves new items, too.
        others = min(k, self._content.numel() - 1)
        setting = self._setting(others, recall) if others > 0 else None
        if setting is None or self._cells is None:
            return neighbors_of(self.features, self._content, query, every, k)
        width = min(setting.num_candidates, self._content.numel())
        found = min(k, width)
        score = torch.full((query.num_items, k), float('-inf'), dtype=torch.float32, device=CPU)
        item = torch.full((query.num_items, k), -1, dtype=torch.int64, device=CPU)
        known = query.has_content.nonzero().view(-1)
        for rows in known.split(_rows(width)):
            low = self._cells.lower(self._cells.projection(query[rows]))
            candidate = self._cells.candidates(low, setting.num_probes, width)
            best, order = self.features.score(query, rows, candidate).topk(found, dim=1)
            score[rows, :found], item[rows, :found] = best, candidate.gather(1, order)
        missing = known[score[known, found - 1].isneginf()]
        if missing.numel() > 0:
            score[missing], item[missing] = neighbors_of(
                self.features, self._content, query, missing, k
            )
        return SimilarItems(score, item)

    @without_autocast
    def add(self, x: Tensor | np.ndarray) -> None:
        """Append items; their ids continue those of the index.

        The clustering is kept, so build a new index if it has grown several times over.

        Args:
            x: Features of the new items, possibly none. Shape: ``[Q, channels]``.

        Raises:
            ValueError: If :obj:`x` isn't finite or has other channels.
        """
        self._replace(self.features.append(x))
        if self._content.numel() > 0:
            before = self._cells
            self._cells = (
                self._build()
                if before is None
                else self._make_cells(before.projection, before.centroids)
            )

    @without_autocast
    def update(self, x: Tensor | np.ndarray) -> None:
        """Replace all features, for instance of a graph that is rebuilt every epoch.

        The centroids become the means of the present cells, so k-means doesn't run again (unless
        other items than before have content).

        Args:
            x: New features of the same items. Shape: ``[N, channels]``, with any number of
                channels.

        Raises:
            ValueError: If :obj:`x` isn't finite or has another number of rows.
        """
        features = SearchRows(x, self.features.metric)
        if features.num_items != self.num_items:
            raise ValueError(
                f"'x' must hold the {self.num_items} items of the index (got "
                f'{features.num_items}); add(x) appends items'
            )
        before, cells = self._content, self._cells
        self._replace(features)
        if self._content.numel() == 0:
            self._cells = None
        elif cells is None or not torch.equal(before, self._content):
            self._cells = self._build()
        else:
            projection = self._fit_projection()
            self._cells = self._make_cells(projection, cells.means(features, projection))

    def save(self, path: str | os.PathLike) -> None:
        """Write the clustering (not the features) to a file, atomically and with a checksum.

        Args:
            path: The file, usually named ``*.npz``.
        """
        write_index(path, self.features, self._cells)

    @classmethod
    @without_autocast
    def load(cls, path: str | os.PathLike, x: Tensor | np.ndarray) -> 'ItemIndex':
        """Read an index of the features :obj:`x`.

        Args:
            path: A file that :meth:`save` wrote.
            x: The features that it was built from.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged or not an index, is of another version or of other
                features.
        """
        out = cls.__new__(cls)
        out.verbose = False
        out.settings = {}
        out._generator = torch.Generator().manual_seed(0)
        out.features, (projection, centroids) = read_index(path, x)
        out._content = out.features.has_content.nonzero().view(-1)
        has_content = out._content.numel() > 0
        out._cells = out._make_cells(projection, centroids) if has_content else None
        return out

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_items}, {self.features.channels}, '
            f'metric={self.features.metric!r}, num_cells={self.num_cells})'
        )

    def _replace(self, features: SearchRows) -> None:
        self.features = features
        self._content = features.has_content.nonzero().view(-1)
        self.settings.clear()

    def _build(self) -> Cells:
        """Project and cluster the items with content."""
        projection = self._fit_projection()
        num_cells = cell_count(self._content.numel(), self._cell_size)
        sample = projection(self.features[self._sample(num_cells * POINTS)])
        return self._make_cells(projection, train_centroids(sample, num_cells, self._generator))

    def _make_cells(self, projection: Projection, centroids: Tensor) -> Cells:
        return Cells(
            self.features,
            self._content,
            projection,
            centroids,
            self._cell_size,
            verbose=self.verbose,
        )

    def _sample(self, count: int) -> Tensor:
        """Return different items with content, at random."""
        num_items = self._content.numel()
        order = torch.randperm(num_items, generator=self._generator, dtype=torch.int64, device=CPU)
        return self._content[order[:count]]

    def _fit_projection(self) -> Projection:
        sample = self.features[self._sample(FIT_ROWS)]
        return Projection.fit(sample, self.features.metric != 'ip', self._generator)

    def _neighbors(self, k: int, recall: float) -> SimilarItems:
        """Return neighbours of the items with content, in the order of their ids."""
        num_items = self._content.numel()
        if k == 0 or self._cells is None:
            return neighbors_of(self.features, self._content, self.features, self._content, 0)
        setting = self._setting(k, recall)
        if setting is None:
            features = self.features
            if num_items < self.num_items:
                features = features.select(self._content)
            score, neighbor = exact_search(features, k, verbose=self.verbose)
            return SimilarItems(score, self._content[neighbor])
        num_probes, width = setting.num_probes, min(setting.num_candidates, num_items)
        score = torch.empty(self.num_items, k, dtype=torch.float32, device=CPU)
        neighbor = torch.empty(self.num_items, k, dtype=torch.int64, device=CPU)

        def rank(part: tuple[Tensor, Tensor]) -> None:
            item, candidate = part
            score[item], neighbor[item] = self.features.best(item, candidate, k)

        size = max(1, BLOCK_CANDIDATES // width)
        for start in tqdm(range(0, num_items, size), desc='kNN graph', disable=not self.verbose):
            place = self._cells.place[start : start + size]
            candidate = self._cells.candidates(self._cells.queries(place), num_probes, width)
            item = self._cells.order[place]
            rows = _rows(width)
            run_jobs(rank, list(zip(item.split(rows), candidate.split(rows), strict=True)))
        score, neighbor = score[self._content], neighbor[self._content]
        missing = score[:, -1].isneginf().nonzero().view(-1)
        if missing.numel() > 0:
            score[missing], neighbor[missing] = exact_queries(
                self.features,
                self._content,
                self.features,
                self._content[missing],
                k,
                exclude_self=True,
            )
        return SimilarItems(score, neighbor)

    def _setting(self, k: int, recall: float) -> Setting | None:
        """Return the cheapest setting with the wanted recall on the sample, if there is one."""
        if (k, recall) in self.settings:
            return self.settings[k, recall]
        setting = None
        if recall < 1 and self._cells is not None:
            setting = tune(self.features, self._content, self._cells, k, recall, self._generator)
        self.settings[k, recall] = setting
        if setting is None:
            log.info('k=%d: no setting reaches recall %.3f; searching exactly', k, recall)
        else:
            log.info('k=%d: %d probes, %d candidates, sample recall %.4f', k, *setting)
        return setting


def _rows(width: int) -> int:
    """Return how many rows of candidates are scored at a time."""
    return max(1, min(ROWS, BLOCK_CANDIDATES // (8 * width)))
