"""A batch of embeddings for the losses."""

import torch
from torch import Tensor


def triplets(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    user, item = (
        torch.randn(5, 3, generator=generator, dtype=torch.double).requires_grad_()
        for _ in range(2)
    )
    negative = torch.randn(5, *shape, 3, generator=generator, dtype=torch.double)
    return user, item, negative.requires_grad_()
