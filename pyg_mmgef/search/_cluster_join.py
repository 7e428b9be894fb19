"""The cluster join: each cell of a clustering is compared with all queries that probe it."""

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pyg_mmgef._threads import run_jobs
from pyg_mmgef.search._top_lists import CandidateLists

__all__ = ['join_cells']

QUERIES = 2048  # Queries multiplied with a cell at a time.
ROUND_QUERIES = 128  # Rounded up to a multiple of this: each new shape costs oneDNN time.


def join_cells(
    query: Tensor,
    key: Tensor,
    ids: Tensor,
    bounds: list[int],
    probes: Tensor,
    lists: CandidateLists,
) -> None:
    """Update the candidate lists of queries with the keys of the cells that they probe.

    The keys of a cell are multiplied with all queries that probe it, in dense products.

    Args:
        query: Queries. Shape: ``[Q, channels]``, bfloat16 or float32.
        key: Keys, sorted by cell. Shape: ``[N, channels]``, as :obj:`query`.
        ids: The item id of each key, int32, -1 for padding. Shape: ``[N]``.
        bounds: The first position of each cell in :obj:`key`, and ``N``. Length: ``C + 1``.
        probes: The distinct cells that each query probes, -1 for padding. Shape: ``[Q, P]``.
        lists: The candidate lists, one per query, which are updated.
    """
    chosen = probes >= 0
    cell = probes[chosen].numpy()
    start_of_query = np.concatenate([[0], chosen.sum(dim=1).cumsum(0).numpy()])
    by_query = sp.csr_array(
        (np.ones(len(cell), dtype=np.bool_), cell, start_of_query),
        shape=(len(probes), len(bounds) - 1),
    )
    by_cell = by_query.tocsc()  # A counting sort, many times faster than an argsort.
    query_of, ends = torch.from_numpy(by_cell.indices), by_cell.indptr.tolist()

    def join(job: tuple[int, int, int]) -> None:
        number, first, last = job
        start, stop = bounds[number], bounds[number + 1]
        which = query_of[first:last]
        rounded = -(-len(which) // ROUND_QUERIES) * ROUND_QUERIES
        rows = query.new_zeros(rounded, query.size(1))
        torch.index_select(query, 0, which, out=rows[: len(which)])
        product = rows @ key[start:stop].t()
        lists.offer(product[: len(which)], which.int(), ids[start:stop])

    jobs = [
        (number, first, min(first + QUERIES, ends[number + 1]))
        for number in range(len(bounds) - 1)
        if bounds[number] < bounds[number + 1]
        for first in range(ends[number], ends[number + 1], QUERIES)
    ]
    run_jobs(join, jobs, concurrent=lists.concurrent)
