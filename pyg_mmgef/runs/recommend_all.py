import os
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyg_mmgef.catalog import Rules, item_covariance, score_spread
from pyg_mmgef.ranking import recommend_to_parquet
from pyg_mmgef.ranking.bulk import Search
from pyg_mmgef.runs.export import ExportableRun

__all__ = ['recommend_all']

ROWS = 2**16  # Users whose unit of boosts is computed at a time.
BATCH = {False: 2**15, True: 2**13}  # Lists of candidates are long where rules choose among them.


def recommend_all(
    run: ExportableRun,
    path: str | os.PathLike[str],
    *,
    k: int = 10,
    users: Tensor | None = None,
    rules: Rules | None = None,
    verbose: bool = False,
) -> int:
    """Write the recommendations of all users to a Parquet file, by the rules of the shop.

    See :func:`~pyg_mmgef.ranking.recommend_to_parquet`. Items that a user has are left out, those
    of validation and test included, unless the rules allow repeats.

    Args:
        run: The run.
        path: The file. Its columns are ``user``, ``rank``, ``item`` and ``score``.
        k: Number of items per user. (default: ``10``)
        users: Rows of the users; :obj:`None` means all. Shape: ``[N]``. (default: :obj:`None`)
        rules: What may be recommended, and what comes first; :obj:`None` means ``Rules()``.
            (default: :obj:`None`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        The number of rows.

    Raises:
        ValueError: If the rules name an item or a field that the catalog lacks, or allow no item,
            or ask for boosts or diversity of a model without dense embeddings.
    """
    rules = Rules() if rules is None else rules
    allowed = rules.allowed(run.catalog)
    z_user, z_item = run.z_user.detach().cpu(), run.z_item.detach().cpu()
    reorders = bool(rules.max_per or rules.pin or rules.diversity)
    if z_user.layout != torch.strided and (rules.boost or rules.pin or rules.diversity):
        raise ValueError(
            f'{type(run.model).__name__} has a channel for each item, which boosts, pinned items '
            'and diversity do not fit; use rules without them, or a model with dense embeddings'
        )
    vectors = z_item.float().numpy() if rules.diversity else None
    exclude = None if rules.repeat else run.seen('val', 'test')
    if rules.boost:
        z_user, z_item = _boosted(z_user, z_item, rules.boosts(run.catalog))
    choose = None
    if reorders:
        pinned = _PinScores(z_user, z_item, run.catalog.rows_of(rules.pin, 'pin'), exclude)
        choose = partial(_choose, run, rules, k, pinned, vectors)
    return recommend_to_parquet(
        z_user,
        z_item,
        path,
        k=k,
        users=users,
        user_ids=run.user_ids.ids,
        item_ids=run.item_ids.ids,
        exclude=exclude,
        allowed=allowed,
        choose=choose,
        batch_size=BATCH[reorders],
        verbose=verbose,
    )


def _boosted(z_user: Tensor, z_item: Tensor, boosts: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Return embeddings with one more channel, so that inner products have the boosts in them."""
    covariance = item_covariance(z_item.numpy())
    units = [score_spread(rows.numpy(), covariance) for rows in z_user.split(ROWS)]
    unit = torch.from_numpy(np.concatenate(units)).to(z_user.dtype)
    boost = torch.from_numpy(boosts).to(z_item.dtype)
    return torch.cat([z_user, unit[:, None]], dim=1), torch.cat([z_item, boost[:, None]], dim=1)


class _PinScores:
    """The scores of pinned items, NaN where a user has the item."""

    def __init__(
        self, z_user: Tensor, z_item: Tensor, rows: NDArray[np.int64], exclude: Tensor | None
    ) -> None:
        self._z_user, self._rows = z_user, rows
        self._pinned = z_item[torch.from_numpy(rows)] if len(rows) else None
        user, item = torch.zeros(2, 0, dtype=torch.int64) if exclude is None else exclude.cpu()
        is_pinned = torch.isin(item, torch.from_numpy(rows))
        self._user, self._item = user[is_pinned].numpy(), item[is_pinned].numpy()

    def __call__(self, users: NDArray[np.int64]) -> NDArray[np.float32] | None:
        if self._pinned is None:
            return None
        scores = (self._z_user[torch.from_numpy(users)] @ self._pinned.t()).float().numpy()
        for column, row in enumerate(self._rows):
            scores[np.isin(users, self._user[self._item == row]), column] = np.nan
        return scores


def _choose(
    run: ExportableRun,
    rules: Rules,
    k: int,
    pin_scores: _PinScores,
    vectors: NDArray[np.float32] | None,
    users: NDArray[np.int64],
    search: Search,
) -> tuple[ArrayLike, ArrayLike]:
    found = rules.choose(
        run.catalog, search, len(users), k, pin_scores=pin_scores(users), vectors=vectors
    )
    return found.items, found.scores
