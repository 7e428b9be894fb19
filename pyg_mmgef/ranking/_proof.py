"""Exact rankings from low-precision products, with a proof for each user."""

from itertools import pairwise

import torch
from torch import Tensor

from pyg_mmgef._threads import run_jobs
from pyg_mmgef.ranking._user_items import UserItems
from pyg_mmgef.search._keys import from_keys, to_keys
from pyg_mmgef.search._proven import ProductBound, product_dtype, round_rows, row_lengths
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._top_lists import CandidateLists, candidate_lists

__all__ = ['ProvenRanking']

# Rows and columns of a product; 4 MiB in bfloat16 stay in the cache until they are compared.
ROWS, COLUMNS = 2048, 1024
LEAST_ROWS = 256  # Products of fewer rows are slow.
ROUND_ROWS = 64  # Rounded up to a multiple of this: each new shape costs oneDNN time.
GROWTH = 8  # Users that need more columns get this many times as many.
SPARE = 4  # Candidates beyond 1.5 k, enough to prove nearly every user.


class ProvenRanking:
    r"""Ranks a few candidate items of each user in float32, and proves which rankings are exact.

    Products in bfloat16, where the processor multiplies it faster, choose :math:`c > k` items for
    each user; float32 ranks these. A user is proven if its :obj:`k`-th best score is higher than
    the highest score that an item which was not chosen can have
    (:class:`~pyg_mmgef.search._proven.ProductBound`). Items are compared in the order of their
    lengths, the longest first. By Cauchy and Schwarz, no further item is needed once :math:`\lVert
    \mathbf{z}_u \rVert \lVert \mathbf{z}_i \rVert` is below the least score that the :obj:`k`-th
    best product so far allows.

    Args:
        z_user: User embeddings, float32. Shape: ``[num_users, channels]``.
        z_item: Item embeddings, float32. Shape: ``[num_items, channels]``.
        excluded: Interactions whose items are left out, from :func:`pair_keys`. Shape: ``[E]``.
        candidates: The items to rank. Shape: ``[C]``.
        wanted: The targets, if only their ranks matter; see :class:`TopItems`. Shape: ``[T]``.
            (default: :obj:`None`)
    """

    def __init__(
        self,
        z_user: Tensor,
        z_item: Tensor,
        excluded: Tensor,
        candidates: Tensor,
        wanted: Tensor | None = None,
    ) -> None:
        self._users, self._items = SearchRows(z_user, 'ip'), SearchRows(z_item, 'ip')
        dtype = product_dtype(z_item.device)
        low = torch.empty(z_item.shape, dtype=dtype, device=z_item.device)
        norm, error = round_rows(self._items, low)
        self._norm, order = norm[candidates].sort(descending=True)
        columns = candidates[order]
        self._columns, self._low = columns.int(), low[columns]
        self._bound = ProductBound(self._norm, error[candidates], z_item.size(1), dtype)

        num_users, num_items = len(z_user), len(z_item)
        self._seen = UserItems(excluded, num_users, num_items, columns)
        self._wanted: UserItems | None = None
        if wanted is not None:
            self._wanted = UserItems(wanted, num_users, num_items, candidates)
            self._candidates = candidates

    def __call__(self, users: Tensor, k: int, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
        r"""Rank the items of some users.

        Args:
            users: The users. Shape: ``[N]``.
            k: Number of items per user, at most ``C``.
            batch_size: Maximum number of users at a time.

        Returns:
            Scores and item ids of shape ``[N, k]``, best first and among equal scores the lower id
            first, :math:`-\infty` and -1 where a user has no item left; and whether each user is
            proven, of shape ``[N]``.
        """
        share = -(-len(users) // (4 * torch.get_num_threads()))
        blocks = users.split(min(batch_size, ROWS, max(share, LEAST_ROWS)))
        ranked = run_jobs(lambda user: self._rank(user, k), blocks)
        score, item, proven = map(torch.cat, zip(*ranked, strict=True))
        return score, item, proven

    def _rank(self, user: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        exact = self._users.x[user]
        low = exact.to(self._low.dtype)
        norm, error = row_lengths(exact, low)
        error = self._bound.error(norm, error)
        product, chosen = self._choose(user, k, low, norm, error)

        left_out = self._bound.highest(product[:, -1], error)
        # A user whose list isn't full has no other items.
        complete = product[:, -1].isneginf() | (product.size(1) == len(self._columns))
        proven = (self._bound.lowest(product[:, k - 1], error) > left_out) | complete
        unclear = self._unclear(user, chosen, proven)
        score = exact.new_full((len(user), k), float('-inf'))
        item = user.new_full((len(user), k), -1)
        best = self._best(user[unclear], k, product[unclear], chosen[unclear])
        score[unclear], item[unclear] = best
        return score, item, proven | (score[:, -1] > left_out)

    def _unclear(self, user: Tensor, chosen: Tensor, proven: Tensor) -> Tensor:
        """Return the positions of the users whose items must be ranked in float32."""
        if self._wanted is None:
            return torch.arange(len(user), dtype=torch.int64, device=user.device)
        row, column = self._wanted.of(user)
        unclear = ~proven
        found = (chosen[row] == self._candidates[column, None]).any(dim=1)
        unclear[row[found]] = True
        return unclear.nonzero().view(-1)

    def _best(self, user: Tensor, k: int, product: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best float32 scores of chosen items, and these; ties go to the lower id."""
        chosen = chosen.clamp(min=0)
        score = self._items.score(self._users, user, chosen) + 0.0  # There may be a -0.0.
        score.masked_fill_(product.isneginf(), float('-inf'))
        # Numpy sorts these keys many times faster than torch would sort scores and ids.
        key = to_keys(score, chosen).bitwise_not_()
        key.numpy().sort(axis=1)
        score, item = from_keys(key[:, :k].bitwise_not())
        return score, item.masked_fill_(score.isneginf(), -1)

    def _choose(
        self, user: Tensor, k: int, low: Tensor, norm: Tensor, error: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return rounded products and ids of candidates, best first, of shape ``[B, c]``."""
        width = min(k + k // 2 + SPARE, len(self._columns))
        lists = candidate_lists(len(user), width, low.device)
        row, column = self._seen.of(user)
        column, order = column.sort()
        row = row[order]
        need = torch.full_like(user, len(self._columns))
        first, last = 0, COLUMNS
        while first < int(need.max()):
            self._compare(low, row, column, need, lists, range(first, last, COLUMNS))
            product, chosen = lists.best(0, len(user))
            least = self._bound.lowest(product[:, k - 1], error)
            length = least / norm.clamp(min=torch.finfo(norm.dtype).tiny)
            need = torch.searchsorted(-self._norm, -length, right=True)
            first, last = last, last * GROWTH
        return product, chosen

    def _compare(
        self,
        low: Tensor,
        row: Tensor,
        column: Tensor,
        need: Tensor,
        lists: CandidateLists,
        tiles: range,
    ) -> None:
        """Update the lists of users with the columns that they need, tile by tile.

        The items that users have are given in the order of their columns.
        """
        need, order = need.sort(descending=True, stable=True)
        low, row = low[order], order.argsort()[row]
        order = order.int()
        ends = torch.tensor([*tiles, tiles.stop], dtype=torch.int64, device='cpu')
        bounds = torch.searchsorted(column, ends).tolist()
        for first, (start, stop) in zip(tiles, pairwise(bounds), strict=True):
            count = int((need > first).sum())
            if count == 0:
                break
            count = min(-(-count // ROUND_ROWS) * ROUND_ROWS, len(low))
            product = low[:count] @ self._low[first : first + COLUMNS].t()
            here = row[start:stop] < count
            product[row[start:stop][here], column[start:stop][here] - first] = float('-inf')
            lists.offer(product, order[:count], self._columns[first : first + COLUMNS])
