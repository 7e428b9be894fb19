"""Exact nearest neighbours of all rows: low-precision products choose them, float32 proves them."""

from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef._threads import run_jobs
from pyg_mmgef.search._proven import (
    HALF_SPACING,
    SPARE,
    ProductBound,
    float32_rounding,
    product_dtype,
    round_rows,
)
from pyg_mmgef.search._repeated import RepeatedRows
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._top_lists import CandidateLists, candidate_lists

__all__ = ['Sizes', 'exact_search']


class Sizes(NamedTuple):
    """Block sizes and thresholds of the exact search."""

    small: int = 2048
    """Up to this many items, plain float32 products are used; they are as fast."""
    many: int = 2**14
    """With fewer items, :attr:`tile` is used, else :attr:`large_tile`."""
    tile: int = 512
    """Rows and columns of a product that serves both. A larger one is faster, but computes more
    scores twice, on the diagonal."""
    large_tile: int = 1024
    rows: int = 512
    """Rows of a product where lists aren't compiled."""
    columns: int = 2**14
    """Columns of such a product: 16 MiB in bfloat16."""
    spare: int = SPARE
    """Candidates kept beyond k."""
    block: int = 2**24
    """Float32 scores held at a time by the plain search: 64 MiB."""


SIZES = Sizes()


