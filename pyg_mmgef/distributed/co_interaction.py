"""The item-user-item graph of interactions that are spread over processes by user."""

from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pyg_mmgef.distributed._exchange import (
    Group,
    even_starts,
    place_in,
    send_rows,
    sum_over,
)
from pyg_mmgef.distributed._together import check_equal, raise_together
from pyg_mmgef.graph.co_interaction import (
    BYTES_PER_PATH,
    WEIGHTINGS,
    best_per_row,
    block_bounds,
    rank_shared,
    weigh_shared,
)
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_choice, check_edge_index, check_positive

__all__ = ['sharded_co_interaction_graph']


def sharded_co_interaction_graph(
    edge_index: Tensor,
    num_users: int,
    num_items: int,
    k: int,
    *,
    weighting: str = 'cosine',
    min_count: int = 1,
    max_activity: int | None = None,
    max_memory: int = 2**30,
    group: Group = None,
) -> WeightedGraph:
    r"""Connect every item to the :obj:`k` items it shares most users with, over processes.

    Each process has all interactions of its users, and receives the edges into its items: with
    ``P`` processes, process ``p`` has the items from ``num_items * p // P`` to
    ``num_items * (p + 1) // P``. The edges are those of
    :func:`~pyg_mmgef.graph.co_interaction_graph`, with the same weights and order; ``'lightgcn'``
    adds in another order, so its weights are equal to rounding.

    Block by block of items, each process counts the pairs of items of its own users, and the counts
    are added by the process of the item that receives. A process holds, beside its interactions and
    edges, a few numbers for each item.

    Args:
        edge_index: **Train** interactions (user, item) of the users of this process, users
            numbered within the process; a repeated pair counts once. Shape: ``[2, E]``.
        num_users: Number of users of this process.
        num_items: Number of items of all processes.
        k: Neighbours kept per item.
        weighting: See :func:`~pyg_mmgef.graph.co_interaction_graph`. (default: ``'cosine'``)
        min_count: Users that two items must share to be connected. (default: ``1``)
        max_activity: Leave out users with more items than that. (default: :obj:`None`, keep all)
        max_memory: Bytes that a block may use, beside input and result. A block has at least one
            item of each process. (default: ``2**30``)
        group: The processes; :obj:`None` means all. (default: :obj:`None`)

    Returns:
        ``edge_index`` of shape ``[2, E']`` (neighbour, item that receives), numbered over all
        items, best first per item, and ``edge_weight`` of shape ``[E']``.

    Raises:
        ValueError: If ids are out of range, a number is not positive, :obj:`weighting` is unknown,
            or the processes have different numbers of items.
        RuntimeError: If another process has ids out of range.
    """
    check_choice('weighting', weighting, WEIGHTINGS)
    check_positive('k', k)
    check_positive('min_count', min_count)
    check_positive('max_memory', max_memory)
    if max_activity is not None:
        check_positive('max_activity', max_activity)
    device = edge_index.device
    check_equal("'num_items' must be the same in all processes", num_items, device, group)
    with raise_together(device, group):
        check_edge_index('edge_index', edge_index, (num_users, num_items), ('user', 'item'))
    user, item = edge_index.cpu().numpy()
    ones = np.ones(user.size, dtype=np.float64)
    by_user = sp.csr_array((ones, (user, item)), shape=(num_users, num_items))
    by_user.sum_duplicates()
    by_user.data.fill(1.0)
    if max_activity is not None:
        by_user = by_user[np.diff(by_user.indptr) <= max_activity]
    by_item = by_user.T.tocsr()
    activity = np.diff(by_user.indptr)
    paths = sum_over(torch.from_numpy(by_item @ activity.astype(np.float64)).to(device), group)
    count = sum_over(torch.from_numpy(np.diff(by_item.indptr)).to(device).long(), group)
    all_users = int(sum_over(torch.tensor([num_users], device=device), group))

    rank, size = place_in(group)
    starts = even_starts(num_items, size)
    averaging = by_user.copy()
    averaging.data = np.repeat(1.0 / np.maximum(activity, 1), activity)
    edges, weights = [], []
    for blocks in _rounds(paths.cpu().numpy().astype(np.int64), starts, max_memory):
        start, stop = blocks[rank]
        number = _at_owner([by_item[slice(*block)] @ by_user for block in blocks], device, group)
        total = number
        if weighting == 'lightgcn':
            parts = [by_item[slice(*block)] @ averaging for block in blocks]
            total = _at_owner(parts, device, group)
        pointer, source, shared_users, shared = (
            torch.from_numpy(x).to(device)
            for x in (number.indptr, number.indices, number.data, total.data)
        )
        pointer, source = pointer.long(), source.long()
        destination = torch.arange(start, stop, dtype=torch.int64, device=device)
        destination = destination.repeat_interleave(pointer.diff())
        kept = (source != destination) & (shared_users >= min_count)
        value = rank_shared(shared.float(), count.float(), destination, source, weighting)
        best = best_per_row(pointer, value, source, kept, k)
        source, destination, shared = source[best], destination[best], shared[best]
        of_pair = count[destination].double(), count[source].double()
        edges.append(torch.stack([source, destination]))
        weights.append(weigh_shared(shared, *of_pair, all_users, weighting).float())
    return torch.cat(edges, dim=1), torch.cat(weights)


def _at_owner(parts: list[sp.csr_array], device: torch.device, group: Group) -> sp.csr_array:
    """Send a block of rows to each process, and return the sum of those that it is sent.

    Sums of the same structure have their entries in the same places.
    """
    # SciPy has int32 or int64 indices, by the number of interactions of a process.
    lengths, columns = (
        [torch.from_numpy(x).to(device).int() for x in column]
        for column in zip(*((np.diff(part.indptr), part.indices) for part in parts), strict=True)
    )
    values = [torch.from_numpy(part.data).to(device) for part in parts]

    def send(of_processes: list[Tensor]) -> list[np.ndarray]:
        """Send a tensor to each process, and return that of each."""
        size = torch.tensor([len(x) for x in of_processes], device=device)
        owner = torch.arange(len(size), dtype=torch.int64, device=device).repeat_interleave(size)
        (x,), _, counts = send_rows(owner, [torch.cat(of_processes)], group)
        return [part.cpu().numpy() for part in x.split(counts)]

    total: sp.csr_array | None = None
    for length, column, value in zip(send(lengths), send(columns), send(values), strict=True):
        pointer = np.concatenate([[0], np.cumsum(length)])
        part = sp.csr_array((value, column, pointer), shape=(len(length), parts[0].shape[1]))
        total = part if total is None else total + part
    assert total is not None
    return total


def _rounds(paths: np.ndarray, starts: list[int], max_memory: int) -> list[list[tuple[int, int]]]:
    """Return for each round the block of items of each process.

    A round holds a path three times at most: where it is counted, as it is sent, and where it is
    added.
    """
    limit = max(1, max_memory // (3 * BYTES_PER_PATH))
    bounds = []
    for start, stop in pairwise(starts):
        bounds.append([start + bound for bound in block_bounds(paths[start:stop], limit)])
    most = max(map(len, bounds)) - 1
    return [
        [(own[min(number, len(own) - 1)], own[min(number + 1, len(own) - 1)]) for own in bounds]
        for number in range(most)
    ]
