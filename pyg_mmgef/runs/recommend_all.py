import os

import torch
from torch import Tensor

from pyg_mmgef.catalog import Rules
from pyg_mmgef.ranking import recommend_to_parquet, write_recommendations
from pyg_mmgef.runs._by_rules import RankingByRules
from pyg_mmgef.runs.run import Run
from pyg_mmgef.validate import check_ids

__all__ = ['recommend_all']

BATCH = 2**13  # Users among whose candidates rules choose at a time: their lists are long.


def recommend_all(
    run: Run,
    path: str | os.PathLike[str],
    *,
    k: int = 10,
    users: Tensor | None = None,
    rules: Rules | None = None,
    verbose: bool = False,
) -> int:
    """Write the recommendations of all users to a Parquet file, by the rules of the shop.

    The lists are those of :meth:`Run.recommend <pyg_mmgef.runs.Run.recommend>`, which holds all of
    them in memory; here only a batch of users is held, see
    :func:`~pyg_mmgef.ranking.recommend_to_parquet`.

    Args:
        run: The run.
        path: The file. Its columns are ``user``, ``rank``, ``item``, ``score``, and ``title`` where
            items have texts.
        k: Number of items per user. (default: ``10``)
        users: Rows of the users; :obj:`None` means all. Shape: ``[N]``. (default: :obj:`None`)
        rules: Business rules, such as what is in stock and what comes first; scores hold its
            boosts. (default: :obj:`None`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Returns:
        The number of rows.

    Raises:
        ValueError: If a row is out of range, :obj:`k` isn't positive, rules ask for fields or
            values that no item has, or for diversity of a model without embeddings.
    """
    z_user, z_item = run.z_user.detach(), run.z_item.detach()
    if users is None:
        users = torch.arange(len(run.user_ids), device=z_user.device)
    check_ids('users', users, len(run.user_ids), 'user')
    user_ids, item_ids, seen = run.user_ids.ids, run.item_ids.ids, run.all_interactions
    titles = run.titles if any(title is not None for title in run.titles) else None
    if rules is None or rules == Rules():
        return recommend_to_parquet(
            z_user,
            z_item,
            path,
            k=k,
            users=users,
            user_ids=user_ids,
            item_ids=item_ids,
            titles=titles,
            exclude=seen,
            verbose=verbose,
        )
    return write_recommendations(
        path,
        users,
        RankingByRules(z_user, z_item, users, rules, run.catalog, k=k, seen=seen),
        user_ids=user_ids,
        item_ids=item_ids,
        titles=titles,
        batch_size=BATCH,
        verbose=verbose,
    )
