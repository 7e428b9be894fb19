"""Candidate neighbours by joining cells of a clustering with dense low-precision products."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ['GROUPS', 'NOTHING', 'join_cells', 'num_slots', 'unpack']

QUERIES = 2048  # Queries multiplied with a cell at a time.
ROUND_QUERIES = 128  # Their number is rounded up: oneDNN prepares every new shape anew.
GROUPS = 32  # The scores of a cell are reduced to so many maxima.
OFFSET = 0xFFFF  # The lower half of a float32, zero in every number that came from bfloat16.
NOTHING = -1e30  # Score of no key. Not infinite: an infinity with an offset would be no number.


def num_slots(num_probes: int, width: int) -> int:
    """Return how many groups of 32 keys :func:`join_cells` keeps of each query."""
    return -(-width // GROUPS) + num_probes - 1


def join_cells(query: Tensor, key: Tensor, bounds: list[int], probes: Tensor, width: int) -> Tensor:
    r"""Score queries against the keys of the cells they probe, and keep the promising ones.

    For each cell, dense products compare its keys with all queries that probe it. Of the cell
    that a query probes first, the :obj:`width` best keys are kept, of every other cell the best
    of each of 32 groups of keys. A kept key is one float32: the upper half is its score in
    bfloat16, the lower half its offset in the cell. So a maximum or a ranking moves both, and no
    index matrices are made.

    Args:
        query: Queries. Shape: ``[Q, channels]``, bfloat16 or float32.
        key: Keys, sorted by cell. Shape: ``[N, channels]``, as :obj:`query`.
        bounds: Where each cell starts in :obj:`key`, then the end. Length: ``C + 1``. The size of
            a cell is a multiple of 32 and at most 65,536.
        probes: Different cells for each query, the most promising first. Shape: ``[Q, P]``.
        width: Number of keys kept of the first cell.

    Returns:
        Kept keys in the order of the probes. Shape: ``[Q, 32 num_slots(P, width)]``, float32.
        Columns that nothing fills are :obj:`NOTHING`.
    """
    num_queries, num_probes = probes.shape
    slots = num_slots(num_probes, width)
    packed = torch.full((num_queries, slots * GROUPS), NOTHING, device=query.device)
    for row, score in _products(query, key, bounds, probes[:, :1]):
        kept = min(width, score.size(1))
        packed[row, :kept] = score.topk(kept, dim=1, sorted=False).values
    by_slot = packed.view(-1, GROUPS)
    for pair, score in _products(query, key, bounds, probes[:, 1:]):
        row = pair.div(num_probes - 1, rounding_mode='floor')
        slot = row * (slots - num_probes + 1) + pair + slots - num_probes + 1
        by_slot.index_copy_(0, slot, score.unflatten(1, (-1, GROUPS)).amax(dim=1))
    return packed


def unpack(packed: Tensor, probes: Tensor, starts: Tensor, width: int, count: int) -> Tensor:
    """Return the positions of the :obj:`count` best of the packed keys.

    Args:
        packed: What :func:`join_cells` returned, or its first columns.
        probes: The cells. Shape: ``[Q, P]``.
        starts: Where each cell starts. Shape: ``[C]``.
        width: As for :func:`join_cells`.
        count: Number of keys per query, at most ``packed.size(1)``.

    Returns:
        Positions in the keys, -1 where there is none, in no order. Shape: ``[Q, count]``.
    """
    best, column = packed.topk(count, dim=1, sorted=False)
    slot = column.div_(GROUPS, rounding_mode='floor')
    rank = slot.sub_(num_slots(1, width) - 1).clamp_(min=0)
    position = starts[probes.gather(1, rank)] + (best.view(torch.int32) & OFFSET)
    return position.masked_fill_(best < NOTHING / 10, -1)


def _products(
    query: Tensor, key: Tensor, bounds: list[int], probes: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, cell by cell, which (query, probe) pairs ask for it and their packed scores."""
    num_probes = probes.size(1)
    cell = probes.reshape(-1)
    pairs = cell.argsort(stable=True)
    ends = [0, *cell.bincount(minlength=len(bounds) - 1).cumsum(0).tolist()]
    width = max(stop - start for start, stop in pairwise(bounds))
    # Buffers that are reused: fresh memory costs more than the products that fill it.
    rows = query.new_zeros(QUERIES, query.size(1))
    low = query.new_zeros(QUERIES * width)
    full = torch.empty(QUERIES * width, device=query.device)
    offset = torch.arange(width, dtype=torch.int32, device=query.device)
    for (start, stop), (first, last) in zip(pairwise(bounds), pairwise(ends), strict=True):
        size = stop - start
        if size == 0 or first == last:
            continue
        keys = key[start:stop].t()
        for part in pairs[first:last].split(QUERIES):
            count = part.numel()
            rounded = -(-count // ROUND_QUERIES) * ROUND_QUERIES
            row = part if num_probes == 1 else part.div(num_probes, rounding_mode='floor')
            torch.index_select(query, 0, row, out=rows[:count])
            product = low[: rounded * size].view(rounded, size)
            torch.mm(rows[:rounded], keys, out=product)
            score = full[: count * size].view(count, size).copy_(product[:count])
            bits = score.view(torch.int32)
            if query.dtype != torch.bfloat16:
                bits.bitwise_and_(~OFFSET)
            bits.bitwise_or_(offset[:size])
            yield part, score
