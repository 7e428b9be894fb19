"""The choice of search parameters that reach a wanted recall, measured on a sample."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_mmgef.search._cells import CPU, Cells
from pyg_mmgef.search._exact_queries import exact_queries
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._top_lists import candidate_lists

__all__ = [
    'PROBES',
    'SAMPLE',
    'Setting',
    'cheapest',
    'sample_widths',
    'shares_of_widths',
    'tune',
]

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
    widths = sample_widths(k, num_items)
    nearest = cells.nearest(low, probes[-1])
    lists = candidate_lists(len(low), widths[-1], CPU)
    # With fewer probes, even all items of the cells would not reach the recall.
    covered = (cells.cell_of(ids)[:, :, None] == nearest[:, None, :]).sum(dim=(0, 1)).cumsum(0)
    least_probes = int((covered / ids.numel() < recall).sum()) + 1

    def shares(before: int, num_probes: int) -> Tensor:
        cells.join(low, nearest[:, before:num_probes], lists)
        candidate = lists.best(0, len(low))[1]
        score = features.score(features, item, candidate)
        found = (score >= least[:, None]) & (candidate != item[:, None])
        return shares_of_widths(found, widths, k)

    enough = [number for number in probes if number >= least_probes]
    return cheapest(shares, widths, nearest.size(1), recall, enough)


def sample_widths(k: int, num_items: int) -> list[int]:
    """Return the numbers of candidates to try."""
    return [min(int(factor * k) + 4, num_items) for factor in WIDTHS]


def shares_of_widths(found: Tensor, widths: Sequence[int], k: int) -> Tensor:
    """Return which share of its neighbours each query finds among its first candidates.

    Args:
        found: Whether each candidate is a neighbour, best first. Shape: ``[S, C]``.
        widths: Numbers of candidates. Length: ``W``.
        k: Number of neighbours.

    Returns:
        Shape: ``[S, W]``.
    """
    # The best of fewer candidates are the first of these.
    count = found.cumsum(dim=1)[:, [width - 1 for width in widths]]
    return count.clamp_(max=k).float() / k


def cheapest(
    shares: Callable[[int, int], Tensor],
    widths: Sequence[int],
    most_probes: int,
    recall: float,
    probes: Sequence[int] = PROBES,
) -> Setting | None:
    """Return the cheapest setting that reaches the recall, see :func:`tune`.

    Args:
        shares: Probes more cells, given how many each query has probed and how many it shall then
            have probed, and returns :func:`shares_of_widths`.
        widths: Numbers of candidates to try.
        most_probes: Number of cells that a query can probe.
        recall: Wanted share of the true neighbours.
        probes: Numbers of cells to try. (default: up to 64)
    """
    best: Setting | None = None
    lowest_cost, before = float('inf'), 0
    for num_probes in probes:
        if before == most_probes or PROBE_COST * num_probes + widths[0] >= lowest_cost:
            break
        share_of_width = shares(before, num_probes).unbind(dim=1)
        before = min(num_probes, most_probes)
        for width, share in zip(widths, share_of_width, strict=True):
            lower = float(share.mean() - 2 * share.std(correction=0) / len(share) ** 0.5)
            cost = PROBE_COST * before + width
            if lower >= recall and cost < lowest_cost:
                best, lowest_cost = Setting(before, width, float(share.mean())), cost
    return best
