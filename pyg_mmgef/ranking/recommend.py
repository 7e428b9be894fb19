from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_mmgef.ranking._inputs import candidate_items, check_embeddings, pair_keys
from pyg_mmgef.ranking.scoring import top_items
from pyg_mmgef.validate import check_ids, check_positive

__all__ = ['Recommendations', 'recommend']


class Recommendations(NamedTuple):
    """The best items of each user, best first. Shape of both: ``[N, k]``."""

    scores: Tensor
    """Scores; ``-inf`` where there is no item."""
    items: Tensor
    """Item ids; -1 where there is no item."""


@torch.no_grad()
def recommend(
    z_user: Tensor,
    z_item: Tensor,
    users: Tensor | None = None,
    *,
    k: int = 10,
    exclude: Tensor | None = None,
    candidates: Tensor | None = None,
    batch_size: int = 2048,
) -> Recommendations:
    r"""Recommend items: the :obj:`k` with the largest :math:`\mathbf{z}_u^{\top} \mathbf{z}_i`.

    Args:
        z_user: User embeddings, dense or a sparse CSR tensor. Shape: ``[num_users, channels]``.
        z_item: Item embeddings, dense, or a sparse CSR tensor if :obj:`z_user` is one too.
            Shape: ``[num_items, channels]``.
        users: Users to recommend to; :obj:`None` means all. Shape: ``[N]``.
            (default: :obj:`None`)
        k: Number of items per user. (default: ``10``)
        exclude: Interactions (user, item) whose items are not recommended to the user again.
            Shape: ``[2, E]``. (default: :obj:`None`)
        candidates: The items to choose from; :obj:`None` means all. (default: :obj:`None`)
        batch_size: Maximum number of users ranked at a time; fewer if their scores would take more
            than 128 MiB. (default: ``2048``)

    Returns:
        A named tuple (scores, items), both of shape ``[N, k]``, best first and among equal scores
        the lower id first. On the CPU, the score of a pair doesn't depend on the batch or on the
        other pairs, so items with equal embeddings have equal scores. Scores of half precision
        embeddings are float32. If a user has fewer than :obj:`k` items left, the row is padded with
        the score ``-inf`` and the id -1.

    Raises:
        ValueError: If embeddings aren't finite, or neither dense nor CSR, their inner products
            overflow, ids are out of range, or :obj:`k` isn't positive.

    Example:
        >>> z_user, z_item = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.2]])
        >>> recommend(z_user, z_item, k=2, exclude=torch.tensor([[1], [1]])).items
        tensor([[0, 2],
                [2, 0]])
    """
    check_embeddings(z_user, z_item)
    check_positive('k', k)
    if users is None:
        users = torch.arange(z_user.size(0), device=z_user.device)
    check_ids('users', users, z_user.size(0), 'user')
    users = users.long().to(z_user.device)
    candidates = candidate_items(candidates, z_item)
    excluded = pair_keys('exclude', exclude, z_user, z_item)
    shown = min(k, candidates.numel())
    score, item = top_items(z_user, z_item, users, shown, excluded, candidates, batch_size)
    missing = (0, k - shown)
    return Recommendations(
        F.pad(score, missing, value=float('-inf')), F.pad(item, missing, value=-1)
    )
