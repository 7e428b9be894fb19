from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pyg_mmgef._threads import limit_threads
from pyg_mmgef.graph.weights import symmetrize
from pyg_mmgef.search._exact import exact_search
from pyg_mmgef.search._faiss import faiss_search
from pyg_mmgef.search._rows import METRICS, SearchRows
from pyg_mmgef.search.item_index import ItemIndex
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_choice, check_fraction, check_positive

__all__ = ['knn_graph']

BACKENDS = ('auto', 'exact', 'cluster', 'faiss_flat')
DEFAULT_RECALL = 0.95
# Measured (benchmarks/knn_build.py): with fewer items the exact search is as fast as an index.
CLUSTER_FROM = 10_000


def knn_graph(
    x: Tensor | np.ndarray,
    k: int,
    batch: Tensor | None = None,
    loop: bool = False,
    *,
    force_undirected: bool = False,
    metric: str = 'cosine',
    backend: str = 'auto',
    recall: float | None = None,
    num_threads: int | None = None,
    generator: torch.Generator | None = None,
    verbose: bool = False,
) -> WeightedGraph:
    r"""Connect every row to its :obj:`k` most similar other rows.

    For the cosine metric the weight of the edge :math:`j \to i` is

    .. math::
        S_{ij} = \frac{\mathbf{x}_i^{\top} \mathbf{x}_j}
        {\lVert \mathbf{x}_i \rVert \lVert \mathbf{x}_j \rVert},

    kept for the :math:`k` largest per item, without itself: the multimodal item graph of MM-GEF
    (`arXiv 2308.07222 <https://arxiv.org/abs/2308.07222>`_; the same construction as LATTICE,
    `arXiv 2104.09036 <https://arxiv.org/abs/2104.09036>`_, Eqs. 3-4). Weights are raw
    similarities, best first per destination, and can be negative. Every backend computes them in
    float32 from the full features, in bounded memory.

    The result is exact unless :obj:`recall` allows less. With ``recall=0.95``, parameters are
    chosen on a sample of items whose exact neighbours are computed, such that 95 % of the
    neighbours are found (see :class:`~pyg_mmgef.search.ItemIndex`, which also keeps the index and
    the measured recall).

    Items that resemble nothing get a weight of exactly zero, not one of the rounding error that a
    rotation of the features makes of it: a cosine is zero if it is at most
    :math:`\epsilon_x + \epsilon \sqrt{c}`, with the spacing :math:`\epsilon_x` of the precision of
    :obj:`x`, that of float32, :math:`\epsilon = 2^{-23}`, and :math:`c` channels (1.1e-6 for 64
    channels in float32); an inner product, if it is at most that times the lengths of both rows.
    :func:`~pyg_mmgef.graph.normalize_similarity` drops these edges. Distances are not changed.

    Where an item has fewer than :obj:`k` others, it receives from all of them, as in PyG. Rows of
    zeros (items without content) have no direction: under ``'cosine'`` they neither receive nor
    send edges. Among equally similar items any may be kept.

    Args:
        x: Item features, a tensor or an array (also a read-only memory map), floating point.
            Float32 is read where it is, other precisions are converted. Shape: ``[N, channels]``.
        k: Number of neighbours of an item.
        batch: Group of each row, for instance its catalogue; only rows of a group are compared.
            Shape: ``[N]``. (default: :obj:`None`)
        loop: Let an item be its own neighbour where it is among its :obj:`k` best.
            (default: :obj:`False`)
        force_undirected: Also add the reverse of every edge. (default: :obj:`False`)
        metric: ``'cosine'``, ``'ip'`` (inner product) or ``'l2'`` (ranked by distance; the
            weight is the *negative squared* distance, so larger is always closer).
            (default: ``'cosine'``)
        backend: ``'exact'`` (blocked products in torch, on the device of :obj:`x`), ``'cluster'``
            (:class:`~pyg_mmgef.search.ItemIndex`, approximate, on the CPU), ``'faiss_flat'``
            (FAISS's exact flat index, on the CPU, the reference) or ``'auto'``: ``'cluster'`` if
            :obj:`recall` is below 1 and there are at least 10,000 rows on the CPU, else
            ``'exact'``. (default: ``'auto'``)
        recall: Share of the true neighbours that must be found, in ``(0, 1]``. By default all,
            or 0.95 with ``backend='cluster'``. (default: :obj:`None`)
        num_threads: Threads of torch and FAISS during the search; :obj:`None` changes nothing.
            (default: :obj:`None`)
        generator: Generator of the approximate backend; :obj:`None` makes one seeded with 0, so the
            same input gives the same graph on as many threads. (default: :obj:`None`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        ``edge_index`` of shape ``[2, E]`` (neighbour, item that receives) and ``edge_weight`` of
        shape ``[E]``, on the device of :obj:`x`.

    Raises:
        ValueError: If :obj:`x` isn't a non-empty floating point matrix of finite values, if its
            rows are so long that inner products or distances overflow float32, if :obj:`k` or
            :obj:`num_threads` is not a positive integer, :obj:`recall` not in ``(0, 1]``,
            :obj:`batch` not one integer a row, or :obj:`metric` or :obj:`backend` unknown.
        ImportError: If the backend needs FAISS and it is not installed.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> edge_index, edge_weight = knn_graph(x, k=1)
        >>> edge_index
        tensor([[1, 0, 3, 2],
                [0, 1, 2, 3]])
    """
    check_knn_options(k, metric, backend, recall, num_threads)
    features = SearchRows(x, metric)
    graphs = []
    # The proof needs the precision of the search, not that of the caller's autocast.
    with limit_threads(num_threads), torch.autocast(features.device.type, enabled=False):
        for rows in _groups(batch, features):
            part = features if rows is None else features.select(rows)
            edge_index, edge_weight = _graph(
                part, int(k), backend, recall, loop, generator, verbose
            )
            graphs.append((edge_index if rows is None else rows[edge_index], edge_weight))
    edge_index = torch.cat([graph[0] for graph in graphs], dim=1)
    edge_weight = torch.cat([graph[1] for graph in graphs])
    if force_undirected:
        return symmetrize(edge_index, edge_weight, features.num_items)
    return edge_index, edge_weight


