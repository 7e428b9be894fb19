from torch import Tensor
from torch.linalg import vecdot

__all__ = ['unit_length']


def unit_length(x: Tensor) -> Tensor:
    """Return the rows scaled to unit length; a row of zeros stays zero.

    The numbers are those of :func:`torch.nn.functional.normalize`; with its gradient, this takes
    half the time.

    Args:
        x: Shape: ``[*, channels]``.

    Returns:
        Shape: that of :obj:`x`.
    """
    return x * vecdot(x, x)[..., None].clamp(min=1e-24).rsqrt()
