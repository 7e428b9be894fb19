"""Candidate neighbours by joining cells of a clustering with dense low-precision products."""

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pyg_mmgef._threads import run_jobs
from pyg_mmgef.search._top_lists import CandidateLists

__all__ = ['join_cells']

QUERIES = 2048  # Queries multiplied with a cell at a time.
ROUND_QUERIES = 128  # Their number is rounded up: oneDNN prepares every new shape anew.


def join_cells(
    query: Tensor,
    key: Tensor,
    ids: Tensor,
    bounds: list[int],
    probes: Tensor,
    lists: CandidateLists,
) -> None:
    """Offer queries the keys of the cells they probe.

    For each cell, dense products compare its keys with all queries that probe it.

    Args:
        query: Queries. Shape: ``[Q, channels]``, bfloat16 or float32.
        key: Keys, sorted by cell. Shape: ``[N, channels]``, as :obj:`query`.
        ids: The id of each key, int32, -1 for padding. Shape: ``[N]``.
        bounds: Where each cell starts in :obj:`key`, then the end. Length: ``C + 1``.
        probes: Different cells for each query. Shape: ``[Q, P]``.
        lists: A list for each query, where the candidates are kept.
    """
    num_queries, num_probes = probes.shape
    start_of_query = np.arange(0, num_queries * num_probes + 1, num_probes)
    by_query = sp.csr_array(
        (np.ones(probes.numel(), dtype=np.bool_), probes.reshape(-1).numpy(), start_of_query),
        shape=(num_queries, len(bounds) - 1),
    )
    by_cell = by_query.tocsc()  # Counted, not sorted: many times faster than an argsort.
    asking, ends = torch.from_numpy(by_cell.indices), by_cell.indptr.tolist()

    def join(job: tuple[int, int, int]) -> None:
        number, first, last = job
        start, stop = bounds[number], bounds[number + 1]
        which = asking[first:last]
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
