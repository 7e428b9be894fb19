"""Conversion to SciPy, in a module of its own because importing SciPy takes a while."""

import scipy.sparse as sp
from torch import Tensor

__all__ = ['as_scipy']


def as_scipy(matrix: Tensor) -> sp.csr_array:
    """Return a sparse CSR tensor as an array of SciPy, on the CPU."""
    parts = matrix.values(), matrix.col_indices(), matrix.crow_indices()
    return sp.csr_array(tuple(part.cpu().numpy() for part in parts), shape=tuple(matrix.shape))