def exact_search(
    features: SearchRows,
    k: int,
    *,
    verbose: bool = False,
    sizes: Sizes = SIZES,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Find the :obj:`k` most similar other rows of each row.

    Products of blocks of rows are computed in bfloat16 where the processor multiplies it faster,
    and the :math:`c > k` best of each row are kept. The error of a product is bounded
    (:class:`~pyg_mmgef.search._proven.ProductBound`): candidates too far below the :obj:`k`-th best
    are dropped, the others are scored again in float32, and a row is proven if its :obj:`k`-th
    score is above the highest score that a row left out can have. Rows that aren't proven, in
    practice few, are searched in float32 (L2: float64), so the result is exact.

    Rows that are repeated more often than there are spare candidates could not be proven; each
    group of them is searched once.

    Args:
        features: Rows to compare.
        k: Number of neighbours, less than their number.
        verbose: Show a progress bar. (default: :obj:`False`)
        sizes: Block sizes. (default: what was measured to be fast)
        dtype: Precision of the fast products; :obj:`None` means the fastest on the device.
            (default: :obj:`None`)

    Returns:
        Similarities (L2: negative squared distances) and neighbour ids, best first, both of
        shape ``[N, k]``.
    """
    if features.num_items <= sizes.small:
        rows = torch.arange(features.num_items, dtype=torch.int64, device=features.device)
        return _plain_search(features, rows, k, verbose, sizes)
    repeated = RepeatedRows.of(features.x, more_than=sizes.spare)
    if repeated is None:
        return _search(features, k, verbose, sizes, dtype or product_dtype(features.device))
    distinct = features.select(repeated.first)
    others = min(k, distinct.num_items - 1)
    if others == 0:
        score, neighbor = features.x.new_empty(1, 0), repeated.first.new_empty(1, 0)
    else:
        score, neighbor = exact_search(distinct, others, verbose=verbose, sizes=sizes, dtype=dtype)
    own = torch.arange(distinct.num_items, dtype=torch.int64, device=features.device)[:, None]
    own_score = distinct.score(distinct, own.view(-1), own)
    return repeated.expand(torch.cat([own_score, score], 1), torch.cat([own, neighbor], 1), k)


def _search(
    features: SearchRows, k: int, verbose: bool, sizes: Sizes, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """See :func:`exact_search`; for many rows, few of which are repeated."""
    num_items = features.num_items
    bound, error, low = _round(features, dtype)
    width = min(k + sizes.spare, num_items - 1)
    lists = candidate_lists(num_items, width, features.device, exclude_self=True)
    _compare(low, features.metric == 'l2', lists, verbose, sizes)
    del low
    score = features.x.new_empty(num_items, k)
    neighbor = torch.empty(num_items, k, dtype=torch.int64, device=features.device)
    left_out = features.x.new_empty(num_items)  # The highest scores that rows left out can have.

    def rank(rows: Tensor) -> None:
        product, candidate = lists.best(int(rows[0]), int(rows[-1]) + 1)
        highest = bound.highest(product, error[rows, None])
        least = bound.lowest(product[:, k - 1 : k], error[rows, None])
        left_out[rows] = highest[:, -1]
        candidate = candidate.masked_fill(highest < least, -1)
        score[rows], neighbor[rows] = features.best(rows, candidate, k)

    every = torch.arange(num_items, dtype=torch.int64, device=features.device)
    run_jobs(rank, every.split(sizes.large_tile), concurrent=lists.concurrent)
    if features.metric == 'l2':  # The products are half the negative squared distances.
        left_out = 2 * left_out
    unproven = (~(score[:, -1] >= left_out)).nonzero().view(-1)
    if width < num_items - 1 and unproven.numel() > 0:
        score[unproven], neighbor[unproven] = _plain_search(features, unproven, k, verbose, sizes)
    return score, neighbor


def _plain_search(
    features: SearchRows, rows: Tensor, k: int, verbose: bool, sizes: Sizes
) -> tuple[Tensor, Tensor]:
    """Compare some rows with all, in float32 (L2: float64, as norms and products cancel)."""
    l2 = features.metric == 'l2'
    x = features.x.double() if l2 else features[:]
    if float32_rounding(features.device) > HALF_SPACING[torch.float32]:
        x = x.double()
    square_norm = x.square().sum(dim=1) if l2 else None
    scores, neighbors = [], []
    block = max(1, sizes.block // features.num_items)
    for part in tqdm(rows.split(block), desc='exact kNN', disable=not verbose):
        score = x[part] @ x.t()
        if square_norm is not None:
            score = 2 * score - square_norm - square_norm[part, None]
        score.scatter_(1, part[:, None], float('-inf'))
        score, index = score.topk(k, dim=1)
        scores.append(score)
        neighbors.append(index)
    score, neighbor = torch.cat(scores), torch.cat(neighbors)
    if l2:  # From differences: exactly zero for equal rows.
        score, order = features.score(features, rows, neighbor).sort(
            dim=1, descending=True, stable=True
        )
        neighbor = neighbor.gather(1, order)
    return score.float(), neighbor


def _round(features: SearchRows, dtype: torch.dtype) -> tuple[ProductBound, Tensor, Tensor]:
    r"""Return the bound of products, each row's error, and the rounded rows.

    For L2 distances four columns are added: the upper and lower half of
    :math:`-\lVert \mathbf{x}_i \rVert^2 / 2` and two ones. A product with a row that has these
    pairs exchanged is then :math:`-\lVert \mathbf{x}_i - \mathbf{x}_j \rVert^2 / 2`.
    """
    l2 = features.metric == 'l2'
    channels = features.channels
    low = torch.ones(features.num_items, channels + 4 * l2, dtype=dtype, device=features.device)
    norm, error = round_rows(features, low[:, :channels])
    bound = ProductBound(norm, error, channels, dtype)
    error = bound.error(norm, error)
    if l2:
        shift = -norm.square() / 2
        low[:, channels] = shift
        low[:, channels + 1] = shift - low[:, channels]
        error += (bound.rounding + HALF_SPACING[dtype] ** 2) * bound.longest.square()
    return bound, error, low


def _compare(low: Tensor, l2: bool, lists: CandidateLists, verbose: bool, sizes: Sizes) -> None:
    """Offer the products of all pairs of rounded rows to the lists.

    Compiled lists use each product for both of its rows, so half of the products suffice. For
    torch's lists all are computed, since ranking the other half would cost as much.
    """
    num_items = len(low)
    both = lists.concurrent
    tile = sizes.tile if num_items < sizes.many else sizes.large_tile
    num_rows, num_columns = (tile, tile) if both else (sizes.rows, sizes.columns)
    ids = torch.arange(num_items, dtype=torch.int32, device=low.device)
    channels = low.size(1) - 4 if l2 else low.size(1)

    def offer(tile: tuple[int, int]) -> None:
        row, column = ids[tile[0] :][:num_rows], ids[tile[1] :][:num_columns]
        query, key = low[tile[0] :][:num_rows], low[tile[1] :][:num_columns]
        if l2:
            query = torch.cat(
                [query[:, :channels], query[:, channels + 2 :], query[:, channels : channels + 2]],
                dim=1,
            )
        lists.offer(query @ key.t(), row, column, both and tile[0] != tile[1])

    # The diagonal first: it gives every list a limit that rejects most of the other products.
    tiles = [(start, start) for start in range(0, num_items, num_rows)] if both else []
    tiles += [
        (start, first)
        for start in range(0, num_items, num_rows)
        for first in range(start + num_columns if both else 0, num_items, num_columns)
    ]
    run_jobs(offer, tiles, concurrent=both, desc='exact kNN', verbose=verbose)
