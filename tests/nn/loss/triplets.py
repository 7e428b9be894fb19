"""A batch of embeddings for the losses."""

import torch
from torch import Tensor
from torch.nn import Module


def triplets(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    user, item = (
        torch.randn(5, 3, generator=generator, dtype=torch.double).requires_grad_()
        for _ in range(2)
    )
    negative = torch.randn(5, *shape, 3, generator=generator, dtype=torch.double)
    return user, item, negative.requires_grad_()


def check_shared_negatives(loss: Module) -> None:
    """Negatives given once must count like their copies for every user, gradients included."""
    user, item, negative = triplets(3)
    shared = negative[:1].detach().requires_grad_()
    once, copied = loss(user, item, shared), loss(user, item, shared.expand(5, 3, 3))
    torch.testing.assert_close(once, copied)
    inputs = user, item, shared
    torch.testing.assert_close(
        torch.autograd.grad(once, inputs), torch.autograd.grad(copied, inputs)
    )
