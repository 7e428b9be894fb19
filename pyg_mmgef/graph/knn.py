import numpy as np
import torch
from torch import Tensor

from pyg_mmgef._threads import limit_threads
from pyg_mmgef.graph.weights import symmetrize
from pyg_mmgef.search._exact import exact_search
from pyg_mmgef.search._faiss import faiss_search
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search.item_index import ItemIndex, check_recall
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_choice, check_positive

__all__ = ['knn_graph']

BACKENDS = ('auto', 'exact', 'cluster', 'faiss_flat')
DEFAULT_RECALL = 0.95
# Measured (benchmarks/knn_build.py): with fewer items the exact search is as fast as an index.
CLUSTER_FROM = 10_000


def knn_graph(
    x: Tensor | np.ndarray,
    k: int,
    *,
    metric: str = 'cosine',
    backend: str = 'auto',
    recall: float | None = None,
    exclude_self: bool = True,
    symmetric: bool = False,
    batch: Tensor | None = None,
    num_threads: int | None = None,
    generator: torch.Generator | None = None,
    verbose: bool = False,
) -> WeightedGraph:
    r"""Connect every row to its :obj:`k` most similar other rows.

    For the cosine metric the weight of the edge :math:`j \to i` is

    .. math::
        S_{ij} = \frac{\mathbf{x}_i^{\top} \mathbf{x}_j}
        {\lVert \mathbf{x}_i \rVert \lVert \mathbf{x}_j \rVert},

    kept for the :math:`k` largest per item, self excluded: the multimodal item graph of MM-GEF
    (`arXiv 2308.07222 <https://arxiv.org/abs/2308.07222>`_; the same construction as LATTICE,
    `arXiv 2104.09036 <https://arxiv.org/abs/2104.09036>`_, Eqs. 3-4). Weights are raw
    similarities, best first per destination, and can be negative. Whatever searches, they are
    computed in float32 from the full features, and memory is bounded.

    The result is exact unless :obj:`recall` allows less. With ``recall=0.95``, parameters are
    settled on a sample of items whose exact neighbours are computed, such that 95 % of the
    neighbours are found (see :class:`~pyg_mmgef.search.ItemIndex`, which also keeps the index and
    tells the measured recall).

    Rows of zeros (items without content) have no direction: under ``'cosine'`` they neither
    receive nor send edges, and with few other rows left every item gets all of them, fewer than
    :obj:`k`. Among equally similar items any may be kept.

    Args:
        x: Item features, a tensor or an array (also a read-only memory map), floating point.
            Float32 is read where it is, other precisions are converted. Shape: ``[N, channels]``.
        k: Number of neighbours of an item, less than ``N``.
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
        exclude_self: If :obj:`False`, an item is its own neighbour where it is among its
            :obj:`k` best. (default: :obj:`True`)
        symmetric: Also add the reverse of every edge. (default: :obj:`False`)
        batch: Group of each row, for instance its catalogue; only rows of a group are compared,
            and in a group of at most :obj:`k` rows every item gets all others. Shape: ``[N]``.
            (default: :obj:`None`)
        num_threads: Threads of torch and FAISS meanwhile. By default what is set.
            (default: :obj:`None`)
        generator: Random numbers of the approximate backend; seeded with 0 by default, so the
            same input gives the same graph. (default: :obj:`None`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        ``edge_index`` of shape ``[2, E]`` (neighbour, item that receives) and ``edge_weight`` of
        shape ``[E]``, on the device of :obj:`x`.

    Raises:
        ValueError: If :obj:`x` isn't a non-empty floating point matrix of finite values, if
            :obj:`k` is not in ``[1, N)``, :obj:`recall` not in ``(0, 1]``, :obj:`batch` not one
            integer a row, or for an unknown :obj:`metric` or :obj:`backend`.
        ImportError: If the backend needs FAISS and it is not installed.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> edge_index, edge_weight = knn_graph(x, k=1)
        >>> edge_index
        tensor([[1, 0, 3, 2],
                [0, 1, 2, 3]])
    """
    check_choice('backend', backend, BACKENDS)
    if recall is not None:
        check_recall(recall)
    features = SearchRows(x, metric)
    num_items = features.num_items
    check_positive('k', k)
    if k >= num_items + (not exclude_self):
        raise ValueError(
            f"'k' must be less than the number of items (got k={k} for {num_items} items, of "
            f'which each has {num_items - 1} others)'
        )
    if batch is None:
        groups = [None]
    else:
        if (
            not isinstance(batch, Tensor)
            or batch.shape != (num_items,)
            or batch.is_floating_point()
        ):
            found = list(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
            raise ValueError(f"'batch' must be {num_items} integers, one a row (got {found})")
        groups = [(batch == group).nonzero().view(-1) for group in batch.unique()]

    graphs = []
    # Products in the precision of somebody's autocast would prove nothing.
    with limit_threads(num_threads), torch.autocast(features.device.type, enabled=False):
        for rows in groups:
            part = features if rows is None else features.select(rows)
            edge_index, edge_weight = _graph(
                part, int(k), backend, recall, exclude_self, generator, verbose
            )
            graphs.append((edge_index if rows is None else rows[edge_index], edge_weight))
    edge_index = torch.cat([graph[0] for graph in graphs], dim=1)
    edge_weight = torch.cat([graph[1] for graph in graphs])
    if symmetric:
        return symmetrize(edge_index, edge_weight, num_items)
    return edge_index, edge_weight


def _graph(
    features: SearchRows,
    k: int,
    backend: str,
    recall: float | None,
    exclude_self: bool,
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
        neighbor = torch.empty(num_items, 0, dtype=torch.long, device=features.device)
    else:
        score, neighbor = _search(features, others, backend, recall, generator, verbose)
    if not exclude_self:
        own = torch.arange(num_items, device=features.device)[:, None]
        own_score = features.score(features, own.view(-1), own)
        score, order = torch.cat([own_score, score], dim=1).sort(
            dim=1, descending=True, stable=True
        )
        score, order = score[:, :k], order[:, :k]
        neighbor = torch.cat([own, neighbor], dim=1).gather(1, order)
    item = torch.arange(num_items, device=features.device).repeat_interleave(score.size(1))
    edge_index = torch.stack([neighbor.reshape(-1), item])
    return edge_index if kept is None else kept[edge_index], score.reshape(-1)


def _search(
    features: SearchRows,
    k: int,
    backend: str,
    recall: float | None,
    generator: torch.Generator | None,
    verbose: bool,
) -> tuple[Tensor, Tensor]:
    """Return similarities and neighbours, by the backend that was asked for or that fits."""
    if backend == 'auto':
        approximate = recall is not None and recall < 1 and features.device.type == 'cpu'
        large = features.num_items >= CLUSTER_FROM
        backend = 'cluster' if approximate and large else 'exact'
    if backend == 'cluster':
        index = ItemIndex(features, generator=generator, verbose=verbose)
        (neighbor, _), score = index.graph(k, recall=DEFAULT_RECALL if recall is None else recall)
        return score.view(-1, k), neighbor.view(-1, k)
    search = faiss_search if backend == 'faiss_flat' else exact_search
    return search(features, k, verbose=verbose)
