"""The items of each user with the highest scores, without those to exclude."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from pyg_mmgef.ranking._proof import ProvenRanking
from pyg_mmgef.ranking._sparse_scores import SparseScores
from pyg_mmgef.ranking._user_items import UserItems
from pyg_mmgef.search._proven import HALF_SPACING, float32_rounding, sum_rounding
from pyg_mmgef.search._rows import pair_products
from pyg_mmgef.search._top_lists import candidate_lists
from pyg_mmgef.validate import check_positive

__all__ = ['TopItems', 'merge_top_items', 'top_items']

BLOCK_SCORES = 2**25  # Scores held at a time if all are ranked: 128 MiB in float32.
# On the CPU, 4 MiB that stay in the cache, but never fewer users: products would be slow.
CACHED_SCORES, LEAST_ROWS = 2**20, 32
FIRST, LAST = -1, 2**62  # Keys before and after all others.
SPARE = 16  # Items beyond k that are scored again: seldom are more within the rounding error.
NEAR = 2**22  # Scores held at a time for users who have more.
FEW = 128  # For this many users, ranking all items is as fast.


def top_items(
    z_user: Tensor,
    z_item: Tensor,
    users: Tensor,
    k: int,
    excluded: Tensor,
    candidates: Tensor,
    batch_size: int,
    *,
    wanted: Tensor | None = None,
    tie_seed: int | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Return the :obj:`k` candidates with the largest :math:`\mathbf{z}_u^{\top} \mathbf{z}_i`.

    Args:
        z_user: See :class:`TopItems`.
        z_item: See :class:`TopItems`.
        users: Users to rank for. Shape: ``[N]``.
        k: Number of items per user, at most ``C``.
        excluded: See :class:`TopItems`.
        candidates: See :class:`TopItems`.
        batch_size: Maximum number of users ranked at a time.
        wanted: See :class:`TopItems`. (default: :obj:`None`)
        tie_seed: See :class:`TopItems`. (default: :obj:`None`)

    Returns:
        Scores and item ids, best first, both of shape ``[N, k]``; :math:`-\infty` and -1 where a
        user has no item left.
    """
    rank = TopItems(z_user, z_item, excluded, candidates, wanted=wanted, tie_seed=tie_seed)
    return rank(users, k, batch_size)


