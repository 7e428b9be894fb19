"""The choice of search parameters that reach a wanted recall, measured on a sample."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_mmgef.search._cells import CPU, Cells
from pyg_mmgef.search._exact_queries import exact_queries
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._top_lists import candidate_lists

__all__ = ['Setting', 'tune']

SAMPLE = 512  # Items whose exact neighbours are computed.
PROBES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64)
PROBE_COST = 7  # Measured: probing a cell costs as much as scoring this many candidates.
WIDTHS = (1.5, 2, 3, 4, 6, 8)  # Candidates kept per neighbour wanted.


class Setting(NamedTuple):
    """Parameters of a search, and the recall that they reached on a sample."""

    num_probes: int
    """Cells that each item probes."""
    num_candidates: int
    """Candidates kept for each item."""
    recall: float
    """Share of the true neighbours found for the items of the sample."""


def tune(
    features: SearchRows,
    content: Tensor,
    cells: Cells,
    k: int,
    recall: float,
    generator: torch.Generator,
    probes: Sequence[int] = PROBES,
) -> Setting | None:
    """Return the cheapest setting with the wanted recall on a sample, or :obj:`None`.

    A setting reaches a recall if its mean over the sample, less two standard errors, does.

    Args:
        features: The items.
        content: Ids of the items with content. Shape: ``[N]``.
        cells: These items in cells.
        k: Number of neighbours, less than ``N``.
        recall: Wanted share of the true neighbours.
        generator: Generator of the sample.
        probes: Numbers of cells to try. (default: up to 64)
    """
    num_items = len(content)
    order = torch.randperm(num_items, generator=generator, dtype=torch.int64, device=CPU)
    place = cells.place[order[:SAMPLE]]
    item = cells.order[place]
    exact, ids = exact_queries(features, content, features, item, k, exclude_self=True)
    least = exact[:, -1] - 1e-6 * exact[:, -1].abs()
    low = cells.queries(place)
    widths = [min(int(factor * k) + 4, num_items) for factor in WIDTHS]
    nearest = cells.nearest(low, probes[-1])
    lists = candidate_lists(len(low), widths[-1], CPU)
    # With fewer probes, even all items of the cells would not reach the recall.
    covered = (cells.cell_of(ids)[:, :, None] == nearest[:, None, :]).sum(dim=(0, 1)).cumsum(0)
    least_probes = int((covered / ids.numel() < recall).sum()) + 1
    best: Setting | None = None
    lowest_cost = float('inf')
    before = 0
    for num_probes in [number for number in probes if number >= least_probes]:
        if before == nearest.size(1) or PROBE_COST * num_probes + widths[0] >= lowest_cost:
            break
        cells.join(low, nearest[:, before:num_probes], lists)
        before = min(num_probes, nearest.size(1))
        candidate = lists.best(0, len(low))[1]
        score = features.score(features, item, candidate)
        found = (score >= least[:, None]) & (candidate != item[:, None])
        # The best of fewer candidates are the first of these.
        shares = found.cumsum(dim=1).clamp_(max=k).float() / k
        for width in widths:
            share = shares[:, width - 1]
            lower = float(share.mean() - 2 * share.std(correction=0) / len(share) ** 0.5)
            cost = PROBE_COST * before + width
            if lower >= recall and cost < lowest_cost:
                best, lowest_cost = Setting(before, width, float(share.mean())), cost
    return best
