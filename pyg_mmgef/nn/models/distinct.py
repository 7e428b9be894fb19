import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_mmgef.validate import check_ids

__all__ = ['distinct', 'restore']


def distinct(
    name: str, ids: Tensor | None, num_nodes: int, end: str
) -> tuple[Tensor | None, Tensor | None]:
    """Return each id once, in order, and the place of every id among them.

    Args:
        name: The argument's name, for the message.
        ids: Node ids of any shape; :obj:`None`, for all nodes, stays :obj:`None`.
        num_nodes: Number of nodes.
        end: What the ids are of, such as ``'user'``, for the message.

    Raises:
        ValueError: If :obj:`ids` are no integers or out of range.
    """
    if ids is None:
        return None, None
    rows, place = torch.unique(ids, return_inverse=True)
    check_ids(name, rows, num_nodes, end)
    return rows.long(), place


def restore(z: Tensor, place: Tensor | None) -> Tensor:
    """Return the row of every id, in the shape of the ids."""
    # Its gradient adds up in one order, whatever the number of threads; that of `z[place]` doesn't.
    return z if place is None else F.embedding(place, z)
