"""Exact ranking of a few items for each user, chosen by low-precision products."""

import numpy as np
import torch
from torch import Tensor

from pyg_mmgef._threads import run_jobs
from pyg_mmgef.ranking._user_items import UserItems
from pyg_mmgef.search._exact import HALF_SPACING, float32_rounding, product_dtype
from pyg_mmgef.search._rows import SearchRows
from pyg_mmgef.search._top_lists import CandidateLists, candidate_lists

__all__ = ['ProvenRanking']

# Rows and columns of a product; 4 MiB in bfloat16 stay in the cache until they are compared.
ROWS, COLUMNS = 2048, 1024
LEAST_ROWS = 256  # With fewer, products are slow.
ROUND_ROWS = 64  # Their number is rounded up: oneDNN prepares every new shape anew.
GROWTH = 8  # By which the columns grow after which it is asked who needs more of them.
SPARE = 4  # Candidates beyond 1.5 k: enough to prove nearly every user.


class ProvenRanking:
    r"""The best items of users by float32 scores of a few candidates, with a proof.

    Products in bfloat16, where the processor multiplies it faster, choose :math:`c > k` items for
    each user; float32 ranks these. With :math:`\hat{\mathbf{z}}` the rounded embeddings, a product
    that was rounded to :math:`t` is off by at most

    .. math::
        \epsilon |t|
        + \lVert \mathbf{z}_u - \hat{\mathbf{z}}_u \rVert \max_i \lVert \hat{\mathbf{z}}_i \rVert
        + \lVert \mathbf{z}_u \rVert \max_i \lVert \mathbf{z}_i - \hat{\mathbf{z}}_i \rVert
        + 2 \delta \lVert \mathbf{z}_u \rVert \max_i \lVert \mathbf{z}_i \rVert,

    :math:`\epsilon` being the rounding of a product and :math:`\delta` that of a sum in float32.
    So no item compared but not chosen scores above the lowest rounded product chosen plus this,
    and a user whose :obj:`k`-th best score is as high is proven. By Cauchy and Schwarz, items with
    :math:`\lVert \mathbf{z}_u \rVert \lVert \mathbf{z}_i \rVert` below what the :obj:`k`-th best
    product so far is worth at least need not be compared at all: the longest ones come first.

    Args:
        z_user: User embeddings, float32. Shape: ``[num_users, channels]``.
        z_item: Item embeddings, float32. Shape: ``[num_items, channels]``.
        k: Number of items per user, at most ``C``.
        excluded: Interactions whose items are left out, from :func:`pair_keys`. Shape: ``[E]``.
        candidates: The items to rank. Shape: ``[C]``.
        wanted: See :func:`top_items`. Shape: ``[T]``. (default: :obj:`None`)
    """

    def __init__(
        self,
        z_user: Tensor,
        z_item: Tensor,
        k: int,
        excluded: Tensor,
        candidates: Tensor,
        wanted: Tensor | None = None,
    ) -> None:
        self.k = k
        self._users, self._items = SearchRows(z_user, 'ip'), SearchRows(z_item, 'ip')
        dtype = product_dtype(z_item.device)
        low = z_item.to(dtype)
        norm, error = _lengths(z_item, low)
        self._norm, order = norm[candidates].sort(descending=True)
        columns = candidates[order]
        self._columns, self._low = columns.int(), low[columns]
        error = error[candidates].amax()
        self._low_norm = self._norm[0] + error
        rounding = 2 * (z_item.size(1) + 8) * HALF_SPACING[torch.float32]
        if dtype == torch.float32 and float32_rounding() > HALF_SPACING[torch.float32]:
            rounding += 4 * float32_rounding()
        self._item_error = error + rounding * self._norm[0]
        # Relative to the rounded product, which may be the smaller one.
        self._spacing = HALF_SPACING[dtype] / (1 - HALF_SPACING[dtype])

        num_users, num_items = len(z_user), len(z_item)
        self._seen = UserItems(excluded, num_users, num_items, columns)
        self._wanted: UserItems | None = None
        if wanted is not None:
            self._wanted = UserItems(wanted, num_users, num_items, candidates)
            self._candidates = candidates

    def __call__(self, users: Tensor, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
        r"""Rank the items of some users.

        Args:
            users: The users. Shape: ``[N]``.
            batch_size: Most users at a time.

        Returns:
            Scores and item ids, best first, of equal scores the lower id first, of shape
            ``[N, k]``, :math:`-\infty` and -1 where a user has no item left; whether they are
            proven to be the best. Shape: ``[N]``.
        """
        share = -(-len(users) // (4 * torch.get_num_threads()))
        blocks = users.split(min(batch_size, ROWS, max(share, LEAST_ROWS)))
        score, item, proven = map(torch.cat, zip(*run_jobs(self._rank, blocks), strict=True))
        return score, item, proven

    def _rank(self, user: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        exact = self._users.x[user]
        low = exact.to(self._low.dtype)
        norm, error = _lengths(exact, low)
        error = error * self._low_norm + norm * self._item_error
        product, chosen = self._choose(user, low, norm, error)

        reach = product[:, -1] + self._spacing * product[:, -1].abs() + error
        # Those of a user with fewer products than asked for are all that there are.
        complete = product[:, -1].isneginf() | (product.size(1) == len(self._columns))
        proven = (self._least(product, error) >= reach) | complete
        unclear = self._unclear(user, chosen, proven)
        score = exact.new_full((len(user), self.k), float('-inf'))
        item = user.new_full((len(user), self.k), -1)
        score[unclear], item[unclear] = self._best(user[unclear], product[unclear], chosen[unclear])
        return score, item, proven | (score[:, -1] >= reach)

    def _unclear(self, user: Tensor, chosen: Tensor, proven: Tensor) -> Tensor:
        """Return the rows of users whose items must be ranked."""
        if self._wanted is None:
            return torch.arange(len(user), device=user.device)
        row, column = self._wanted.of(user)
        unclear = ~proven
        found = (chosen[row] == self._candidates[column, None]).any(dim=1)
        unclear[row[found]] = True
        return unclear.nonzero().view(-1)

    def _best(self, user: Tensor, product: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best float32 scores of chosen items and the items, the lower id first."""
        chosen = chosen.clamp(min=0)
        score = self._items.score(self._users, user, chosen) + 0.0  # There may be a -0.0.
        score.masked_fill_(product.isneginf(), float('-inf'))
        # Integers in the order of scores, then ids; numpy sorts them many times faster than torch.
        bits = score.numpy().view(np.int32)
        key = (~_ordered(bits)).astype(np.int64) << 32 | chosen.numpy()
        key.sort(axis=1)
        key = key[:, : self.k]
        score = torch.from_numpy(_ordered(~(key >> 32).astype(np.int32)).view(np.float32))
        item = torch.from_numpy(key & 0xFFFFFFFF)
        return score, item.masked_fill_(score.isneginf(), -1)

    def _choose(
        self, user: Tensor, low: Tensor, norm: Tensor, error: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return rounded products and ids of candidates, best first, of shape ``[B, c]``."""
        width = min(self.k + self.k // 2 + SPARE, len(self._columns))
        lists = candidate_lists(len(user), width, low.device)
        row, column = self._seen.of(user)
        need = torch.full_like(user, len(self._columns))
        first, last = 0, COLUMNS
        while first < int(need.max()):
            self._compare(low, row, column, need, lists, range(first, last, COLUMNS))
            product, chosen = lists.best(0, len(user))
            length = self._least(product, error) / norm.clamp(min=torch.finfo(norm.dtype).tiny)
            need = torch.searchsorted(-self._norm, -length, right=True)
            first, last = last, last * GROWTH
        return product, chosen

    def _least(self, product: Tensor, error: Tensor) -> Tensor:
        """Return what the k-th best item scores at least."""
        kth = product[:, self.k - 1]
        return kth - self._spacing * kth.abs() - error

    def _compare(
        self,
        low: Tensor,
        row: Tensor,
        column: Tensor,
        need: Tensor,
        lists: CandidateLists,
        tiles: range,
    ) -> None:
        """Offer users the products with the columns they need, tile by tile."""
        need, order = need.sort(descending=True, stable=True)
        low, row = low[order], order.argsort()[row]
        order = order.int()
        for first in tiles:
            count = int((need > first).sum())
            if count == 0:
                break
            count = min(-(-count // ROUND_ROWS) * ROUND_ROWS, len(low))
            product = low[:count] @ self._low[first : first + COLUMNS].t()
            here = (column >= first) & (column < first + COLUMNS) & (row < count)
            product[row[here], column[here] - first] = float('-inf')
            lists.offer(product, order[:count], self._columns[first : first + COLUMNS])


def _lengths(z: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lengths of rows and of what rounding took from them."""
    norm, error = z.new_empty(2, len(z))
    for start in range(0, len(z), ROWS):  # Differences that stay in the cache.
        rows = slice(start, start + ROWS)
        torch.linalg.vector_norm(z[rows], dim=1, out=norm[rows])
        torch.linalg.vector_norm(z[rows] - low[rows], dim=1, out=error[rows])
    return norm, error


def _ordered(bits: np.ndarray) -> np.ndarray:
    """Return the bits of floats as integers of the same order, and the other way round."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)
