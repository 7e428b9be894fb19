"""Scores from sparse embeddings, which may have as many channels as there are items."""

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pyg_mmgef.sparse._scipy import as_scipy

__all__ = ['SparseScores']


class SparseScores:
    """Computes inner products of sparse user embeddings with items, for a block of users.

    SciPy multiplies the channels that both have, for tensors of every device: torch needs MKL for a
    product of two sparse matrices, and a GPU adds in another order each time, so the order of equal
    scores would not be reproducible.

    Args:
        z_user: User embeddings in CSR form, float32 or float64. Shape: ``[num_users, channels]``.
        z_item: Item embeddings of the same type, dense or in CSR form.
            Shape: ``[num_items, channels]``.
        candidates: The items to score. Shape: ``[C]``.
    """

    def __init__(self, z_user: Tensor, z_item: Tensor, candidates: Tensor) -> None:
        self._users = as_scipy(z_user)
        self._by_channel: sp.csr_array | np.ndarray
        if z_item.layout == torch.sparse_csr:
            self._by_channel = as_scipy(z_item)[candidates.cpu().numpy()].T.tocsr()
        else:
            self._by_channel = z_item[candidates].t().contiguous().cpu().numpy()

    def __call__(self, users: Tensor) -> Tensor:
        """Return the scores of some users. Shape: ``[len(users), C]``."""
        scores = self._users[users.cpu().numpy()] @ self._by_channel
        dense = scores.toarray() if sp.issparse(scores) else scores
        return torch.from_numpy(dense).to(users.device)
