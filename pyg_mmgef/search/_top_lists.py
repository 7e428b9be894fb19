"""The best candidates of each row, kept while tiles of low-precision scores come by."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

try:
    import pyg_mmgef.search._tiles as _tiles
except ModuleNotFoundError:  # Installed without a compiler.
    _tiles = None  # type: ignore[assignment]

__all__ = ['CandidateLists', 'CompiledLists', 'TorchLists', 'candidate_lists']

GROUP = 32  # Scores reduced to their largest before torch ranks any.
DTYPES = (torch.bfloat16, torch.float32)


class CandidateLists(Protocol):
    """Lists of the :obj:`width` best candidates of each row, made by :func:`candidate_lists`."""

    concurrent: bool
    """Whether threads may offer tiles at the same time."""

    def offer(self, score: Tensor, row: Tensor, column: Tensor, both: bool = False) -> None:
        """Let a tile of scores compete for places in the lists.

        Args:
            score: Scores of some rows and columns, bfloat16 or float32, finite, contiguous; they
                may be overwritten. Shape: ``[R, C]``.
            row: Different rows, int32. Shape: ``[R]``.
            column: Different candidate ids, int32, -1 for none; no row is offered an id twice.
                Shape: ``[C]``.
            both: Also offer the rows to the lists of the columns. (default: :obj:`False`)
        """

    def best(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        r"""Return scores and candidate ids of some rows, best first.

        Args:
            start: The first row.
            stop: The row after the last.

        Returns:
            Both of shape ``[stop - start, width]``; :math:`-\infty` and -1 where nothing came.
        """


def candidate_lists(
    num_rows: int, width: int, device: torch.device, *, exclude_self: bool = False
) -> CandidateLists:
    """Return empty lists: compiled ones where they can be had, else lists kept by torch.

    Args:
        num_rows: Number of lists.
        width: Number of candidates kept in each.
        device: Where the scores will be.
        exclude_self: Refuse candidates whose id is the row's. (default: :obj:`False`)
    """
    if _tiles is not None and device.type == 'cpu':
        return CompiledLists(num_rows, width, exclude_self)
    return TorchLists(num_rows, width, device, exclude_self)


class CompiledLists:
    """Lists on the CPU; a tile costs little more than to read it (``_tiles.cpp``)."""

    concurrent = True

    def __init__(self, num_rows: int, width: int, exclude_self: bool = False) -> None:
        self.width, self.exclude_self = width, exclude_self
        # The extension writes into these, so no default of torch may change them.
        self._entry = torch.empty(num_rows, 2 * width, dtype=torch.long, device='cpu')
        self._count = torch.zeros(num_rows, dtype=torch.int32, device='cpu')
        self._limit = torch.full((num_rows,), _tiles.NO_LIMIT, dtype=torch.int32, device='cpu')
        self._busy = torch.zeros(num_rows, dtype=torch.uint8, device='cpu')

    def offer(self, score: Tensor, row: Tensor, column: Tensor, both: bool = False) -> None:
        """See :meth:`CandidateLists.offer`."""
        assert score.dtype in DTYPES
        assert row.dtype == column.dtype == torch.int32
        for tensor in (score, row, column):
            assert tensor.is_cpu
            assert tensor.is_contiguous()
        assert score.shape == (row.numel(), column.numel())
        _tiles.offer(
            score.data_ptr(),
            score.itemsize,
            *score.shape,
            row.data_ptr(),
            column.data_ptr(),
            self._entry.data_ptr(),
            self._count.data_ptr(),
            self._limit.data_ptr(),
            self._busy.data_ptr(),
            self.width,
            self._entry.size(1),
            self.exclude_self,
            both,
        )

    def best(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """See :meth:`CandidateLists.best`."""
        assert 0 <= start <= stop <= len(self._count)
        shape = (stop - start, self.width)
        score = torch.full(shape, float('-inf'), dtype=torch.float32, device='cpu')
        column = torch.full(shape, -1, dtype=torch.long, device='cpu')
        _tiles.best(
            self._entry.data_ptr(),
            self._count.data_ptr(),
            self.width,
            self._entry.size(1),
            start,
            stop,
            score.data_ptr(),
            column.data_ptr(),
        )
        return score, column


class TorchLists:
    """Lists on any device, ranked by torch; the reference of the compiled ones."""

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
        nobody = (column < 0).nonzero().view(-1)
        if nobody.numel() > 0:
            score[:, nobody] = float('-inf')
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
        """Rank the best of the tile among those that the lists have.

        The best scores lie in the groups with the best maxima, and a maximum is much cheaper than
        a ranking.
        """
        if column.numel() % GROUP:
            padding = -column.numel() % GROUP
            score = F.pad(score, (0, padding), value=float('-inf'))
            column = F.pad(column, (0, padding), value=-1)
        num_groups = column.numel() // GROUP
        # Strided groups: neighbouring columns, often alike, are apart.
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
