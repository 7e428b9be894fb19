"""The top lists of a run, and the groups of its users and items."""

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.ranking import (
    Groups,
    TopLists,
    activity_groups,
    label_groups,
    popularity_groups,
)
from pyg_mmgef.schema import interactions, item_modalities, num_users_items, supervision_edges
from pyg_mmgef.sparse._csr import csr_tensor

if TYPE_CHECKING:
    from pyg_mmgef.runs.run import Run

__all__ = ['Part', 'item_vectors', 'run_groups', 'top_lists']

Part = Literal['val', 'test']


def top_lists(
    run: 'Run',
    part: Part,
    k: int,
    *,
    embeddings: tuple[Tensor, Tensor] | None = None,
    features: Tensor | None = None,
) -> TopLists:
    """Return the best items that each user with a held-out item hadn't had.

    Args:
        run: The run.
        part: The held-out part.
        k: Length of the lists.
        embeddings: Those of another model for the same data; :obj:`None` means those of the run.
            (default: :obj:`None`)
        features: Vector of each item for the diversity of lists; :obj:`None` means
            :func:`item_vectors`. (default: :obj:`None`)
    """
    train = interactions(run.train)
    return TopLists.rank(
        *((run.z_user, run.z_item) if embeddings is None else embeddings),
        supervision_edges(run.val if part == 'val' else run.test),
        exclude=run.seen() if part == 'val' else run.seen('val'),
        k=k,
        popularity=train.unique(dim=1)[1].bincount(minlength=len(run.item_ids)),
        features=item_vectors(run.train) if features is None else features,
    )


def item_vectors(train: HeteroData) -> Tensor:
    """Return vectors that don't depend on a model: the items' content, or without any their users.

    Returns:
        Shape: ``[num_items, channels]``; a sparse CSR tensor if these are the users.
    """
    x, _ = item_modalities(train)
    if x:
        return torch.cat([F.normalize(row.float(), dim=1) for row in x.values()], dim=1)
    num_users, num_items = num_users_items(train)
    item, user = interactions(train).flip(0).unique(dim=1)
    pointer = F.pad(item.bincount(minlength=num_items).cumsum(0), (1, 0))
    ones = torch.ones(user.numel(), device=user.device)
    return csr_tensor(pointer, user, ones, (num_items, num_users))


def run_groups(run: 'Run', by: str) -> Groups:
    """Return groups of the users or of the items of a run.

    Args:
        run: The run.
        by: ``'activity'`` of the users or ``'popularity'`` of the items in train, or a column of
            the item table.

    Raises:
        ValueError: If there is no such column, or it is empty.
    """
    train, (num_users, num_items) = interactions(run.train), num_users_items(run.train)
    if by == 'activity':
        return activity_groups(train, num_users)
    if by == 'popularity':
        return popularity_groups(train, num_items)
    fields = run.catalog.fields
    if by not in fields:
        known = ', '.join(map(repr, ('activity', 'popularity', *fields)))
        raise ValueError(f'there are no groups {by!r}; choose from {known}')
    values = fields[by].tolist()
    labels = [None if value is None or value != value else str(value) for value in values]
    return label_groups(labels, 'item')
