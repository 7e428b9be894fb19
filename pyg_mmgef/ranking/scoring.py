"""Scores of users for items, in blocks of users, with seen items left out."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from pyg_mmgef.validate import check_edge_index, check_finite, check_ids, check_positive

__all__ = ['candidate_items', 'check_embeddings', 'top_k_blocks']


def check_embeddings(z_user: Tensor, z_item: Tensor) -> None:
    """Raise unless both are finite matrices of one width."""
    for name, z in (('z_user', z_user), ('z_item', z_item)):
        if z.dim() != 2 or not z.is_floating_point():
            raise ValueError(
                f"'{name}' must be a floating point matrix (got {list(z.shape)}, {z.dtype})"
            )
        check_finite(name, z)
    if z_user.size(1) != z_item.size(1):
        raise ValueError(
            f"'z_user' and 'z_item' must have the same number of channels (got "
            f'{z_user.size(1)} and {z_item.size(1)})'
        )


def candidate_items(candidates: Tensor | None, z_item: Tensor) -> Tensor:
    """Return the distinct ids of the items to rank, checked; all items for :obj:`None`."""
    if candidates is None:
        return torch.arange(z_item.size(0), device=z_item.device)
    check_ids('candidates', candidates, z_item.size(0), 'item')
    if candidates.numel() == 0:
        raise ValueError("'candidates' is empty; there is no item to rank")
    return candidates.long().unique().to(z_item.device)


def top_k_blocks(
    z_user: Tensor,
    z_item: Tensor,
    users: Tensor,
    k: int,
    exclude: Tensor | None,
    candidates: Tensor,
    batch_size: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rank the candidate items for some users, block by block.

    Yields:
        The positions in :obj:`users` of a block, shape ``[B]``, and its best scores and item ids,
        shape ``[B, k]``, best first; excluded items have the score ``-inf``.
    """
    check_positive('batch_size', batch_size)
    num_items = z_item.size(0)
    z_item = z_item[candidates]
    start, seen = _seen_positions(exclude, z_user.size(0), num_items, candidates)
    for block in torch.arange(users.numel(), device=users.device).split(batch_size):
        user = users[block]
        score = z_user[user] @ z_item.t()
        degree = start[user + 1] - start[user]
        row = torch.arange(user.numel(), device=user.device).repeat_interleave(degree)
        offset = torch.arange(row.numel(), device=user.device) - (degree.cumsum(0) - degree)[row]
        score[row, seen[start[user][row] + offset]] = float('-inf')
        best, position = score.topk(k, dim=1)
        yield block, best, candidates[position]


def _seen_positions(
    exclude: Tensor | None, num_users: int, num_items: int, candidates: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the excluded items of every user in CSR form, as positions among the candidates."""
    device = candidates.device
    if exclude is None:
        exclude = torch.empty(2, 0, dtype=torch.long)
    check_edge_index('exclude', exclude, (num_users, num_items), ('user', 'item'))
    position = torch.full((num_items,), -1, dtype=torch.long, device=device)
    position[candidates] = torch.arange(candidates.numel(), device=device)
    user, item = exclude.to(device).long()
    user, item = user[position[item] >= 0], position[item][position[item] >= 0]
    start = cumsum(torch.bincount(user, minlength=num_users))
    return start, item[user.argsort(stable=True)]
