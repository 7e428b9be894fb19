import torch
from torch import Tensor

__all__ = ['inverse_length', 'unit_length', 'usual_length']

USUAL = (1e-9, 1e15)  # Largest numbers of rows whose squares neither under- nor overflow.


def unit_length(x: Tensor) -> Tensor:
    """Return the rows scaled to unit length; a row of zeros stays zero.

    The numbers are those of :func:`torch.nn.functional.normalize`; with its gradient, this takes
    half the time. Half precision is computed in float32.

    Args:
        x: Shape: ``[*, channels]``.

    Returns:
        Shape: that of :obj:`x`.
    """
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    # Not vecdot, which autocast would compute in half precision.
    square = (wide * wide).sum(dim=-1, keepdim=True)
    return (wide * square.clamp(min=1e-24).rsqrt()).to(x.dtype)


def inverse_length(x: Tensor) -> Tensor:
    """Return the factor of each row in :func:`unit_length`, in float64. Shape: ``[*]``."""
    return x.double().square().sum(dim=-1).clamp(min=1e-24).rsqrt()


def usual_length(x: Tensor) -> Tensor:
    """Return rows of features with very short and very long ones scaled to a maximum of 1.

    Their squares would under- or overflow, which loses the direction. Others stay as they are.

    Args:
        x: Shape: ``[*, channels]``.

    Returns:
        Shape: that of :obj:`x`.
    """
    largest = x.detach().abs().amax(dim=-1, keepdim=True)
    is_unusual = (largest > 0) & ((largest < USUAL[0]) | (largest > USUAL[1]))
    return x / torch.where(is_unusual, largest, 1.0)