class TopItems:
    r"""Ranks the candidates of some users after others by :math:`\mathbf{z}_u^{\top} \mathbf{z}_i`.

    Half precision is computed in float32, also under autocast. On the CPU, low-precision products
    choose the few items that float32 ranks (:class:`ProvenRanking`). All items are ranked for users
    that this doesn't prove, on other devices, in float64, without the compiled extension, and if
    embeddings are sparse. Either way the scores that rank are computed pair by pair, so equal items
    have equal scores, whatever their ids and the batch size.

    What doesn't depend on the users is prepared once, when it is first needed.

    Args:
        z_user: User embeddings, dense or in CSR form. Shape: ``[num_users, channels]``.
        z_item: Item embeddings, in CSR form only where :obj:`z_user` is.
            Shape: ``[num_items, channels]``.
        excluded: Interactions whose items are left out, from :func:`pair_keys`. Shape: ``[E]``.
        candidates: The items to rank, distinct and sorted. Shape: ``[C]``.
        wanted: Targets, from :func:`pair_keys`, if only their ranks matter: users without a target
            among their best items may get no items. Shape: ``[T]``. (default: :obj:`None`)
        tie_seed: Order equal scores at random, in another order for each user; :obj:`None` puts
            the lower id first. (default: :obj:`None`)
        first: The numbers of the first user and item among all, where these are some of them: the
            random order of equal scores is that of all. (default: ``(0, 0)``)
    """

    def __init__(
        self,
        z_user: Tensor,
        z_item: Tensor,
        excluded: Tensor,
        candidates: Tensor,
        *,
        wanted: Tensor | None = None,
        tie_seed: int | None = None,
        first: tuple[int, int] = (0, 0),
    ) -> None:
        dtype = torch.promote_types(z_user.dtype, z_item.dtype)
        self.dtype = torch.promote_types(dtype, torch.float32)
        self.z_user, self.z_item = (z.detach().to(self.dtype) for z in (z_user, z_item))
        self.excluded, self.candidates = excluded, candidates
        self.wanted, self.tie_seed, self.first = wanted, tie_seed, first

    def __call__(self, users: Tensor, k: int, batch_size: int) -> tuple[Tensor, Tensor]:
        r"""Return scores and item ids, best first, both of shape ``[N, k]``.

        They are :math:`-\infty` and -1 where a user has no item left.

        Args:
            users: Users to rank for. Shape: ``[N]``.
            k: Number of items per user, at most ``C``.
            batch_size: Maximum number of users ranked at a time.
        """
        check_positive('batch_size', batch_size)
        # Without the compiled lists, choosing candidates would cost as much as it saves.
        compiled = candidate_lists(0, 1, self.z_item.device).concurrent
        some = k > 0 and self.z_item.size(1) > 0 and users.numel() > FEW
        dense = self.z_user.layout == torch.strided
        with torch.autocast(self.z_user.device.type, enabled=False):
            if not (compiled and some and dense and self.dtype == torch.float32):
                return self._all(users, k, batch_size)
            # The score of one more item shows whether it ties with the last one.
            more = k if self.tie_seed is None else min(k + 1, len(self.candidates))
            score, item, settled = self._proven(users, more, batch_size)
            if self.tie_seed is not None:
                ties = (score[:, 1:] == score[:, :-1]) & ~score[:, 1:].isneginf()
                settled &= ~ties.any(dim=1)
            score, item = score[:, :k].contiguous(), item[:, :k].contiguous()
            rest = (~settled).nonzero().view(-1)
            if rest.numel() > 0:
                score[rest], item[rest] = self._all(users[rest], k, batch_size)
            return score, item

    @cached_property
    def _proven(self) -> ProvenRanking:
        return ProvenRanking(self.z_user, self.z_item, self.excluded, self.candidates, self.wanted)

    @cached_property
    def _seen(self) -> UserItems:
        sizes = self.z_user.size(0), self.z_item.size(0)
        return UserItems(self.excluded, *sizes, self.candidates)

    @cached_property
    def _scores(self) -> tuple[Callable[[Tensor], Tensor], str]:
        return _scorer(self.z_user, self.z_item, self.candidates)

    def _all(self, users: Tensor, k: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return the result from the scores of all candidates."""
        score_of, device = self._scores
        size = max(1, BLOCK_SCORES // max(1, len(self.candidates)))
        if device == 'cpu':
            size = min(size, max(LEAST_ROWS, CACHED_SCORES // max(1, len(self.candidates))))
        rank = _Ranker(self.z_user, self.z_item, self.candidates, k, self.tie_seed, self.first)
        scores, columns = [], []
        for user in users.split(min(batch_size, size)):
            score = score_of(user)
            score[self._seen.of(user)] = float('-inf')
            score, column = rank(user, score)
            scores.append(score)
            columns.append(column)
        score = torch.cat(scores)
        item = self.candidates[torch.cat(columns)]
        return score, item.masked_fill_(score.isneginf(), -1)


def _scorer(
    z_user: Tensor, z_item: Tensor, candidates: Tensor
) -> tuple[Callable[[Tensor], Tensor], str]:
    """Return a function from users to their scores of all candidates, and its device."""
    if z_user.layout == torch.sparse_csr:
        return SparseScores(z_user, z_item, candidates), 'cpu'
    device = z_item.device
    z_item = z_item if len(candidates) == len(z_item) else z_item[candidates]
    inexact = float32_rounding(device) > HALF_SPACING[torch.float32]
    if device.type == 'cpu' and z_item.dtype == torch.float32 and inexact:
        z_item = z_item.double()
        return lambda user: (z_user[user].double() @ z_item.t()).float(), device.type
    return lambda user: z_user[user] @ z_item.t(), device.type


class _Ranker:
    r"""Ranks the items of some users, given the scores of all candidates.

    In a dense product the score of an item depends, in its last bits, on the column that the item
    has and on the users beside it, so equal items have unequal scores. Therefore the best few are
    scored again, each pair by itself, and so is every other item whose score is within the
    rounding error of theirs.

    Args:
        z_user: User embeddings, dense or in CSR form; sparse scores are sums over the same entries
            in the same order already. Shape: ``[num_users, channels]``.
        z_item: Item embeddings. Shape: ``[num_items, channels]``.
        candidates: The items to rank, the columns of the scores. Shape: ``[C]``.
        k: Number of items per user.
        tie_seed: See :class:`TopItems`.
        first: See :class:`TopItems`.
    """

    def __init__(
        self,
        z_user: Tensor,
        z_item: Tensor,
        candidates: Tensor,
        k: int,
        tie_seed: int | None,
        first: tuple[int, int],
    ) -> None:
        self.z_user, self.z_item, self.candidates = z_user, z_item, candidates
        self.k, self.tie_seed, self.first = k, tie_seed, first
        self.rescores = z_user.layout == torch.strided and z_item.numel() > 0
        if self.rescores:
            bound = 2 * sum_rounding(z_item.size(1), z_item.dtype, z_item.device)
            longest = torch.linalg.vector_norm(z_item, dim=1).amax()
            self._error = bound * longest

    def __call__(self, user: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest scores of each user and their columns, both of shape ``[B, k]``.

        Args:
            user: The users. Shape: ``[B]``.
            score: Their scores. Shape: ``[B, C]``.
        """
        if self.k == 0:
            return score[:, :0], torch.empty_like(score[:, :0], dtype=torch.int64)
        best, column = score.topk(min(self.k + SPARE, score.size(1)), dim=1)
        least = best[:, self.k - 1, None] - self._slack(user)
        full = (best[:, -1:] >= least) & ~best[:, -1:].isneginf() & (best.size(1) < score.size(1))
        best = self._rescored(user, column, best)
        best, first = self._first(best, self._place(user, column))
        column = column.gather(1, first)
        rows = full.view(-1).nonzero().view(-1)
        for part in rows.split(max(1, NEAR // score.size(1))):
            near = score[part].masked_fill_(score[part] < least[part], float('-inf'))
            every = torch.arange(score.size(1), dtype=torch.int64, device=score.device)
            every = every.expand_as(near)
            near = self._rescored(user[part], every, near)
            best[part], column[part] = self._first(near, self._place(user[part], every))
        return best, column

    def _slack(self, user: Tensor) -> Tensor | float:
        """Return by how much dense scores may be in the wrong order. Shape: ``[B, 1]``."""
        if not self.rescores:
            return 0.0
        return self._error * torch.linalg.vector_norm(self.z_user[user], dim=1, keepdim=True)

    def _rescored(self, user: Tensor, column: Tensor, score: Tensor) -> Tensor:
        """Return scores of pairs, of shape ``[B, W]``, each computed by itself; -inf stays."""
        if not self.rescores:
            return score
        row = self.z_user[user]
        if not bool(row.any()):  # The scores of users without a history are exact zeros.
            return score
        kept = ~score.isneginf()
        item = self.candidates[column[kept]]
        return score.masked_scatter(kept, pair_products(row, self.z_item, kept.sum(dim=1), item))

    def _place(self, user: Tensor, column: Tensor) -> Tensor:
        """Return the order of columns, of shape ``[B, W]``, among equal scores."""
        if self.tie_seed is None:
            return column
        user, item = user[:, None] + self.first[0], self.candidates[column] + self.first[1]
        return _hash(self.tie_seed, user, item)

    def _first(self, score: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest scores of each row, best first, equal ones in their order."""
        # Sorting whole rows would take many times as long, and scores of sparse embeddings tie.
        least = score.topk(self.k, dim=1).values[:, -1:]
        key = torch.where(score == least, place, LAST).masked_fill_(score > least, FIRST)
        chosen = key.topk(self.k, dim=1, largest=False).indices
        chosen = chosen.gather(1, place.gather(1, chosen).argsort(dim=1, stable=True))
        value, first = score.gather(1, chosen).sort(dim=1, descending=True, stable=True)
        return value, chosen.gather(1, first)


def merge_top_items(
    score: Tensor, item: Tensor, users: Tensor, k: int, tie_seed: int | None
) -> tuple[Tensor, Tensor]:
    r"""Return the :obj:`k` best of several lists for each user, in the order of :class:`TopItems`.

    Args:
        score: Scores, :math:`-\infty` where there is no item. Shape: ``[N, W]``.
        item: Items, each once in a row, numbered over all, -1 where there is none.
            Shape: ``[N, W]``.
        users: The users, numbered over all. Shape: ``[N]``.
        k: Number of items per user, at most ``W``.
        tie_seed: See :class:`TopItems`.
    """
    place = item if tie_seed is None else _hash(tie_seed, users[:, None], item)
    order = place.argsort(dim=1, stable=True)
    best, first = score.gather(1, order).sort(dim=1, descending=True, stable=True)
    return best[:, :k], item.gather(1, order.gather(1, first))[:, :k]


def _hash(seed: int, user: Tensor, item: Tensor) -> Tensor:
    """Return pseudo-random numbers in :math:`[0, 2^{31})` for each user, item and seed."""
    x = user * 0x9E3779B97F4A7C1 + item * 0x2545F4914F6CDD1 + seed * 0x5851F42D4C957F2 % 2**62
    for shift in (30, 27):  # The finaliser of SplitMix64; int64 wraps around.
        x = (x ^ (x >> shift)) * 0x3F58476D1CE4E5B
    return (x ^ (x >> 31)) & 0x7FFFFFFF
