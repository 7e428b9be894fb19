"""Lists of the best candidates of each row, updated with tiles of low-precision scores."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_mmgef._extension import address, load_extension

_tiles = load_extension('pyg_mmgef.search._tiles')

__all__ = ['CandidateLists', 'CompiledLists', 'TorchLists', 'candidate_lists']

GROUP = 32  # Scores of which torch first computes the maximum, and then ranks the maxima.
DTYPES = (torch.bfloat16, torch.float32)


class CandidateLists(Protocol):
    """Lists of the :obj:`width` best candidates of each row, made by :func:`candidate_lists`."""

    concurrent: bool
    """Whether threads may offer tiles at the same time."""

    def offer(self, score: Tensor, row: Tensor, column: Tensor, both: bool = False) -> None:
        """Update the lists with a tile of scores.

        Args:
            score: Scores of some rows and columns, bfloat16 or float32, finite, contiguous; they
                may be overwritten. Shape: ``[R, C]``.
            row: Different rows, int32. Shape: ``[R]``.
            column: Different candidate ids, int32, -1 for padding; no row is offered an id twice.
                Shape: ``[C]``.
            both: Also offer the rows to the lists of the columns. (default: :obj:`False`)
        """

    def best(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        r"""Return scores and candidate ids of some rows, best first.

        Args:
            start: The first row.
            stop: The row after the last.

        Returns:
            Both of shape ``[stop - start, width]``; :math:`-\infty` and -1 where a list has fewer
            candidates.
        """


def candidate_lists(
    num_rows: int, width: int, device: torch.device, *, exclude_self: bool = False
) -> CandidateLists:
    """Return empty lists: compiled ones on the CPU if the extension is loaded, else torch's.

    Args:
        num_rows: Number of lists.
        width: Number of candidates kept in each.
        device: Device of the scores.
        exclude_self: Reject candidates whose id is that of the row. (default: :obj:`False`)
    """
    if _tiles is not None and device.type == 'cpu':
        return CompiledLists(num_rows, width, exclude_self)
    return TorchLists(num_rows, width, device, exclude_self)


class CompiledLists:
    """Lists kept by ``_tiles.cpp``; an update costs little more than reading the tile."""

    concurrent = True

    def __init__(self, num_rows: int, width: int, exclude_self: bool = False) -> None:
        self.width, self.exclude_self = width, exclude_self
        assert _tiles is not None  # Only made by candidate_lists().
        self._tiles = _tiles
        self._entry = torch.empty(num_rows, 2 * width, dtype=torch.int64, device='cpu')
        self._count = torch.zeros(num_rows, dtype=torch.int32, device='cpu')
        self._limit = torch.full((num_rows,), _tiles.NO_LIMIT, dtype=torch.int32, device='cpu')
        self._busy = torch.zeros(num_rows, dtype=torch.uint8, device='cpu')
        self._lists = {
            'entry': self._entry.data_ptr(),
            'count': self._count.data_ptr(),
            'num_lists': num_rows,
            'width': width,
            'capacity': 2 * width,
        }

    def offer(self, score: Tensor, row: Tensor, column: Tensor, both: bool = False) -> None:
        """See :meth:`CandidateLists.offer`."""
        if score.dtype not in DTYPES:
            raise ValueError(f"'score' must be bfloat16 or float32 (got {score.dtype})")
        self._tiles.offer(
            **self._lists,
            score=address('score', score, score.dtype, row.numel(), column.numel()),
            row=address('row', row, torch.int32, row.numel()),
            column=address('column', column, torch.int32, column.numel()),
            limit=self._limit.data_ptr(),
            busy=self._busy.data_ptr(),
            itemsize=score.itemsize,
            num_rows=row.numel(),
            num_columns=column.numel(),
            exclude_self=self.exclude_self,
            both=both,
        )

    def best(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """See :meth:`CandidateLists.best`."""
        shape = (max(0, stop - start), self.width)
        score = torch.full(shape, float('-inf'), dtype=torch.float32, device='cpu')
        column = torch.full(shape, -1, dtype=torch.int64, device='cpu')
        self._tiles.best(
            **self._lists,
            start=start,
            stop=stop,
            score=score.data_ptr(),
            column=column.data_ptr(),
        )
        return score, column


class TorchLists:
    """Lists kept by torch on any device; the reference for the compiled ones."""

    concurrent = False

    def __init__(
        self, num_rows: int, width: int, device: torch.device, exclude_self: bool = False
    ) -> None:
        self.width, self.exclude_self = width, exclude_self
        shape = (num_rows, width)
        self._score = torch.full(shape, float('-inf'), dtype=torch.float32, device=device)
        self._column = torch.full(shape, -1, dtype=torch.long, device=device)

    def offer(self, score: Tensor, row: Tensor, column: Tensor, both: bool = False) -> None:
        """See :meth:`CandidateLists.offer`."""
        if score.numel() == 0:
            return
        padding = (column < 0).nonzero().view(-1)
        if padding.numel() > 0:
            score[:, padding] = float('-inf')
        if self.exclude_self:
            ordered, order = column.sort()
            place = torch.searchsorted(ordered, row).clamp_(max=len(column) - 1)
            own = (ordered[place] == row).nonzero().view(-1)
            score[own, order[place[own]]] = float('-inf')
        self._merge(score, row.long(), column.long())
        if both:
            kept = (column >= 0).nonzero().view(-1)
            self._merge(score.t()[kept], column[kept].long(), row.long())

    def _merge(self, score: Tensor, row: Tensor, column: Tensor) -> None:
        """Merge the best scores of a tile into the lists.

        They lie in the groups with the largest maxima, and computing maxima is much cheaper than
        ranking.
        """
        if column.numel() % GROUP:
            padding = -column.numel() % GROUP
            score = F.pad(score, (0, padding), value=float('-inf'))
            column = F.pad(column, (0, padding), value=-1)
        num_groups = column.numel() // GROUP
        # Strided groups separate neighbouring columns, which are often alike.
        group = score.unflatten(1, (GROUP, num_groups)).amax(dim=1)
        group = group.topk(min(self.width, num_groups), dim=1, sorted=False).indices
        member = torch.arange(0, column.numel(), num_groups, device=column.device)
        position = (group[:, :, None] + member).flatten(1)
        pool = torch.cat([self._score[row], score.gather(1, position).to(self._score.dtype)], dim=1)
        ids = torch.cat([self._column[row], column[position]], dim=1)
        best, index = pool.topk(self.width, dim=1)
        self._score[row] = best
        self._column[row] = ids.gather(1, index).masked_fill_(best.isneginf(), -1)

    def best(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """See :meth:`CandidateLists.best`."""
        return self._score[start:stop], self._column[start:stop]
