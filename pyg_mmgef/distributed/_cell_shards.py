"""Approximate neighbours: each process owns some cells of one clustering, and queries travel."""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from pyg_mmgef.distributed._exchange import (
    Group,
    gather,
    gather_rows,
    owner_of,
    place_in,
    return_rows,
    send_rows,
    starts_of,
    sum_over,
)
from pyg_mmgef.distributed._ring import BestLists, fetch_ids, is_noise, ring_search
from pyg_mmgef.distributed._together import raise_together
from pyg_mmgef.search._cells import (
    CPU,
    ROWS,
    Cells,
    Projection,
    cell_count,
    lower_rows,
    nearest_cells,
    train_centroids,
)
from pyg_mmgef.search._exact_queries import exact_queries
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._top_lists import candidate_lists
from pyg_mmgef.search._tuning import (
    PROBES,
    SAMPLE,
    Setting,
    cheapest,
    sample_widths,
    shares_of_widths,
)
from pyg_mmgef.search.item_index import FIT_ROWS, POINTS, ItemIndex

__all__ = ['cell_search']

log = logging.getLogger(__name__)


def cell_search(
    x: Tensor, metric: str, content: Tensor, k: int, recall: float, seed: int, group: Group
) -> BestLists | None:
    """Find the neighbours of all items with content, or return :obj:`None` to search exactly.

    Args:
        x: Features of the items of this process. Shape: ``[n, channels]``.
        metric: ``'cosine'``, ``'ip'`` or ``'l2'``.
        content: The items of this process with content. Shape: ``[Q]``.
        k: Number of neighbours, less than the number of items with content of all processes.
        recall: Wanted share of the true neighbours.
        seed: Seed of the clustering and of the sample.
        group: The processes.
    """
    if x.device.type != 'cpu':
        raise ValueError(
            f"'x' must be on the CPU where 'recall' is below 1 (got {x.device}); recall=1.0 works "
            'on any device'
        )
    starts = starts_of(len(x), x.device, group)
    generator = torch.Generator().manual_seed(seed)
    center = _center(x, starts[-1], group) if metric == 'l2' else None
    features = _features(x, metric, center)
    projection, centroids = _cluster(features, content, generator, group)
    shard = _CellShard.move(x, features, content, projection, centroids, center, starts, group)
    setting = shard.tune(k, recall, generator)
    if setting is None:
        log.info('k=%d: no setting reaches recall %.3f; searching exactly', k, recall)
        return None
    log.info('k=%d: %d probes, %d candidates, sample recall %.4f', k, *setting)
    found = shard.search(k, setting)
    columns = [shard.ids, found.score, found.item, found.is_noise]
    (ids, score, item, noise), _, _ = send_rows(owner_of(shard.ids, starts), columns, group)
    out = BestLists(len(content), k, x.device)
    place = torch.searchsorted(content, ids - starts[place_in(group)[0]])
    out.score[place], out.item[place], out.is_noise[place] = score, item, noise
    return out


def _center(x: Tensor, num_items: int, group: Group) -> Tensor:
    """Return the mean of the rows of all processes."""
    return (sum_over(x.sum(dim=0, dtype=torch.float64), group) / num_items).float()


def _features(x: Tensor, metric: str, center: Tensor | None) -> SearchRows:
    out = SearchRows(x, metric, allow_empty=True)
    out.center = center
    return out


