from collections.abc import Callable
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pyg_mmgef.graph.threads import limit_threads, run_jobs
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_choice, check_edge_index, check_positive

__all__ = ['co_interaction_graph']

WEIGHTINGS = ('cosine', 'jaccard', 'lift', 'raw', 'lightgcn')
BYTES_PER_PATH = 64  # What a path of item, user and item takes until it is ranked, at most.
PADDED_ENTRIES = 2**22  # Ranked at a time.


def co_interaction_graph(
    edge_index: Tensor,
    num_users: int,
    num_items: int,
    k: int,
    *,
    weighting: str = 'cosine',
    min_count: int = 1,
    max_activity: int | None = None,
    max_memory: int = 2**30,
    num_threads: int | None = None,
    verbose: bool = False,
) -> WeightedGraph:
    r"""Connect every item to the :obj:`k` items it shares most users with (item-user-item).

    With the binary interactions :math:`\mathbf{R}`, the co-interaction counts
    :math:`c_{ij} = (\mathbf{R}^{\top} \mathbf{R})_{ij}`, the numbers of users :math:`n_i` of an
    item and of items :math:`d_u` of a user, the weight of the edge :math:`j \to i` is

    ============== ==============================================================
    ``'cosine'``   :math:`c_{ij} / \sqrt{n_i n_j}`
    ``'jaccard'``  :math:`c_{ij} / (n_i + n_j - c_{ij})`
    ``'lift'``     :math:`c_{ij} \, |\mathcal{U}| / (n_i n_j)`
    ``'raw'``      :math:`c_{ij}`
    ``'lightgcn'`` :math:`\sum_{u} R_{ui} R_{uj} / (d_u \sqrt{n_i n_j})`
    ============== ==============================================================

    This is the collaborative item graph of MM-GEF
    (`arXiv 2308.07222 <https://arxiv.org/abs/2308.07222>`_); the weightings are our reading, the
    last is two steps of LightGCN's propagation. Ties go to the lower item id. The counts are
    computed for blocks of items, in threads; :math:`\mathbf{R}^{\top} \mathbf{R}` as a whole is
    never held, dense or sparse. The work is :math:`\sum_u d_u^2`. For interactions on a GPU, it is
    done there.

    Args:
        edge_index: **Train** interactions (user, item); a repeated pair counts once.
            Shape: ``[2, E]``.
        num_users: Number of users.
        num_items: Number of items.
        k: Neighbours kept per item. An item that shares users with fewer others has fewer
            edges, so any positive :obj:`k` is valid.
        weighting: See the table. (default: ``'cosine'``)
        min_count: Users that two items must share to be connected. On sparse data most pairs share
            a single user (89 % of the edges on Amazon Baby); such an edge only repeats two
            interactions of one user. (default: ``1``)
        max_activity: Leave out users with more items than that, as if they had not interacted: a
            user of ten thousand items, often no person, costs as much as a million users of ten
            and relates everything with everything. (default: :obj:`None`, nobody)
        max_memory: Bytes that all blocks may take together, beside input and result. The row of a
            single item is never cut, and takes at most 64 bytes an item (on a GPU, a path from it
            to a user to an item). (default: ``2**30``)
        num_threads: Blocks computed at a time on the CPU. By default as many as torch has threads.
            (default: :obj:`None`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        ``edge_index`` of shape ``[2, E']`` (neighbour, item that receives), best first per item,
        and ``edge_weight`` of shape ``[E']``, float32, on the device of :obj:`edge_index`.

    Raises:
        ValueError: If ids are out of range, a number is not positive, or :obj:`weighting` is
            unknown.

    Example:
        >>> interactions = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 0, 1, 2]])
        >>> edge_index, edge_weight = co_interaction_graph(interactions, 2, 3, k=1)
        >>> edge_index
        tensor([[1, 0, 0],
                [0, 1, 2]])
    """
    check_choice('weighting', weighting, WEIGHTINGS)
    check_positive('k', k)
    check_positive('min_count', min_count)
    check_positive('max_memory', max_memory)
    if max_activity is not None:
        check_positive('max_activity', max_activity)
    check_edge_index('edge_index', edge_index, (num_users, num_items), ('user', 'item'))

    user, item = edge_index.cpu().numpy()
    ones = np.ones(user.size, dtype=np.float32)
    by_user = sp.csr_array((ones, (user, item)), shape=(num_users, num_items))
    by_user.sum_duplicates()
    by_user.data.fill(1.0)
    if max_activity is not None:
        by_user = by_user[np.diff(by_user.indptr) <= max_activity]
    activity = np.diff(by_user.indptr)
    device = edge_index.device
    count = torch.from_numpy(np.bincount(by_user.indices, minlength=num_items)).double().to(device)
    count32 = count.float()
    by_item = by_user.T.tocsr()
    on_cpu = device.type == 'cpu'
    averaged = weighting == 'lightgcn'
    if on_cpu:
        products = _products_of_scipy(by_user, by_item, averaged, counted=min_count > 1)
    else:
        products = _products_of_torch(by_user, by_item, averaged, device)

    def graph_of(bounds: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        start, stop = bounds
        pointer, source, shared_users, shared = products(start, stop)
        destination = torch.arange(start, stop, dtype=source.dtype, device=device)
        destination = destination.repeat_interleave(pointer.diff())
        kept = source != destination
        if min_count > 1:
            kept &= shared_users >= min_count
        rank = _rank(shared.float(), count32, destination, source, weighting)
        best = _best_per_row(pointer, rank, source, kept, k)
        source, destination = source[best].long(), destination[best].long()
        shared = shared[best].double()
        weight = _weigh(shared, count[destination], count[source], num_users, weighting).float()
        return source, destination, weight

    paths = by_item @ activity  # Length of the product's row of each item, before merging.
    with limit_threads(num_threads):
        workers = torch.get_num_threads() if on_cpu else 1
        limit = max(1, max_memory // (BYTES_PER_PATH * workers))
        # SciPy merges paths to an item as it meets them; on a GPU they are expanded first.
        entries = np.minimum(paths, num_items) if on_cpu else paths
        blocks = list(pairwise(_block_bounds(entries, limit)))
        parts = run_jobs(
            graph_of, blocks, concurrent=on_cpu, desc='co-interactions', verbose=verbose
        )
    source, destination, weight = (torch.cat(column) for column in zip(*parts, strict=True))
    return torch.stack([source, destination]), weight


# Of some items, given by the first and the one after the last: the row pointer, the columns, the
# numbers of users and the sums that the weights are made of, for their rows of the product.
Products = Callable[[int, int], tuple[Tensor, Tensor, Tensor, Tensor]]


def _products_of_scipy(
    by_user: sp.csr_array, by_item: sp.csr_array, averaged: bool, counted: bool
) -> Products:
    factors = [by_user]
    if averaged:
        activity = np.diff(by_user.indptr)
        by_active_user = by_user.astype(np.float64)  # 1 / d_u for each interaction of a user.
        by_active_user.data /= np.repeat(activity, activity)
        # Two items that share users have a weight, so the count is of no use by itself.
        factors = [by_user, by_active_user] if counted else [by_active_user]

    def products(start: int, stop: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        parts = [by_item[start:stop] @ factor for factor in factors]
        if len(parts) > 1:  # So that their entries are at the same places.
            for part in parts:
                part.sort_indices()
        pointer, source = map(torch.from_numpy, (parts[0].indptr, parts[0].indices))
        first, last = (torch.from_numpy(part.data) for part in (parts[0], parts[-1]))
        return pointer.long(), source, first, last

    return products


def _products_of_torch(
    by_user: sp.csr_array, by_item: sp.csr_array, averaged: bool, device: torch.device
) -> Products:
    """Expand the paths from item to user to item, and count equal ends: what a GPU is good at."""
    num_items = by_user.shape[1]
    item_of, user_of = (
        torch.from_numpy(matrix.indices).long().to(device) for matrix in (by_user, by_item)
    )
    user_start, item_start = (
        torch.from_numpy(matrix.indptr).long().to(device) for matrix in (by_user, by_item)
    )
    activity = user_start.diff()

    def products(start: int, stop: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        bounds = item_start[start : stop + 1]
        user = user_of[int(bounds[0]) : int(bounds[-1])]
        row = torch.arange(stop - start, device=device).repeat_interleave(bounds.diff())
        length = activity[user]
        # Each path's place in the list of its user's items.
        place = torch.arange(int(length.sum()), device=device)
        place += (user_start[user] - length.cumsum(0) + length).repeat_interleave(length)
        pair = row.repeat_interleave(length) * num_items + item_of[place]
        pair, order = pair.sort(stable=True)
        pair, count = pair.unique_consecutive(return_counts=True)
        shared = count.double()
        if averaged and pair.numel() > 0:
            share = (1 / length.double()).repeat_interleave(length)[order]
            shared = torch.segment_reduce(share, 'sum', lengths=count)
        rows = pair.div(num_items, rounding_mode='floor')
        end = rows.bincount(minlength=stop - start).cumsum(0)
        return torch.cat([end.new_zeros(1), end]), pair % num_items, count, shared

    return products


def _best_per_row(pointer: Tensor, value: Tensor, column: Tensor, kept: Tensor, k: int) -> Tensor:
    """Return the positions of the k largest values of each row; the lower column wins a tie.

    Rows of similar length are padded to one matrix. Value and column make one 64-bit key: the
    bits of positive floats are ordered as the floats are.
    """
    key = value.view(torch.int32).long().bitwise_left_shift_(32).sub_(column)
    key.masked_fill_(kept.logical_not_(), -1)
    length = pointer.diff()
    order = length.argsort(descending=True, stable=True)
    lengths = length[order].tolist()
    best = torch.full((len(length), min(k, max(lengths, default=0))), -1, device=key.device)
    start = 0
    while start < len(lengths) and lengths[start] > 0:
        width = lengths[start]
        stop = min(len(lengths), start + max(1, PADDED_ENTRIES // width))
        # Padding at most doubles a row.
        shorter = int(torch.searchsorted(-length[order[start:stop]], -(width // 2), right=False))
        stop = min(stop, start + max(1, shorter))
        rows = order[start:stop]
        offset = torch.arange(width, device=key.device)
        inside = offset < length[rows, None]
        position = (pointer[rows, None] + offset).masked_fill_(~inside, 0)
        padded = key[position].masked_fill_(~inside, -1)
        top, index = padded.topk(min(k, width), dim=1)
        best[rows, : top.size(1)] = position.gather(1, index).masked_fill_(top < 0, -1)
        start = stop
    return best[best >= 0]


def _block_bounds(paths: np.ndarray, limit: int) -> list[int]:
    """Split the items into runs of at most so many paths (or of a single item)."""
    total = np.concatenate([[0], np.cumsum(paths, dtype=np.int64)])
    bounds = [0]
    while bounds[-1] < len(paths) or len(bounds) == 1:
        stop = int(np.searchsorted(total, total[bounds[-1]] + limit, side='right')) - 1
        bounds.append(min(max(stop, bounds[-1] + 1), len(paths)))
    return bounds


def _rank(
    shared: Tensor, count: Tensor, destination: Tensor, source: Tensor, weighting: str
) -> Tensor:
    """Return what orders the entries of a row as their weights do, with few operations.

    Counts are whole numbers, so equal weights are equal here.
    """
    if weighting == 'raw':
        return shared
    count_j = count.index_select(0, source)
    if weighting == 'jaccard':
        return shared / count_j.add_(count.index_select(0, destination))
    return shared / count_j if weighting == 'lift' else shared.square().div_(count_j)


def _weigh(
    shared: Tensor, count_i: Tensor, count_j: Tensor, num_users: int, weighting: str
) -> Tensor:
    if weighting == 'cosine':  # The root comes last, so that equal fractions stay equal.
        return (shared * shared / (count_i * count_j)).sqrt()
    if weighting == 'lightgcn':
        return shared / (count_i * count_j).sqrt()
    if weighting == 'jaccard':
        return shared / (count_i + count_j - shared)
    if weighting == 'lift':
        return shared * num_users / (count_i * count_j)
    return shared
