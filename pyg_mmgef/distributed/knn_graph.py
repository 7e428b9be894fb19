"""The item graph of features that are spread over processes."""

import torch
from torch import Tensor

from pyg_mmgef._threads import limit_threads
from pyg_mmgef.distributed._cell_shards import cell_search
from pyg_mmgef.distributed._exchange import Group, counts_of, place_in, sum_over
from pyg_mmgef.distributed._ring import ring_search
from pyg_mmgef.distributed._together import raise_together
from pyg_mmgef.search._rows import METRICS, SearchRows
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_choice, check_fraction, check_positive

__all__ = ['sharded_knn_graph']


def sharded_knn_graph(
    x: Tensor,
    k: int,
    *,
    metric: str = 'cosine',
    recall: float = 1.0,
    seed: int = 0,
    num_threads: int | None = None,
    group: Group = None,
) -> WeightedGraph:
    r"""Connect every item to its :obj:`k` most similar others, with items spread over processes.

    Each process holds the features of a contiguous range of items, in the order of ranks, and
    receives the edges into them. The graph is that of :func:`~pyg_mmgef.graph.knn_graph`.

    The exact search sends the features from process to process in a ring, 32,768 items of a process
    at a time, so a process holds little beside its own. In each block of items, low-precision
    products choose the neighbours and float32 proves them, so the weights are those of one process
    bit for bit, for at least 2,049 items; those of fewer items, and of rows that can't be proven,
    are equal to rounding. Among equally similar items the lower one is kept.

    With a :obj:`recall` below 1, items move to the process that owns their cell of a k-means
    clustering, and queries travel to the owners of the cells that they probe, see
    :class:`~pyg_mmgef.search.ItemIndex`. A process holds its features twice. How many cells are
    probed is chosen on a sample of items whose exact neighbours are computed. If no number reaches
    the recall, the search is exact. It runs on the CPU.

    Args:
        x: Features of the items of this process, of the same type and width in all.
            Shape: ``[n, channels]``.
        k: Number of neighbours of an item.
        metric: ``'cosine'``, ``'ip'`` (inner product) or ``'l2'`` (negative squared distance).
            (default: ``'cosine'``)
        recall: Share of the true neighbours that must be found, in ``(0, 1]``; 1 is exact.
            (default: ``1.0``)
        seed: Seed of the clustering and of the sample. (default: ``0``)
        num_threads: Threads of torch and FAISS during the search; :obj:`None` changes nothing.
            (default: :obj:`None`)
        group: The processes; :obj:`None` means all. (default: :obj:`None`)

    Returns:
        ``edge_index`` of shape ``[2, E]`` (neighbour, item that receives), numbered over all items,
        best first per item, and ``edge_weight`` of shape ``[E]``, raw similarities;
        :func:`sharded_normalize_similarity` normalises them.

    Raises:
        ValueError: If :obj:`x` isn't a floating point matrix of finite values, the processes have
            different widths or types, or an argument is out of range.
        RuntimeError: If that has happened in another process.
        ImportError: If the approximate search needs FAISS and it is not installed.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> edge_index, edge_weight = sharded_knn_graph(x, k=1)  # In a world of one process.
        >>> edge_index
        tensor([[1, 0, 3, 2],
                [0, 1, 2, 3]])
    """
    check_positive('k', k)
    check_choice('metric', metric, METRICS)
    check_fraction('recall', recall, '(0, 1]')
    if num_threads is not None:
        check_positive('num_threads', num_threads)
    with raise_together(x.device, group):
        content = SearchRows(x, metric, allow_empty=True).has_content.nonzero().view(-1)
    first = sum(counts_of(x, group)[: place_in(group)[0]])
    num_content = int(sum_over(torch.tensor(len(content), device=x.device), group))
    others = min(k, num_content - 1)
    if others < 1:
        return torch.empty(2, 0, dtype=torch.int64, device=x.device), torch.empty(
            0, dtype=torch.float32, device=x.device
        )
    with limit_threads(num_threads), torch.autocast(x.device.type, enabled=False):
        lists = None
        if recall < 1:
            lists = cell_search(x, metric, content, others, recall, seed, group)
        if lists is None:
            lists = ring_search(x, metric, content, others, group)
    score, neighbor = lists.without_noise()
    item = (content + first).repeat_interleave(others)
    return torch.stack([neighbor.view(-1), item]), score.view(-1)
