"""Sums of the vectors of listed items, dense or sparse."""

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_mmgef.sparse._scipy import as_scipy

__all__ = ['list_sums']

BLOCK = 2**14  # Lists at a time.


def list_sums(items: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return :math:`\lVert \sum_i \mathbf{v}_i \rVert^2` and :math:`\sum_i \lVert \mathbf{v}_i
    \rVert^2` of each list, with vectors :math:`\mathbf{v}_i` of unit length or of zeros.

    Args:
        items: Lists of items, -1 where a list is shorter. Shape: ``[N, k]``.
        features: Vectors, dense or a sparse CSR tensor. Shape: ``[num_items, channels]``.

    Returns:
        Both of shape ``[N]``.
    """
    shown, place = items.unique(return_inverse=True)
    sums = _sparse_sums if features.layout == torch.sparse_csr else _dense_sums
    return sums(shown, place, features)


def _dense_sums(shown: Tensor, place: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    row = features[shown.clamp(min=0).to(features.device)].to(shown.device)
    row = row.to(torch.promote_types(row.dtype, torch.float32))
    # Scaled by its largest number, no row's square over- or underflows.
    largest = row.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(row.dtype).tiny)
    row = F.normalize(row / largest, dim=1).masked_fill_(shown[:, None] < 0, 0)
    square = [
        F.embedding_bag(part, row, mode='sum').square().sum(dim=1) for part in place.split(BLOCK)
    ]
    return torch.cat(square), row.square().sum(dim=1)[place].sum(dim=1)


def _sparse_sums(shown: Tensor, place: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    row = as_scipy(features)[shown.clamp(min=0).cpu().numpy()].astype(np.float64)
    length = np.sqrt(row.power(2).sum(axis=1)) * (shown >= 0).cpu().numpy()
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    row = sp.dia_array((scale[None], 0), shape=(len(scale), len(scale))).tocsr() @ row
    square = []
    for part in place.cpu().split(BLOCK):
        start = np.arange(0, part.numel() + 1, part.size(1))
        one = np.ones(part.numel())
        lists = sp.csr_array((one, part.numpy().ravel(), start), shape=(len(part), len(scale)))
        square.append((lists @ row).power(2).sum(axis=1))
    own = (length > 0)[place.cpu().numpy()].sum(axis=1)
    return (
        torch.from_numpy(np.concatenate(square)).to(place.device),
        torch.from_numpy(own).to(place.device),
    )
