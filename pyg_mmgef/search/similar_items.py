from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyg_mmgef.search._exact_queries import exact_queries
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.validate import check_ids, check_positive

__all__ = ['SimilarItems', 'similar_items']


class SimilarItems(NamedTuple):
    """The most similar items of each query, best first. Shape of both: ``[Q, k]``."""

    scores: Tensor
    """Similarities; ``-inf`` where there is no item."""
    items: Tensor
    """Item ids; -1 where there is no item."""


def similar_items(
    x: Tensor | np.ndarray, items: Tensor, k: int, *, metric: str = 'cosine'
) -> SimilarItems:
    r"""Find the :obj:`k` most similar other items of some items, exactly and without an index.

    It compares each query with all items, which suits a few queries. For many build an
    :class:`~pyg_mmgef.search.ItemIndex`, for all items a :func:`~pyg_mmgef.graph.knn_graph`.

    Rows of zeros (items without content) have no direction: under ``'cosine'`` they are similar to
    no item.

    Args:
        x: Features of all items, a tensor or an array, floating point. Shape: ``[N, channels]``.
        items: Ids of the items whose similar items are wanted. Shape: ``[Q]``.
        k: Number of similar items.
        metric: ``'cosine'``, ``'ip'`` (inner product) or ``'l2'`` (negative squared distance).
            (default: ``'cosine'``)

    Returns:
        A named tuple (scores, items), best first, both of shape ``[Q, k]``, on the device of
        :obj:`x`; where there are fewer other items, the remaining places hold ``-inf`` and -1.

    Raises:
        ValueError: If :obj:`x` isn't a non-empty floating point matrix of finite values, its rows
            are so long that inner products or distances overflow float32, :obj:`items` aren't ids
            of its rows, :obj:`k` isn't a positive integer or the metric is unknown.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
        >>> similar_items(x, torch.tensor([0]), k=2).items
        tensor([[1, 2]])
    """
    check_positive('k', k)
    features = SearchRows(x, metric)
    check_ids('items', items, features.num_items, 'item')
    items = items.long().to(features.device)
    content = features.has_content.nonzero().view(-1)
    # The proof needs the precision of the search, not that of the caller's autocast.
    with torch.autocast(features.device.type, enabled=False):
        return neighbors_of(features, content, features, items, k, exclude_self=True)


def neighbors_of(
    features: SearchRows,
    content: Tensor,
    query: SearchRows,
    row: Tensor,
    k: int,
    *,
    exclude_self: bool = False,
) -> SimilarItems:
    """Return the most similar items of queries, padded to :obj:`k`; queries of zeros have none.

    Args:
        features: The items.
        content: Ids of the items with content. Shape: ``[N]``.
        query: The queries.
        row: The rows of :obj:`query` to search for. Shape: ``[Q]``.
        k: Number of similar items.
        exclude_self: Whether the queries are items, none of which is its own neighbour.
            (default: :obj:`False`)
    """
    found = min(k, len(content) - exclude_self)
    score = torch.full((len(row), k), float('-inf'), dtype=torch.float32, device=row.device)
    item = torch.full((len(row), k), -1, dtype=torch.int64, device=row.device)
    known = query.has_content[row].nonzero().view(-1)
    if found > 0 and known.numel() > 0:
        score[known, :found], item[known, :found] = exact_queries(
            features, content, query, row[known], found, exclude_self=exclude_self
        )
    return SimilarItems(score, item)
