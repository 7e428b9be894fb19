"""Construction of sparse CSR tensors, without torch's checks and its warning."""

import warnings

import torch
from torch import Tensor

__all__ = ['csr_tensor']


def csr_tensor(pointer: Tensor, index: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a sparse CSR tensor of the type and on the device of its values, without gradient.

    Callers pass a valid structure, so torch doesn't check it at every step.
    """
    return torch.sparse_csr_tensor(
        pointer,
        index,
        values,
        shape,
        dtype=values.dtype,
        device=values.device,
        check_invariants=False,
    )


# torch warns once per process that CSR is in beta. Warning filters belong to all threads, so the
# warning is triggered and suppressed here, at import.
with warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='Sparse CSR tensor support is in beta')
    csr_tensor(
        torch.zeros(1, dtype=torch.int64, device='cpu'),
        torch.zeros(0, dtype=torch.int64, device='cpu'),
        torch.zeros(0, dtype=torch.float32, device='cpu'),
        (0, 0),
    )