def _cluster(
    features: SearchRows, content: Tensor, generator: torch.Generator, group: Group
) -> tuple[Projection, Tensor]:
    """Train projection and centroids in the first process, on a sample of all items."""
    num_items = int(sum_over(torch.tensor(len(content)), group))
    rank = place_in(group)[0]
    # Each process takes the same share of its items, in an order of its own.
    order = torch.randperm(len(content), generator=generator, dtype=torch.int64, device=CPU)

    def sample(count: int) -> Tensor:
        number = -(-len(content) * min(count, num_items) // num_items)
        return features[content[order[:number]]]

    def at_first(rows: Tensor) -> Tensor:
        owner = torch.zeros(len(rows), dtype=torch.int64, device=CPU)
        return send_rows(owner, [rows], group)[0][0]

    rows = at_first(sample(FIT_ROWS))
    fitted = Projection.fit(rows, features.metric != 'ip', generator) if rank == 0 else None
    projection = Projection(
        _from_first(None if fitted is None else fitted.mean, group),
        _from_first(None if fitted is None else fitted.matrix, group),
    )
    num_cells = cell_count(num_items, ItemIndex._cell_size)
    rows = at_first(projection(sample(num_cells * POINTS)))
    with raise_together(CPU, group):
        centroids = train_centroids(rows, num_cells, generator) if rank == 0 else None
    return projection, _from_first(centroids, group)


def _from_first(x: Tensor | None, group: Group) -> Tensor:
    """Return a float32 vector or matrix that the first process has."""
    shape = torch.zeros(3, dtype=torch.int64)
    if x is not None:
        shape[0] = x.dim()
        shape[1 : 1 + x.dim()] = torch.tensor(x.shape)
    dim, *sizes = gather(shape, group)[0].tolist()
    x = torch.empty(sizes[:dim], dtype=torch.float32) if x is None else x.contiguous()
    if place_in(group)[1] > 1:
        dist.broadcast(x, group=group, group_src=0)
    return x


class _CellShard(NamedTuple):
    """The items of the cells that this process owns, and the centroids of all cells."""

    rows: Tensor
    """Features as they came, which travel as queries. Shape: ``[n, channels]``."""
    ids: Tensor
    """The items, numbered over all. Shape: ``[n]``."""
    features: SearchRows
    projection: Projection
    cells: Cells | None
    """The cells, :obj:`None` where there are no items."""
    keys: Tensor
    """The rounded centroids of the cells of all processes. Shape: ``[C, channels]``."""
    cell_starts: list[int]
    """Where the cells of each process begin, and the end."""
    group: Group

    @classmethod
    def move(
        cls,
        x: Tensor,
        features: SearchRows,
        content: Tensor,
        projection: Projection,
        centroids: Tensor,
        center: Tensor | None,
        starts: list[int],
        group: Group,
    ) -> _CellShard:
        """Move the items with content to the processes that own their cells."""
        rank, size = place_in(group)
        shifted = features.metric != 'ip'
        keys = lower_rows(centroids, True, shifted)
        cell = torch.cat(
            [
                torch.empty(0, dtype=torch.int64),
                *(
                    nearest_cells(
                        lower_rows(projection(features[rows]), False, shifted), keys, 1
                    ).view(-1)
                    for rows in content.split(ROWS)
                    if len(rows) > 0
                ),
            ]
        )
        count = sum_over(cell.bincount(minlength=len(keys)), group)
        # Contiguous ranges of cells, with about as many items in each. Similar cells lie next to
        # each other, so most of the cells that an item probes have the same owner.
        owner = (count.cumsum(0) - count / 2) * size / count.sum()
        owner = owner.long().clamp_(max=size - 1)
        every = torch.arange(starts[rank], starts[rank + 1], dtype=torch.int64)
        (rows, ids), _, _ = send_rows(owner[cell], [x, every], group, content)
        moved = _features(rows, features.metric, center)
        own, cells = centroids[owner == rank], None
        if len(ids) > 0:
            every = torch.arange(len(ids), dtype=torch.int64)
            cells = Cells(moved, every, projection, own, ItemIndex._cell_size)
        own_keys = keys[:0] if cells is None else cells.keys
        return cls(
            rows,
            ids,
            moved,
            projection,
            cells,
            gather_rows(own_keys, group),
            starts_of(len(own_keys), CPU, group),
            group,
        )

    def tune(self, k: int, recall: float, generator: torch.Generator) -> Setting | None:
        """Return the cheapest setting with the wanted recall on a sample of the items."""
        rank = place_in(self.group)[0]
        num_items = starts_of(len(self.ids), CPU, self.group)[-1]
        order = torch.randperm(len(self.ids), generator=generator, dtype=torch.int64, device=CPU)
        number = -(-len(self.ids) * min(SAMPLE, num_items) // num_items)
        rows, ids = (gather_rows(x[order[:number]], self.group) for x in (self.rows, self.ids))
        query = self.features.queries(rows)
        query.center = self.features.center
        least = self._least_scores(query, ids, k)
        low = self._lower(query)
        nearest = nearest_cells(low, self.keys, PROBES[-1])
        local = self._local(nearest, rank)
        widths = sample_widths(k, num_items)
        lists = candidate_lists(len(low), widths[-1], CPU)
        every = torch.arange(len(ids), dtype=torch.int64)

        def shares(before: int, num_probes: int) -> Tensor:
            if self.cells is not None:
                self.cells.join(low, local[:, before:num_probes], lists)
            candidate = lists.best(0, len(low))[1]
            score = self.features.score(query, every, candidate)
            is_own = self._global(candidate) == ids[:, None]
            found = (score >= least[:, None]) & ~is_own
            share = shares_of_widths(found, widths, k)
            return sum_over(share, self.group).clamp_(max=1.0)

        return cheapest(shares, widths, nearest.size(1), recall)

    def search(self, k: int, setting: Setting) -> BestLists:
        """Return the lists of the items of this process; the neighbours are numbered over all."""
        lists = BestLists(len(self.ids), k, CPU)
        rank, size = place_in(self.group)
        blocks = self.cells.place.split(ROWS) if self.cells is not None else ()
        rounds = torch.tensor(len(blocks))
        nothing = torch.empty(0, dtype=torch.int64)
        for number in range(int(sum_over(rounds, self.group, dist.ReduceOp.MAX))):
            row = nothing
            if self.cells is not None and number < len(blocks):
                row = self.cells.order[blocks[number]]
            probes = nothing.view(0, 1).expand(0, setting.num_probes)
            if len(row) > 0:
                low = self._lower(self.features, row)
                probes = nearest_cells(low, self.keys, setting.num_probes)
            owner = owner_of(probes, self.cell_starts)
            asked = [(owner == process).any(dim=1).nonzero().view(-1) for process in range(size)]
            place, to = torch.cat(asked), torch.tensor([len(part) for part in asked])
            columns = [self.rows[row[place]], self.ids[row[place]], probes[place]]
            to = torch.arange(size, dtype=torch.int64).repeat_interleave(to)
            (rows, ids, cells), order, received = send_rows(to, columns, self.group)
            answers = self._answer(rows, ids, self._local(cells, rank), k, setting)
            score, item, noise = return_rows(answers, order, received, self.group)
            start = 0
            for part in asked:
                here = slice(start, start + len(part))
                lists.merge(row[part], score[here], item[here], noise[here])
                start += len(part)
        missing = lists.score[:, -1].isneginf().nonzero().view(-1)
        exact = ring_search(self.rows, self.features.metric, missing, k, self.group)
        exact.item = fetch_ids(self.ids, exact.item, self.group)
        lists.score[missing], lists.item[missing] = exact.score, exact.item
        lists.is_noise[missing] = exact.is_noise
        return lists

    def _answer(
        self, rows: Tensor, ids: Tensor, probes: Tensor, k: int, setting: Setting
    ) -> list[Tensor]:
        """Return scores, items and which scores are noise, for queries of other processes."""
        query = self.features.queries(rows)
        query.center = self.features.center
        lists = candidate_lists(len(rows), setting.num_candidates, CPU)
        if self.cells is not None and len(rows) > 0:
            self.cells.join(self._lower(query), probes, lists)
        candidate = lists.best(0, len(rows))[1]
        every = torch.arange(len(rows), dtype=torch.int64)
        item = self._global(candidate)
        score = self.features.score(query, every, candidate)
        score.masked_fill_(item == ids[:, None], float('-inf'))
        score, best = score.topk(k, dim=1)
        candidate, item = candidate.gather(1, best), item.gather(1, best)
        return [score, item, is_noise(self.features, query, every, score, candidate)]

    def _least_scores(self, query: SearchRows, ids: Tensor, k: int) -> Tensor:
        """Return the lowest score of a neighbour of each query of the sample, less rounding."""
        lists = BestLists(len(ids), k + 1, CPU)
        every = torch.arange(len(ids), dtype=torch.int64)
        own = torch.arange(len(self.ids), dtype=torch.int64)
        count = min(k + 1, len(own))
        if count > 0:
            score, found = exact_queries(self.features, own, query, every, count)
            lists.merge(every, score, self.ids[found], torch.zeros_like(score, dtype=torch.bool))
        scores, items = gather(lists.score, self.group), gather(lists.item, self.group)
        score, item = torch.cat(scores.unbind(), dim=1), torch.cat(items.unbind(), dim=1)
        score.masked_fill_(item == ids[:, None], float('-inf'))
        least = score.topk(k, dim=1).values[:, -1]
        return least - 1e-6 * least.abs()

    def _lower(self, query: SearchRows, row: Tensor | None = None) -> Tensor:
        rows = query[:] if row is None else query[row]
        return lower_rows(self.projection(rows), False, query.metric != 'ip')

    def _local(self, probes: Tensor, rank: int) -> Tensor:
        """Return cells numbered within this process, -1 for those of others."""
        start, stop = self.cell_starts[rank : rank + 2]
        return torch.where((probes >= start) & (probes < stop), probes - start, -1)

    def _global(self, candidate: Tensor) -> Tensor:
        """Return items of this process numbered over all, -1 where there is none."""
        if len(self.ids) == 0:
            return candidate
        return torch.where(candidate >= 0, self.ids[candidate.clamp(min=0)], -1)
