"""Exact neighbours of some items of a process among the items of all processes."""

import torch
from torch import Tensor

from pyg_mmgef.distributed._exchange import Group, fetch_rows, place_in, starts_of, sum_over, visit
from pyg_mmgef.search._exact import SIZES, exact_search
from pyg_mmgef.search._exact_queries import exact_queries
from pyg_mmgef.search._rows import SearchRows

__all__ = ['BestLists', 'fetch_ids', 'is_noise', 'ring_search']

PIECE = 2**15  # Items of a process that travel at a time.


class BestLists:
    r"""The best neighbours of some items, merged from the items of one process after the other.

    Args:
        num_rows: Number of lists.
        k: Length of the lists, padded by :math:`-\infty` and -1.
        device: Device of the lists.
    """

    def __init__(self, num_rows: int, k: int, device: torch.device) -> None:
        self.k = k
        self.score = torch.full((num_rows, k), float('-inf'), dtype=torch.float32, device=device)
        self.item = torch.full((num_rows, k), -1, dtype=torch.int64, device=device)
        self.is_noise = torch.zeros((num_rows, k), dtype=torch.bool, device=device)

    def merge(self, rows: Tensor, score: Tensor, item: Tensor, is_noise: Tensor) -> None:
        """Merge neighbours into some lists; the lower item wins a tie. Shapes: ``[R, C]``."""
        score = torch.cat([self.score[rows], score], dim=1)
        item = torch.cat([self.item[rows], item], dim=1)
        is_noise = torch.cat([self.is_noise[rows], is_noise], dim=1)
        by_item = item.argsort(dim=1, stable=True)
        order = score.gather(1, by_item).sort(dim=1, descending=True, stable=True).indices
        order = by_item.gather(1, order)[:, : self.k]
        self.score[rows] = score.gather(1, order)
        self.item[rows], self.is_noise[rows] = item.gather(1, order), is_noise.gather(1, order)

    def without_noise(self) -> tuple[Tensor, Tensor]:
        """Return scores and items, best first, with a score of zero where it is only rounding."""
        score = self.score.masked_fill(self.is_noise, 0.0)
        score, order = score.sort(dim=1, descending=True, stable=True)
        return score, self.item.gather(1, order)


def is_noise(
    features: SearchRows, query: SearchRows, row: Tensor, score: Tensor, neighbor: Tensor
) -> Tensor:
    """Return which similarities rounding alone can make, see :meth:`SearchRows.without_noise`."""
    if features.metric == 'l2':
        return torch.zeros_like(score, dtype=torch.bool)
    noise = torch.full((), features.noise, device=score.device)
    if features.metric == 'ip':
        of_query = torch.linalg.vector_norm(query.x[row], dim=1)
        noise = noise * of_query[:, None] * torch.linalg.vector_norm(features.x, dim=1)[neighbor]
    return score.abs() <= noise


def ring_search(x: Tensor, metric: str, row: Tensor, k: int, group: Group) -> BestLists:
    """Find the :obj:`k` most similar other items of some items of this process.

    The features travel in a ring, and the lists of each block of items, which are proven by
    themselves, are merged.

    Args:
        x: Features of the items of this process. Shape: ``[n, channels]``.
        metric: ``'cosine'``, ``'ip'`` or ``'l2'``.
        row: Items of this process to search for, all with content. Shape: ``[Q]``.
        k: Number of neighbours.
        group: The processes.
    """
    rank = place_in(group)[0]
    starts = starts_of(len(x), x.device, group)
    queries = int(sum_over(torch.tensor(len(row), device=x.device), group))
    lists = BestLists(len(row), k, x.device)
    if queries == 0:
        return lists
    own = SearchRows(x, metric, allow_empty=True)
    every = torch.arange(len(row), dtype=torch.int64, device=x.device)

    def merge(features: SearchRows, score: Tensor, found: Tensor, first: int) -> None:
        noise = is_noise(features, own, row, score, found)
        lists.merge(every, score, found + first, noise)

    item = own.has_content.nonzero().view(-1)
    count = min(k, len(item) - 1)
    if count > 0 and len(row) > 0:
        if torch.equal(row, item):
            # Products serve both of their rows, and repeated rows are searched once.
            kept = own if len(item) == own.num_items else own.select(item)
            score, found = exact_search(kept, count, sizes=SIZES._replace(small=0))
            found = item[found]
        else:
            score, found = exact_queries(own, item, own, row, count, exclude_self=True)
        merge(own, score, found, starts[rank])
    for owner, first, rows in visit(x, group, PIECE):
        if owner == rank or len(rows) == 0 or len(row) == 0:
            continue
        here = SearchRows(rows, metric)
        item = here.has_content.nonzero().view(-1)
        count = min(k, len(item))
        if count > 0:
            score, found = exact_queries(here, item, here.queries(x), row, count)
            merge(here, score, found, starts[owner] + first)
    return lists


def fetch_ids(ids: Tensor, place: Tensor, group: Group) -> Tensor:
    """Return the ids of items, given their places among the items of all processes.

    Args:
        ids: The ids of the items of this process. Shape: ``[n]``.
        place: Shape: ``[Q, k]``.
        group: The processes.
    """
    starts = starts_of(len(ids), ids.device, group)
    return fetch_rows(ids, place.reshape(-1), starts, group).view_as(place)
