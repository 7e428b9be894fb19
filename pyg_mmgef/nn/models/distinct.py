import torch
from torch import Tensor

from pyg_mmgef.validate import check_increasing

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
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
        found = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise ValueError(f"'{name}' must be a tensor of {end} ids (got {found})")
    rows, place = torch.unique(ids.long(), return_inverse=True)
    check_increasing(name, rows, num_nodes, end)
    return rows, place


def restore(z: Tensor, place: Tensor | None) -> Tensor:
    """Return the row of every id, in the shape of the ids."""
    if place is None:
        return z
    # Its gradient adds up in one order, whatever the number of threads; that of `z[place]` doesn't.
    return z.index_select(0, place.view(-1)).view(*place.shape, z.size(1))
