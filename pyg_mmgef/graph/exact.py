"""Exact nearest neighbours: low-precision products find candidates, float32 proves them."""

import time
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef.graph.features import ItemFeatures

__all__ = ['exact_search', 'keep_best', 'product_dtype']

BLOCK_ENTRIES = 2**24  # Float32 scores held at a time by the plain search: 64 MiB.
SMALL = 2048  # Up to so many items, plain float32 products are as fast.
ROWS, COLUMNS = 512, 2**16  # Products held at a time: 64 MiB in bfloat16.
SPARE = 22  # Candidates beyond k: enough to prove nearly every row.
GROUP = 32  # Scores reduced to their largest before any is ranked.
HALF_SPACING = {torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24}  # Relative rounding error.


def exact_search(features: ItemFeatures, k: int, *, verbose: bool = False) -> tuple[Tensor, Tensor]:
    r"""Find the :obj:`k` most similar other rows of each row.

    Products of blocks of rows are taken in bfloat16 where the processor multiplies it faster; the
    :math:`c > k` best of each row are scored again in float32. With
    :math:`\hat{\mathbf{x}}` the rounded rows, no item left out scores above

    .. math::
        t_i + \lVert \mathbf{x}_i - \hat{\mathbf{x}}_i \rVert
        \max_j \lVert \hat{\mathbf{x}}_j \rVert
        + \lVert \mathbf{x}_i \rVert \max_j \lVert \mathbf{x}_j - \hat{\mathbf{x}}_j \rVert
        + \epsilon \lVert \mathbf{x}_i \rVert \max_j \lVert \mathbf{x}_j \rVert,

    :math:`t_i` being the lowest rounded score kept and :math:`\epsilon` the rounding of a score.
    A row whose :obj:`k`-th exact score is above that is proven; the others, in practice few, are
    searched in float32 (L2: float64), so the result is the exact one.

    Args:
        features: Rows to compare.
        k: Number of neighbours, less than their number.
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        Similarities (L2: negative squared distances) and neighbour ids, best first, both of
        shape ``[N, k]``.
    """
    num_items = features.num_items
    if num_items <= SMALL:
        rows = torch.arange(num_items, device=features.device)
        return _plain_search(features, rows, k, verbose)

    dtype = product_dtype(features.device)
    bound, low = _round(features, dtype)
    width = min(k + SPARE, num_items - 1)
    threshold, candidate = _candidates(low, num_items, features.metric == 'l2', width, verbose)
    del low
    score = features.x.new_empty(num_items, k)
    neighbor = candidate.new_empty(num_items, k)
    parts = torch.arange(num_items, device=features.device).split(8 * ROWS)
    for rows in parts:
        score[rows], neighbor[rows] = features.best(rows, candidate[rows], k)
    least = score[:, -1]
    if features.metric == 'l2':
        norm = torch.cat([row.square().sum(dim=1) for row in map(features.__getitem__, parts)])
        threshold, bound = 2 * threshold - norm, 2 * bound
    unproven = (~(least >= threshold + bound)).nonzero().view(-1)
    if width < num_items - 1 and unproven.numel() > 0:
        score[unproven], neighbor[unproven] = _plain_search(features, unproven, k, verbose)
    return score, neighbor


@cache
def product_dtype(device: torch.device) -> torch.dtype:
    """Return the precision of the fast products on a device: bfloat16 if it pays, else float32.

    A CPU is asked by a trial of a few milliseconds, once per process: not every one that knows
    bfloat16 multiplies it faster.
    """
    if device.type != 'cpu':
        return torch.float32
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(512, 512, dtype=dtype)
        out = torch.empty(512, 512, dtype=dtype)
        trials = []
        for _ in range(4):
            start = time.perf_counter()
            torch.mm(x, x.t(), out=out)
            trials.append(time.perf_counter() - start)
        seconds[dtype] = min(trials)
    return min(seconds, key=seconds.__getitem__)


