"""Rows that are repeated, such as the features of a placeholder picture: searched once."""

from __future__ import annotations

import torch
from torch import Tensor

from pyg_mmgef._threads import run_jobs

__all__ = ['RepeatedRows']

ROWS = 2**10  # Rows hashed at a time, which stay in the cache.


class RepeatedRows:
    """Groups of equal rows.

    Args:
        group: The group of each row, numbered without gaps. Shape: ``[N]``.
    """

    def __init__(self, group: Tensor) -> None:
        self.group = group
        self.members = group.argsort(stable=True)
        self.size = group.bincount()
        self.start = self.size.cumsum(0) - self.size
        self.first = self.members[self.start]
        """A row of each group. Shape: ``[G]``."""

    @classmethod
    def of(cls, x: Tensor, *, more_than: int) -> RepeatedRows | None:
        """Group equal rows, or return :obj:`None` if no group is large.

        Args:
            x: The rows, float32. Shape: ``[N, channels]``.
            more_than: A group is large if it has more rows than this.
        """
        group, size = _hashes(x).unique(return_inverse=True, return_counts=True)[1:]
        if int(size.max()) <= more_than:
            return None
        out = cls(group)
        blocks = torch.arange(len(x), dtype=torch.int64, device=x.device).split(ROWS)
        # In one of 10^10 catalogues different rows have the same hash; then none are grouped.
        equal = all(torch.equal(x[rows], x[out.first[group[rows]]]) for rows in blocks)
        return out if equal else None

    def expand(self, score: Tensor, neighbor: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the :obj:`k` best other rows of each row, from the best groups of each group.

        Args:
            score: Similarities of groups, including each with itself. Shape: ``[G, C]``.
            neighbor: The groups, as many as hold :obj:`k` rows beside a row's own.
                Shape: ``[G, C]``.
            k: Number of neighbours.
        """
        score, order = score.sort(dim=1, descending=True, stable=True)
        neighbor = neighbor.gather(1, order)
        # List the members of the groups in k + 1 positions: a row itself may be among them.
        end = self.size[neighbor].cumsum(1)
        place = torch.arange(k + 1, dtype=torch.int64, device=score.device).repeat(len(score), 1)
        entry = torch.searchsorted(end, place, right=True)
        chosen = neighbor.gather(1, entry)
        member = place - end.gather(1, entry) + self.size[chosen]
        row = self.members[self.start[chosen] + member][self.group]
        score = score.gather(1, entry)[self.group]
        # Skip the row itself, or the last position.
        own = row == torch.arange(len(row), dtype=torch.int64, device=row.device)[:, None]
        kept = place[0, :k] + own.cumsum(1)[:, :k]
        return score.gather(1, kept), row.gather(1, kept)


def _hashes(x: Tensor) -> Tensor:
    """Return a 64-bit hash of the bits of each row."""
    generator = torch.Generator().manual_seed(0)
    shape, highest = (x.size(1),), 2**63 - 1
    factor = torch.randint(
        -highest, highest, shape, generator=generator, dtype=torch.int64, device='cpu'
    ).to(x.device)
    out = torch.empty(len(x), dtype=torch.int64, device=x.device)

    def hash_block(start: int) -> None:
        rows = slice(start, start + ROWS)
        bits = x[rows].contiguous().view(torch.int32)
        torch.sum(bits * factor, dim=1, out=out[rows])

    run_jobs(hash_block, range(0, len(x), ROWS), concurrent=x.device.type == 'cpu')
    return out
