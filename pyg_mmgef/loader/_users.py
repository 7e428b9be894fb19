"""Sampling of interactions, uniform over users."""

import torch
from torch import Tensor
from torch_geometric.utils import cumsum

__all__ = ['UserSampler']


class UserSampler:
    """Sample a user uniformly, and then one of the user's interactions uniformly.

    Args:
        users: The user of each interaction. Shape: ``[E]``.
    """

    def __init__(self, users: Tensor) -> None:
        users, self.by_user = users.cpu().sort(stable=True)
        _, self.degree = users.unique_consecutive(return_counts=True)
        self.start = cumsum(self.degree)[:-1]

    def __call__(self, size: int, generator: torch.Generator) -> Tensor:
        """Return the positions of :obj:`size` interactions, sampled with replacement."""
        row = torch.randint(self.degree.numel(), (size,), generator=generator)
        number = torch.rand(size, generator=generator, dtype=torch.double)
        degree = self.degree[row]
        return self.by_user[self.start[row] + (number * degree).long().clamp(max=degree - 1)]