def _plain_search(
    features: ItemFeatures, rows: Tensor, k: int, verbose: bool
) -> tuple[Tensor, Tensor]:
    """Compare some rows with all, in float32 (L2: float64, as norms and products cancel)."""
    l2 = features.metric == 'l2'
    x = features.x.double() if l2 else features[:]
    square_norm = x.square().sum(dim=1) if l2 else None
    scores, neighbors = [], []
    block = max(1, BLOCK_ENTRIES // features.num_items)
    for part in tqdm(rows.split(block), desc='exact kNN', disable=not verbose):
        score = x[part] @ x.t()
        if square_norm is not None:
            score = 2 * score - square_norm - square_norm[part, None]
        score[torch.arange(part.numel(), device=x.device), part] = float('-inf')
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


def _round(features: ItemFeatures, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    r"""Return a bound of the error of each row's products, and the rounded rows.

    Rows of zeros pad them to whole groups. For L2 distances two columns are added that hold the
    upper and lower half of :math:`-\lVert \mathbf{x}_j \rVert^2 / 2`, so that products rank as
    distances do.
    """
    l2 = features.metric == 'l2'
    padded = -(-features.num_items // GROUP) * GROUP
    shape = (padded, features.channels + 2 * l2)
    low = torch.zeros(shape, dtype=dtype, device=features.device)
    norm, error = features.x.new_empty(2, features.num_items)
    for start in range(0, features.num_items, ROWS):
        rows = slice(start, min(start + ROWS, features.num_items))
        exact = features[rows]
        low[rows, : features.channels] = exact
        norm[rows] = torch.linalg.vector_norm(exact, dim=1)
        error[rows] = torch.linalg.vector_norm(exact - low[rows, : features.channels], dim=1)
    longest = norm.max()
    # Products are summed in float32, whose own error grows with the number of channels.
    rounding = HALF_SPACING[dtype] + features.channels * HALF_SPACING[torch.float32]
    bound = error * (longest + error.max()) + norm * error.max() + rounding * norm * longest
    if l2:
        shift = -norm.square() / 2
        low[: features.num_items, -2] = shift
        low[: features.num_items, -1] = shift - low[: features.num_items, -2]
        bound = bound + (rounding + HALF_SPACING[dtype] ** 2) * longest.square()
    return bound, low


def _candidates(
    low: Tensor, num_items: int, l2: bool, width: int, verbose: bool
) -> tuple[Tensor, Tensor]:
    """Return each row's ``width``-th best rounded score and the ids of its ``width`` best."""
    threshold = torch.empty(num_items, device=low.device)
    candidate = torch.empty(num_items, width, dtype=torch.long, device=low.device)
    product = torch.empty(ROWS * min(COLUMNS, len(low)), dtype=low.dtype, device=low.device)
    for start in tqdm(range(0, num_items, ROWS), desc='exact kNN', disable=not verbose):
        query = low[start : min(start + ROWS, num_items)]
        if l2:
            query = query.clone()
            query[:, -2:] = 1.0
        row = torch.arange(len(query), device=low.device)
        score = torch.full((len(query), width), float('-inf'), device=low.device)
        index = torch.zeros(len(query), width, dtype=torch.long, device=low.device)
        for first in range(0, len(low), COLUMNS):
            key = low[first : first + COLUMNS]
            part = product[: len(query) * len(key)].view(len(query), len(key))
            torch.mm(query, key.t(), out=part)
            part[:, max(num_items - first, 0) :] = float('-inf')
            own = row + start - first
            inside = (own >= 0) & (own < len(key))
            part[row[inside], own[inside]] = float('-inf')
            score, index = keep_best(score, index, part, first)
        threshold[start : start + ROWS] = score.amin(dim=1)
        candidate[start : start + ROWS] = index
    return threshold, candidate


def keep_best(score: Tensor, index: Tensor, product: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Merge the scores of a block of columns into the running best of each row.

    The best scores lie in the groups with the best maxima, and a maximum is much cheaper than a
    ranking.

    Args:
        score: Best scores so far. Shape: ``[Q, width]``.
        index: Their columns. Shape: ``[Q, width]``.
        product: Scores of more columns. Shape: ``[Q, C]``.
        first: Number of the first of these columns.

    Returns:
        Scores and columns of the best, in no order.
    """
    width = score.size(1)
    if product.size(1) % GROUP:
        product = F.pad(product, (0, -product.size(1) % GROUP), value=float('-inf'))
    num_groups = product.size(1) // GROUP
    # Strided groups: neighbouring columns, often alike, are apart.
    group = product.unflatten(1, (GROUP, num_groups)).amax(dim=1)
    group = group.topk(min(width, num_groups), dim=1, sorted=False).indices
    member = torch.arange(0, product.size(1), num_groups, device=product.device)
    column = (group[:, :, None] + member).flatten(1)
    pool = torch.cat([score, product.gather(1, column).to(score.dtype)], dim=1)
    score, position = pool.topk(width, dim=1, sorted=False)
    return score, torch.cat([index, column + first], dim=1).gather(1, position)
