"""Items with several pictures: one row for each picture, and the mean of an item's rows."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from pyg_mmgef.encoders.protocol import PathLike

__all__ = ['Pictures', 'flatten', 'items_of_rows', 'mean_of_groups']

Pictures = PathLike | None | Sequence[PathLike]
"""The picture of an item, or several."""


def flatten(pictures: Sequence[Pictures]) -> tuple[list[PathLike | None], list[int] | None]:
    """Return one entry for each picture, and each item's number of entries.

    An item without a picture has the entry :obj:`None`. The numbers are :obj:`None` if all are one.
    """
    groups = [_as_list(given) for given in pictures]
    sizes = [len(group) for group in groups]
    flat = [path for group in groups for path in group]
    return flat, sizes if any(size > 1 for size in sizes) else None


def items_of_rows(sizes: Sequence[int]) -> Tensor:
    """Return the item of each row."""
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.long))


def mean_of_groups(x: Tensor, has: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the mean of each item's vectors, of those that are present, and whether it has any."""
    item = items_of_rows(sizes)[has]
    mean = scatter(x[has], item, dim=0, dim_size=len(sizes), reduce='mean')
    return mean, torch.zeros(len(sizes), dtype=torch.bool).index_fill(0, item, True)


def _as_list(given: Pictures) -> list[PathLike | None]:
    if given is None or isinstance(given, (str, os.PathLike)):
        return [given]
    return list(given) or [None]
