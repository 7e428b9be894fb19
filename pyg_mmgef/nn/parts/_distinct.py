import torch
from torch import Tensor

from pyg_mmgef.validate import check_ids

__all__ = ['distinct', 'restore', 'select']


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
    ids = ids.long()
    check_ids(name, ids.view(-1), num_nodes, end)
    # Marking the nodes takes a quarter of the time of torch.unique, which sorts the ids.
    is_asked = torch.zeros(num_nodes, dtype=torch.bool, device=ids.device)
    is_asked[ids] = True
    rows = is_asked.nonzero().view(-1)
    place = torch.empty(num_nodes, dtype=torch.long, device=ids.device)
    place[rows] = torch.arange(rows.numel(), device=ids.device)
    return rows, place[ids]


def restore(z: Tensor, place: Tensor | None) -> Tensor:
    """Return the row of every id, in the shape of the ids."""
    if place is None:
        return z
    # Its gradient adds up in one order, whatever the number of threads; that of `z[place]` doesn't.
    return select(z, place.view(-1)).view(*place.shape, z.size(1))


def select(x: Tensor, rows: Tensor | None) -> Tensor:
    """Return some rows, or all for :obj:`None`."""
    return x if rows is None else x.index_select(0, rows)
