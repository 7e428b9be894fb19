"""The top lists of a run, and the groups of its users and items."""

from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.utils import coalesce

from pyg_mmgef._spelling import spelt
from pyg_mmgef.ranking import (
    Groups,
    TopLists,
    activity_groups,
    label_groups,
    popularity_groups,
)
from pyg_mmgef.runs.splits import NONE
from pyg_mmgef.schema import interactions, item_modalities, num_users_items, supervision_edges
from pyg_mmgef.sparse._csr import csr_tensor
from pyg_mmgef.validate import check_choice

if TYPE_CHECKING:
    from pyg_mmgef.runs.run import Run

__all__ = ['OWN', 'Part', 'check_has_held_out', 'item_vectors', 'run_groups', 'run_lists']

OWN = 'activity', 'popularity'
Part = Literal['val', 'test']


def run_lists(
    run: 'Run',
    part: Part,
    k: int,
    *,
    embeddings: tuple[Tensor, Tensor] | None = None,
    features: Tensor | None = None,
    hits_only: bool = False,
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
        hits_only: See :meth:`TopLists.rank`. (default: :obj:`False`)

    Raises:
        ValueError: If the length isn't positive, or larger than the number of items.
    """
    check_choice('part', part, get_args(Part))
    check_has_held_out(run)
    num_items = len(run.item_ids)
    if k > num_items:
        raise ValueError(
            f'{spelt("cutoff")} must be at most {num_items}, the number of items (got {k})'
        )
    if features is None and not hits_only:
        features = item_vectors(run.split[0])
    train = interactions(run.split[0])
    return TopLists.rank(
        *((run.z_user, run.z_item) if embeddings is None else embeddings),
        supervision_edges(run.val if part == 'val' else run.test),
        exclude=run.seen() if part == 'val' else run.seen('val'),
        k=k,
        popularity=coalesce(train)[1].bincount(minlength=num_items),
        features=features,
        hits_only=hits_only,
    )


def check_has_held_out(run: 'Run') -> None:
    """Raise a :class:`ValueError` for a run that was trained on all interactions."""
    if run.settings.split == NONE:
        raise ValueError(
            'the run was trained on all interactions, so there is no held-out interaction to '
            'rank; use the run that was refitted'
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
    item, user = coalesce(interactions(train).flip(0))
    pointer = F.pad(item.bincount(minlength=num_items).cumsum(0), (1, 0))
    ones = torch.ones(user.numel(), device=user.device)
    return csr_tensor(pointer, user, ones, (num_items, num_users))


def run_groups(run: 'Run', by: str, argument: str = 'by') -> Groups:
    """Return groups of the users or of the items of a run.

    Args:
        run: The run.
        by: ``'activity'`` of the users or ``'popularity'`` of the items in train, or a column of
            the item table.
        argument: The argument's name, for the message. (default: ``'by'``)

    Raises:
        ValueError: If there is no such column, or it is empty.
    """
    train, (num_users, num_items) = interactions(run.split[0]), num_users_items(run.split[0])
    if by == 'activity':
        return activity_groups(train, num_users)
    if by == 'popularity':
        return popularity_groups(train, num_items)
    fields = run.catalog.fields
    check_choice(argument, by, (*OWN, *fields))
    values = fields[by].tolist()
    labels = [None if value is None or value != value else str(value) for value in values]
    return label_groups(labels, 'item')