def check_knn_options(
    k: int, metric: str, backend: str, recall: float | None, num_threads: int | None
) -> None:
    """Raise a :class:`ValueError` unless these arguments of :func:`knn_graph` are valid."""
    check_positive('k', k)
    check_choice('metric', metric, METRICS)
    check_choice('backend', backend, BACKENDS)
    if recall is not None:
        check_fraction('recall', recall, '(0, 1]')
    if num_threads is not None:
        check_positive('num_threads', num_threads)


def _groups(batch: Tensor | None, features: SearchRows) -> Sequence[Tensor | None]:
    """Return the rows of each group, :obj:`None` for all."""
    if batch is None:
        return [None]
    num_items = features.num_items
    if not isinstance(batch, Tensor) or batch.shape != (num_items,) or batch.is_floating_point():
        found = list(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
        raise ValueError(f"'batch' must be {num_items} integers, one a row (got {found})")
    group, order = batch.to(features.device).sort(stable=True)
    return order.split(group.unique_consecutive(return_counts=True)[1].tolist())


def _graph(
    features: SearchRows,
    k: int,
    backend: str,
    recall: float | None,
    loop: bool,
    generator: torch.Generator | None,
    verbose: bool,
) -> WeightedGraph:
    """Return the graph of one group of items."""
    kept = None
    if not bool(features.has_content.all()):
        kept = features.has_content.nonzero().view(-1)
        features = features.select(kept)
    num_items = features.num_items
    others = min(k, num_items - 1)
    if others < 1:  # At most one item has content.
        score = features.x.new_empty(num_items, 0)
        neighbor = torch.empty(num_items, 0, dtype=torch.int64, device=features.device)
    else:
        score, neighbor = _search(features, others, backend, recall, generator, verbose)
    if loop:
        own = torch.arange(num_items, dtype=torch.int64, device=features.device)[:, None]
        own_score = features.score(features, own.view(-1), own)
        score, order = torch.cat([own_score, score], dim=1).sort(
            dim=1, descending=True, stable=True
        )
        score, order = score[:, :k], order[:, :k]
        neighbor = torch.cat([own, neighbor], dim=1).gather(1, order)
    item = torch.arange(num_items, dtype=torch.int64, device=features.device)
    edge_index = torch.stack([neighbor.reshape(-1), item.repeat_interleave(score.size(1))])
    return edge_index if kept is None else kept[edge_index], score.reshape(-1)


def _search(
    features: SearchRows,
    k: int,
    backend: str,
    recall: float | None,
    generator: torch.Generator | None,
    verbose: bool,
) -> tuple[Tensor, Tensor]:
    """Return similarities and neighbours by a backend; ``'auto'`` is the one that fits."""
    if backend == 'auto':
        approximate = recall is not None and recall < 1 and features.device.type == 'cpu'
        large = features.num_items >= CLUSTER_FROM
        backend = 'cluster' if approximate and large else 'exact'
    if backend == 'cluster':
        index = ItemIndex(features, generator=generator, verbose=verbose)
        (neighbor, _), score = index.graph(k, recall=DEFAULT_RECALL if recall is None else recall)
        return score.view(-1, k), neighbor.view(-1, k)
    search = faiss_search if backend == 'faiss_flat' else exact_search
    score, neighbor = search(features, k, verbose=verbose)
    item = torch.arange(features.num_items, dtype=torch.int64, device=features.device)
    return features.without_noise(score, item, neighbor)
