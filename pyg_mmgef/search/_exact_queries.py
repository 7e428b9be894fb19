"""Exact nearest neighbours of some queries, compared with all items."""

import torch
from torch import Tensor

from pyg_mmgef._threads import run_jobs
from pyg_mmgef.search._proven import (
    HALF_SPACING,
    SPARE,
    ProductBound,
    float32_rounding,
    product_dtype,
    row_lengths,
)
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._top_lists import candidate_lists

__all__ = ['exact_queries']

BLOCK = 2**11  # Queries, and items, compared in one product with all channels.


def exact_queries(
    features: SearchRows,
    item: Tensor,
    query: SearchRows,
    row: Tensor,
    k: int,
    *,
    exclude_self: bool = False,
) -> tuple[Tensor, Tensor]:
    """Find the :obj:`k` most similar items of some queries.

    As in :func:`~pyg_mmgef.search._exact.exact_search`, low-precision products choose candidates
    and float32 proves them; queries that aren't proven are compared in float32 (L2: float64).

    Args:
        features: The items.
        item: Ids of the items to compare with. Shape: ``[N]``.
        query: The queries; :obj:`features` themselves, or others by :meth:`SearchRows.queries`.
        row: The rows of :obj:`query` to search for. Shape: ``[Q]``.
        k: Number of neighbours, at most ``N``, or ``N - 1`` with :obj:`exclude_self`.
        exclude_self: Whether the queries are items, none of which is its own neighbour.
            (default: :obj:`False`)

    Returns:
        Similarities and item ids, best first, both of shape ``[Q, k]``.
    """
    score = torch.empty(len(row), k, dtype=torch.float32, device=features.device)
    neighbor = torch.empty(len(row), k, dtype=torch.int64, device=features.device)
    l2 = features.metric == 'l2'
    # L2 distances come from norms and products, which cancel.
    precise = l2 or float32_rounding(features.device) > HALF_SPACING[torch.float32]
    exact = torch.float64 if precise else torch.float32
    fast = product_dtype(features.device)
    for part in torch.arange(len(row), dtype=torch.int64, device=row.device).split(BLOCK):
        rows = row[part]
        if fast == exact or l2:
            score[part], neighbor[part], _ = _compare(
                features, item, query, rows, k, exact, exclude_self
            )
            continue
        score[part], neighbor[part], left_out = _compare(
            features, item, query, rows, k, fast, exclude_self
        )
        unproven = part[~(score[part, -1] >= left_out)]
        if unproven.numel() > 0:
            score[unproven], neighbor[unproven], _ = _compare(
                features, item, query, row[unproven], k, exact, exclude_self
            )
    return score, neighbor


def _compare(
    features: SearchRows,
    item: Tensor,
    query: SearchRows,
    row: Tensor,
    k: int,
    dtype: torch.dtype,
    exclude_self: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find candidates by products in ``dtype`` and rank them by their exact scores.

    Returns:
        Similarities and items, of shape ``[Q, k]``, and the highest score that an item beyond the
        candidates can have, of shape ``[Q]``.
    """
    others = len(item) - exclude_self
    width = min(k + SPARE, others)
    exact = query[row]
    low = exact.to(dtype)
    ids = torch.arange(len(row), dtype=torch.int32, device=row.device)
    lists = candidate_lists(len(row), width, features.device)
    bounded = dtype in HALF_SPACING and width < others

    def offer(items: Tensor) -> tuple[Tensor, Tensor]:
        rows = features[items]
        low_rows = rows.to(dtype)
        product = low @ low_rows.t()
        if features.metric == 'l2':  # Half the negative squared distances.
            product -= low_rows.square().sum(dim=1) / 2
            product -= low.square().sum(dim=1)[:, None] / 2
        if dtype == torch.float64:
            product = product.float()
        if exclude_self:
            product.masked_fill_(items == row[:, None], float('-inf'))
        lists.offer(product, ids, items.int())
        return row_lengths(rows, low_rows) if bounded else (rows[:0], rows[:0])

    lengths = run_jobs(offer, item.split(BLOCK), concurrent=lists.concurrent)
    product, candidate = lists.best(0, len(row))
    score = features.score(query, row, candidate)
    if exclude_self:
        score.masked_fill_(candidate == row[:, None], float('-inf'))
    score, order = score.topk(k, dim=1)
    left_out = torch.full_like(score[:, 0], float('-inf'))
    if bounded:
        norm, error = map(torch.cat, zip(*lengths, strict=True))
        bound = ProductBound(norm, error, features.channels, dtype)
        left_out = bound.highest(product[:, -1], bound.error(*row_lengths(exact, low)))
    return score, candidate.gather(1, order), left_out
