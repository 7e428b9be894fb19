from collections.abc import Callable
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pyg_mmgef._extension import address, load_extension
from pyg_mmgef._threads import limit_threads, run_jobs
from pyg_mmgef.search._keys import to_keys
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_choice, check_edge_index, check_positive

_paths = load_extension('pyg_mmgef.graph._paths')

__all__ = ['co_interaction_graph']

WEIGHTINGS = ('cosine', 'jaccard', 'lift', 'raw', 'lightgcn')
RANKINGS = ('raw', 'jaccard', 'lift', 'cosine')  # As numbered in _paths.cpp.
BLOCK_PATHS, BLOCKS = 2**24, 16  # Most paths counted in a job, and fewest jobs per thread.
BYTES_PER_PATH = 64  # The most memory that torch needs for a path from item to user to item.
PADDED_ENTRIES = 2**22  # Entries, with their padding, ranked at a time.


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
    last is two steps of LightGCN's propagation. Ties go to the lower item id. The users that an
    item shares with others are counted item by item, in threads, by a small C++ extension; on a
    GPU, or where the extension isn't installed, torch counts them for blocks of items.
    :math:`\mathbf{R}^{\top} \mathbf{R}` is never held, dense or sparse. The work is
    :math:`\sum_u d_u^2`.

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
            and relates everything with everything. (default: :obj:`None`, keep all)
        max_memory: Bytes that the blocks of torch may use together, beside input and result. A
            block has at least one item, with at most 64 bytes per path from it over a user to an
            item. The extension needs 4 bytes per item (``'lightgcn'``: 12) in each thread.
            (default: ``2**30``)
        num_threads: Threads on the CPU; :obj:`None` means as many as torch uses.
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
    by_item = by_user.T.tocsr()
    activity = np.diff(by_user.indptr).astype(np.float64)
    paths = (by_item @ activity).astype(np.int64)  # Number of paths that begin at each item.
    device = edge_index.device
    compiled = _paths is not None and device.type == 'cpu'
    with limit_threads(num_threads):
        workers = torch.get_num_threads() if device.type == 'cpu' else 1
        if compiled:
            best = _best_by_extension(by_user, by_item, k, weighting, min_count, paths)
            limit = min(BLOCK_PATHS, int(paths.sum()) // (BLOCKS * workers) + 1)
        else:
            best = _best_by_torch(by_user, by_item, k, weighting, min_count, device)
            limit = max(1, max_memory // (BYTES_PER_PATH * workers))
        parts = run_jobs(
            best,
            list(pairwise(block_bounds(paths, limit))),
            concurrent=device.type == 'cpu',
            desc='co-interactions',
            verbose=verbose,
        )
    source, destination, shared = (torch.cat(column) for column in zip(*parts, strict=True))
    count = torch.from_numpy(np.diff(by_item.indptr)).to(device).double()
    weight = weigh_shared(shared, count[destination], count[source], num_users, weighting).float()
    return torch.stack([source, destination]), weight


Best = Callable[[tuple[int, int]], tuple[Tensor, Tensor, Tensor]]
"""Maps a range of items to the edges into them: sources, destinations and shared users."""


def _best_by_extension(
    by_user: sp.csr_array,
    by_item: sp.csr_array,
    k: int,
    weighting: str,
    min_count: int,
    paths: np.ndarray,
) -> Best:
    assert _paths is not None
    num_items, best_of_items = len(paths), _paths.best
    item_start, user_start = (
        torch.from_numpy(matrix.indptr.astype(np.int64, copy=False))
        for matrix in (by_item, by_user)
    )
    user, item = (
        torch.from_numpy(matrix.indices.astype(np.int32, copy=False))
        for matrix in (by_item, by_user)
    )
    num_users_of = item_start.diff().float()
    ranking = RANKINGS.index(weighting if weighting in RANKINGS else 'cosine')
    most_edges = torch.from_numpy(np.minimum(paths, min(k, num_items)))

    def best(block: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        start, stop = block
        slot = torch.cat([most_edges.new_zeros(1), most_edges[start:stop].cumsum(0)])
        source = torch.empty(int(slot[-1]), dtype=torch.int64, device='cpu')
        shared = torch.empty(int(slot[-1]), dtype=torch.float64, device='cpu')
        degree = torch.empty(stop - start, dtype=torch.int64, device='cpu')
        best_of_items(
            item_start=address('item_start', item_start, torch.int64, num_items + 1),
            user=address('user', user, torch.int32, user.numel()),
            user_start=address('user_start', user_start, torch.int64, by_user.shape[0] + 1),
            item=address('item', item, torch.int32, user.numel()),
            num_users_of=address('num_users_of', num_users_of, torch.float32, num_items),
            num_items=num_items,
            ranking=ranking,
            averaged=weighting == 'lightgcn',
            min_count=int(min_count),
            start=start,
            stop=stop,
            slot=address('slot', slot, torch.int64, stop - start + 1),
            source=source.data_ptr(),
            shared=shared.data_ptr(),
            degree=degree.data_ptr(),
        )
        place = torch.arange(len(source), dtype=torch.int64, device='cpu')
        place -= slot[:-1].repeat_interleave(slot.diff())
        kept = place < degree.repeat_interleave(slot.diff())
        destination = torch.arange(start, stop, dtype=torch.int64, device='cpu')
        return source[kept], destination.repeat_interleave(degree), shared[kept]

    return best


def _best_by_torch(
    by_user: sp.csr_array,
    by_item: sp.csr_array,
    k: int,
    weighting: str,
    min_count: int,
    device: torch.device,
) -> Best:
    """Expand the paths from item to user to item and count equal ends, which is fast on a GPU."""
    num_items = by_user.shape[1]
    item_of, user_of = (
        torch.from_numpy(matrix.indices).long().to(device) for matrix in (by_user, by_item)
    )
    user_start, item_start = (
        torch.from_numpy(matrix.indptr).long().to(device) for matrix in (by_user, by_item)
    )
    activity, count = user_start.diff(), item_start.diff().float()

    def best(block: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        start, stop = block
        bounds = item_start[start : stop + 1]
        user = user_of[int(bounds[0]) : int(bounds[-1])]
        row = torch.arange(stop - start, dtype=torch.int64, device=device)
        row = row.repeat_interleave(bounds.diff())
        length = activity[user]
        # Each path's position in the list of its user's items.
        place = torch.arange(int(length.sum()), dtype=torch.int64, device=device)
        place += (user_start[user] - length.cumsum(0) + length).repeat_interleave(length)
        pair = row.repeat_interleave(length) * num_items + item_of[place]
        pair, order = pair.sort(stable=True)
        pair, num_shared = pair.unique_consecutive(return_counts=True)
        shared = num_shared.double()
        if weighting == 'lightgcn' and pair.numel() > 0:
            share = (1 / length.double()).repeat_interleave(length)[order]
            shared = torch.segment_reduce(share, 'sum', lengths=num_shared)
        source = pair % num_items
        destination = pair.div(num_items, rounding_mode='floor')
        end = destination.bincount(minlength=stop - start).cumsum(0)
        destination += start
        kept = (source != destination) & (num_shared >= min_count)
        rank = rank_shared(shared.float(), count, destination, source, weighting)
        position = best_per_row(torch.cat([end.new_zeros(1), end]), rank, source, kept, k)
        return source[position], destination[position], shared[position]

    return best


def best_per_row(pointer: Tensor, value: Tensor, column: Tensor, kept: Tensor, k: int) -> Tensor:
    """Return the positions of the k largest values of each row; the lower column wins a tie.

    Rows of similar length are padded to one matrix. Values are positive, and so are their keys.
    """
    key = to_keys(value, column).masked_fill_(kept.logical_not_(), -1)
    length = pointer.diff()
    order = length.argsort(descending=True, stable=True)
    lengths = length[order].tolist()
    shape = (len(length), min(k, max(lengths, default=0)))
    best = torch.full(shape, -1, dtype=torch.int64, device=key.device)
    start = 0
    while start < len(lengths) and lengths[start] > 0:
        width = lengths[start]
        stop = min(len(lengths), start + max(1, PADDED_ENTRIES // width))
        # Padding at most doubles a row.
        shorter = int(torch.searchsorted(-length[order[start:stop]], -(width // 2), right=False))
        stop = min(stop, start + max(1, shorter))
        rows = order[start:stop]
        offset = torch.arange(width, dtype=torch.int64, device=key.device)
        inside = offset < length[rows, None]
        position = (pointer[rows, None] + offset).masked_fill_(~inside, 0)
        padded = key[position].masked_fill_(~inside, -1)
        top, index = padded.topk(min(k, width), dim=1)
        best[rows, : top.size(1)] = position.gather(1, index).masked_fill_(top < 0, -1)
        start = stop
    return best[best >= 0]


def block_bounds(paths: np.ndarray, limit: int) -> list[int]:
    """Return the bounds of blocks of items with at most :obj:`limit` paths, or a single item."""
    total = np.concatenate([[0], np.cumsum(paths, dtype=np.int64)])
    bounds = [0]
    while bounds[-1] < len(paths) or len(bounds) == 1:
        stop = int(np.searchsorted(total, total[bounds[-1]] + limit, side='right')) - 1
        bounds.append(min(max(stop, bounds[-1] + 1), len(paths)))
    return bounds


def rank_shared(
    shared: Tensor, count: Tensor, destination: Tensor, source: Tensor, weighting: str
) -> Tensor:
    """Return cheap scores that rank the entries of a row as their weights do.

    Counts are whole numbers, so equal weights give equal ranks.
    """
    if weighting == 'raw':
        return shared
    count_j = count.index_select(0, source)
    if weighting == 'jaccard':
        return shared / count_j.add_(count.index_select(0, destination))
    return shared / count_j if weighting == 'lift' else shared.square().div_(count_j)


def weigh_shared(
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
