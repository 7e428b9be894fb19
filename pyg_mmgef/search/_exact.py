"""Exact nearest neighbours: low-precision products find candidates, float32 proves them."""

import time
from functools import cache

import torch
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef._threads import run_jobs
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._top_lists import CandidateLists, candidate_lists

__all__ = ['HALF_SPACING', 'SPARE', 'exact_search', 'float32_rounding', 'product_dtype']

BLOCK_ENTRIES = 2**24  # Float32 scores held at a time by the plain search: 64 MiB.
SMALL = 2048  # Up to so many items, plain float32 products are as fast.
# Rows and columns of a product that serves both, with fewer and with more items than so many: what
# is computed twice, on the diagonal, grows with a tile, and so does the rate of the products.
TILE, LARGE_TILE, MANY = 512, 1024, 2**14
# Without compiled lists, rows and columns of a product: 16 MiB in bfloat16.
ROWS, COLUMNS = 512, 2**14
SPARE = 22  # Candidates beyond k: enough to prove nearly every row.
HALF_SPACING = {torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24}  # Relative rounding error.


def exact_search(features: SearchRows, k: int, *, verbose: bool = False) -> tuple[Tensor, Tensor]:
    r"""Find the :obj:`k` most similar other rows of each row.

    Products of blocks of rows are taken in bfloat16 where the processor multiplies it faster, and
    the :math:`c > k` best of each row are kept. With :math:`\hat{\mathbf{x}}` the rounded rows, no
    item left out scores above

    .. math::
        t_i + \lVert \mathbf{x}_i - \hat{\mathbf{x}}_i \rVert
        \max_j \lVert \hat{\mathbf{x}}_j \rVert
        + \lVert \mathbf{x}_i \rVert \max_j \lVert \mathbf{x}_j - \hat{\mathbf{x}}_j \rVert
        + \epsilon_1 |t_i|
        + \epsilon_2 \lVert \mathbf{x}_i \rVert \max_j \lVert \mathbf{x}_j \rVert,

    :math:`t_i` being the lowest rounded score kept, :math:`\epsilon_1` the rounding of a score and
    :math:`\epsilon_2` that of the sum inside of it. Those kept whose rounded score is too far below
    the :obj:`k`-th best for such errors are dropped, the others are scored again in float32. A row
    whose :obj:`k`-th exact score is above the bound is proven; the others, in practice few, are
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
    error, low = _round(features, dtype)
    # Relative to the rounded score, which may be the smaller one.
    unit = HALF_SPACING[dtype] / (1 - HALF_SPACING[dtype])
    width = min(k + SPARE, num_items - 1)
    lists = candidate_lists(num_items, width, features.device, exclude_self=True)
    _compare(low, features.metric == 'l2', lists, verbose)
    del low
    score = features.x.new_empty(num_items, k)
    neighbor = torch.empty(num_items, k, dtype=torch.long, device=features.device)
    reach = features.x.new_empty(num_items)

    def rank(rows: Tensor) -> None:
        low_score, candidate = lists.best(int(rows[0]), int(rows[-1]) + 1)
        slack = unit * low_score.abs() + error[rows, None]
        most, least = low_score + slack, low_score - slack
        reach[rows] = most[:, -1]  # Of an item left out.
        candidate = candidate.masked_fill(most < least[:, k - 1 : k], -1)
        score[rows], neighbor[rows] = features.best(rows, candidate, k)

    parts = torch.arange(num_items, device=features.device).split(LARGE_TILE)
    run_jobs(rank, parts, concurrent=lists.concurrent)
    if features.metric == 'l2':  # The products are half the negative squared distances.
        reach = 2 * reach
    unproven = (~(score[:, -1] >= reach)).nonzero().view(-1)
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
        x = torch.ones(512, 512, dtype=dtype, device=device)
        out = torch.empty_like(x)
        trials = []
        for _ in range(4):
            start = time.perf_counter()
            torch.mm(x, x.t(), out=out)
            trials.append(time.perf_counter() - start)
        seconds[dtype] = min(trials)
    return min(seconds, key=seconds.__getitem__)


def float32_rounding() -> float:
    """Return the relative error with which torch may round what it multiplies as float32.

    It is more than that of float32 where :func:`torch.set_float32_matmul_precision` allows TF32 or
    bfloat16 inside of products.
    """
    return {'highest': 2.0**-24, 'high': 2.0**-11}.get(
        torch.get_float32_matmul_precision(), 2.0**-8
    )


def _plain_search(
    features: SearchRows, rows: Tensor, k: int, verbose: bool
) -> tuple[Tensor, Tensor]:
    """Compare some rows with all, in float32 (L2: float64, as norms and products cancel)."""
    l2 = features.metric == 'l2'
    x = features.x.double() if l2 else features[:]
    if float32_rounding() > HALF_SPACING[torch.float32]:
        x = x.double()
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


def _round(features: SearchRows, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    r"""Return a bound of the error of each row's products, themselves not rounded, and the rows.

    For L2 distances four columns are added: the upper and lower half of
    :math:`-\lVert \mathbf{x}_i \rVert^2 / 2` and two ones. A product with a row that has these
    pairs exchanged is then :math:`-\lVert \mathbf{x}_i - \mathbf{x}_j \rVert^2 / 2`.
    """
    l2 = features.metric == 'l2'
    channels = features.channels
    low = torch.ones(features.num_items, channels + 4 * l2, dtype=dtype, device=features.device)
    norm, error = features.x.new_empty(2, features.num_items)

    def round_rows(start: int) -> None:
        rows = slice(start, start + ROWS)
        exact = features[rows]
        low[rows, :channels] = exact
        norm[rows] = torch.linalg.vector_norm(exact, dim=1)
        error[rows] = torch.linalg.vector_norm(exact - low[rows, :channels], dim=1)

    on_cpu = features.device.type == 'cpu'
    run_jobs(round_rows, range(0, features.num_items, ROWS), concurrent=on_cpu)
    longest = norm.max()
    # Products are summed in float32, whose own error grows with the number of channels.
    rounding = (channels + 8) * HALF_SPACING[torch.float32]
    if dtype == torch.float32 and float32_rounding() > HALF_SPACING[torch.float32]:
        rounding += 4 * float32_rounding()
    bound = error * (longest + error.max()) + norm * error.max() + rounding * (norm * longest)
    if l2:
        shift = -norm.square() / 2
        low[:, channels] = shift
        low[:, channels + 1] = shift - low[:, channels]
        bound = bound + (rounding + HALF_SPACING[dtype] ** 2) * longest.square()
    return bound, low


def _compare(low: Tensor, l2: bool, lists: CandidateLists, verbose: bool) -> None:
    """Offer the products of all pairs of rounded rows to the lists.

    Compiled lists take each product for both of its rows, so half of them suffice; to rank the
    second half in torch would cost what the products do.
    """
    num_items = len(low)
    both = lists.concurrent
    tile_size = TILE if num_items < MANY else LARGE_TILE
    num_rows, num_columns = (tile_size, tile_size) if both else (ROWS, COLUMNS)
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

    # The diagonal first: then every list has a limit before it meets most of the products.
    tiles = [(start, start) for start in range(0, num_items, num_rows)] if both else []
    tiles += [
        (start, first)
        for start in range(0, num_items, num_rows)
        for first in range(start + num_columns if both else 0, num_items, num_columns)
    ]
    run_jobs(offer, tiles, concurrent=both, desc='exact kNN', verbose=verbose)
