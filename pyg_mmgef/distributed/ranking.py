"""Metrics and lists of the best items, with users and items spread over processes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_mmgef.distributed._exchange import (
    Group,
    place_in,
    starts_of,
    sum_over,
    visit,
)
from pyg_mmgef.distributed._together import raise_together
from pyg_mmgef.ranking._inputs import (
    check_embeddings,
    check_findable,
    checked_cutoffs,
    sorted_keys,
)
from pyg_mmgef.ranking.bulk import Ids, write_recommendations
from pyg_mmgef.ranking.metrics import METRICS
from pyg_mmgef.ranking.scoring import TopItems, merge_top_items
from pyg_mmgef.ranking.top_lists import DEFAULT, TopLists, checked_metrics
from pyg_mmgef.validate import check_positive

__all__ = ['sharded_evaluate_ranking', 'sharded_recommend_to_parquet']

PIECE = 2**16  # Items of a process that travel at a time.


@torch.no_grad()
def sharded_evaluate_ranking(
    z_user: Tensor,
    z_item: Tensor,
    target: Tensor,
    *,
    exclude: Tensor | None = None,
    k: int | Sequence[int] = (10, 20),
    metrics: str | Sequence[str] = DEFAULT,
    batch_size: int = 2048,
    tie_seed: int = 0,
    group: Group = None,
) -> dict[str, float]:
    r"""Rank all items for every user with a held-out item, and return the mean over all processes.

    Each process ranks for its users. The items travel from process to process, and the best of each
    block of items are merged, so a process holds the embeddings of its users and of the items of
    three processes. Scores and the order of equal scores are those of
    :func:`~pyg_mmgef.ranking.evaluate_ranking`, whatever the number of processes.

    Args:
        z_user: Embeddings of the users of this process, dense. Shape: ``[num_users, channels]``.
        z_item: Embeddings of the items of this process, dense; the processes have contiguous ranges
            of users and of items, in the order of their ranks. Shape: ``[num_items, channels]``.
        target: Held-out interactions (user, item) of the users of this process, users numbered
            within the process, items over all. Shape: ``[2, E]``.
        exclude: Interactions whose items are left out of the user's ranking, likewise.
            Shape: ``[2, E']``. (default: :obj:`None`)
        k: Cut-offs. (default: ``(10, 20)``)
        metrics: Any of ``'recall'``, ``'precision'``, ``'ndcg'``, ``'map'``, ``'mrr'`` and
            ``'hit_ratio'``. (default: ``('recall', 'precision', 'ndcg')``)
        batch_size: Maximum number of users ranked at a time. (default: ``2048``)
        tie_seed: Seed of the random order of equal scores. (default: ``0``)
        group: The processes; :obj:`None` means all. (default: :obj:`None`)

    Returns:
        The metrics by name, such as ``'recall@20'``, the same in every process.

    Raises:
        ValueError: As :func:`~pyg_mmgef.ranking.evaluate_ranking`.
        RuntimeError: If another process has found such an input.
    """
    names = checked_metrics(metrics, list(METRICS))
    ranking = _Ranking(z_user, z_item, {'target': target, 'exclude': exclude}, group)
    cutoffs = checked_cutoffs(k, ranking.num_items)
    wanted = ranking.keys['target'].unique_consecutive()
    users = (wanted // ranking.num_items).unique_consecutive()
    _, items = ranking.top(users, max(cutoffs), batch_size, tie_seed)
    sums = torch.zeros(len(names) * len(cutoffs) + 1, dtype=torch.float64, device='cpu')
    values: dict[str, Any] = {f'{name}@{cutoff}': 0 for name in names for cutoff in cutoffs}
    if users.numel() > 0:
        lists = TopLists(users, items, target, len(z_user), ranking.num_items)
        values = lists.per_user(names, cutoffs)
        totals = [value.cpu().double().sum() for value in values.values()]
        sums = torch.stack([*totals, torch.tensor(len(users), dtype=torch.float64)])
    sums = sum_over(sums.to(z_user.device), group).cpu()
    return dict(zip(values, (sums[:-1] / sums[-1]).tolist(), strict=True))


@torch.no_grad()
def sharded_recommend_to_parquet(
    z_user: Tensor,
    z_item: Tensor,
    folder: str | os.PathLike[str],
    *,
    k: int = 20,
    user_ids: Ids | None = None,
    item_ids: Ids | None = None,
    exclude: Tensor | None = None,
    batch_size: int = 2**15,
    group: Group = None,
) -> int:
    r"""Write the best items of all users to a folder of Parquet files, one for each process.

    The rows are those of :func:`~pyg_mmgef.ranking.recommend_to_parquet`. A process writes
    ``part-00001-of-00004.parquet``, say, which takes its name once it is whole. When the function
    returns, all files are there. A process holds the lists of its users.

    Args:
        z_user: See :func:`sharded_evaluate_ranking`. Shape: ``[num_users, channels]``.
        z_item: See :func:`sharded_evaluate_ranking`. Shape: ``[num_items, channels]``.
        folder: The folder. Its columns are ``user``, ``rank`` (from 1), ``item`` and ``score``.
        k: Number of items per user. (default: ``20``)
        user_ids: The id of each user of this process; :obj:`None` means the row, numbered over all
            processes. (default: :obj:`None`)
        item_ids: The id of each of all items; :obj:`None` means the row. (default: :obj:`None`)
        exclude: Interactions (user, item) whose items are not recommended to the user again, see
            :func:`sharded_evaluate_ranking`. Shape: ``[2, E]``. (default: :obj:`None`)
        batch_size: Users of a row group. (default: ``32768``)
        group: The processes; :obj:`None` means all. (default: :obj:`None`)

    Returns:
        The number of rows that this process wrote.

    Raises:
        ValueError: As :func:`~pyg_mmgef.ranking.recommend_to_parquet`, or if the folder has Parquet
            files of another number of processes.
        RuntimeError: If another process has failed.
        ImportError: If pyarrow isn't installed.
    """
    check_positive('k', k)
    rank, size = place_in(group)
    path, device = Path(folder).expanduser(), z_user.device
    ours = [f'part-{number:05d}-of-{size:05d}.parquet' for number in range(size)]
    ranking = _Ranking(z_user, z_item, {'exclude': exclude}, group)
    with raise_together(device, group):
        _check_free(path, ours)
        _check_number('user_ids', user_ids, len(z_user))
        _check_number('item_ids', item_ids, ranking.num_items)
    users = torch.arange(len(z_user), dtype=torch.int64, device=device)
    score, item = ranking.top(users, min(k, ranking.num_items), 2048, None)
    first = ranking.user_starts[rank]
    rows: NDArray[Any] = np.arange(first, first + len(users))
    with raise_together(device, group):
        num_rows = write_recommendations(
            path / ours[rank],
            users,
            lambda batch: (score[batch], item[batch]),
            user_ids=rows if user_ids is None else user_ids,
            item_ids=np.arange(ranking.num_items) if item_ids is None else item_ids,
            batch_size=batch_size,
        )
    return num_rows


def _check_free(folder: Path, names: Sequence[str]) -> None:
    others = sorted({file.name for file in folder.glob('*.parquet')} - set(names))
    if others:
        raise ValueError(f'{folder} holds {others[0]}, which this run would not replace; empty it')


def _check_number(name: str, ids: Ids | None, number: int) -> None:
    if ids is not None and len(ids) != number:
        raise ValueError(f"'{name}' must have {number} entries, one for each row (got {len(ids)})")


class _Ranking:
    """Embeddings and interactions of a process, checked, and their best items."""

    def __init__(
        self, z_user: Tensor, z_item: Tensor, pairs: dict[str, Tensor | None], group: Group
    ) -> None:
        self.group, self.z_user, self.z_item = group, z_user.detach(), z_item.detach()
        device = z_user.device
        self.user_starts = starts_of(len(z_user), device, group)
        self.item_starts = starts_of(len(z_item), device, group)
        self.num_items = self.item_starts[-1]
        self.keys = {}
        size = len(z_user), self.num_items
        with raise_together(device, group):
            check_embeddings(z_user, z_item)
            if z_user.layout != torch.strided:
                raise ValueError("'z_user' and 'z_item' must be dense; call '.to_dense()'")
            for name, pair in pairs.items():
                pair = torch.empty(2, 0, dtype=torch.int64) if pair is None else pair
                self.keys[name] = sorted_keys(name, pair, size, device)
            if 'target' in pairs and self.keys['target'].numel() > 0:
                every = torch.arange(self.num_items, dtype=torch.int64, device=device)
                check_findable(self.keys['target'], self.keys['exclude'], every, self.num_items)
        if 'target' in pairs:
            targets = torch.tensor(self.keys['target'].numel(), device=device)
            if int(sum_over(targets, group)) == 0:
                raise ValueError("'target' is empty; there is no held-out interaction to evaluate")

    def top(
        self, users: Tensor, k: int, batch_size: int, tie_seed: int | None
    ) -> tuple[Tensor, Tensor]:
        """Return scores and items of some users, of shape ``[N, k]``; see :class:`TopItems`."""
        score = self.z_user.new_full((len(users), k), float('-inf'))
        item = torch.full((len(users), k), -1, dtype=torch.int64, device=users.device)
        user, seen = (
            self.keys['exclude'].div(self.num_items, rounding_mode='floor'),
            self.keys['exclude'] % self.num_items,
        )
        first_user = self.user_starts[place_in(self.group)[0]]
        for owner, before, rows in visit(self.z_item, self.group, PIECE):
            if len(rows) == 0 or len(users) == 0:
                continue
            start = self.item_starts[owner] + before
            here = (seen >= start) & (seen < start + len(rows))
            excluded = user[here] * len(rows) + seen[here] - start
            every = torch.arange(len(rows), dtype=torch.int64, device=rows.device)
            top = TopItems(
                self.z_user, rows, excluded, every, tie_seed=tie_seed, first=(first_user, start)
            )
            more, found = top(users, min(k, len(rows)), batch_size)
            found = torch.where(found >= 0, found + start, found)
            score, item = merge_top_items(
                torch.cat([score.to(more.dtype), more], dim=1),
                torch.cat([item, found], dim=1),
                users + first_user,
                k,
                tie_seed,
            )
        return score, item
