import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_mmgef.nn.unit_length import unit_length

__all__ = ['info_nce']


def info_nce(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    r"""Tell by direction which row of one matrix belongs to a row of the other.

    .. math::
        \mathcal{L} = -\frac{1}{B} \sum_{i=1}^{B} \ln \frac
        {\exp(\cos(\mathbf{a}_i, \mathbf{b}_i) / \tau)}
        {\sum_{j=1}^{B} \exp(\cos(\mathbf{a}_i, \mathbf{b}_j) / \tau)}

    from `"Representation Learning with Contrastive Predictive Coding"
    <https://arxiv.org/abs/1807.03748>`_ with cosines as scores: two views of the same thing draw
    together, and the other rows are the negatives. The rows of :obj:`b` are the classes, so the
    loss isn't symmetric; ``(info_nce(a, b, t) + info_nce(b, a, t)) / 2`` is. A row of zeros has
    the cosine 0 to every other.

    Args:
        a: One view of each thing. Shape: ``[B, channels]``.
        b: Another, in the same order; things should differ, as two equal ones would be negatives
            of each other. Shape: ``[B, channels]``.
        temperature: The temperature :math:`\tau`.

    Returns:
        A scalar; the memory that it needs grows with :math:`B^2`.

    Raises:
        ValueError: If shapes don't fit or there is no row, or :obj:`temperature` isn't positive.

    Example:
        >>> x = torch.eye(4)
        >>> info_nce(x, 2 * x, temperature=1.0)
        tensor(0.7437)
    """
    if a.dim() != 2 or a.shape != b.shape:
        raise ValueError(
            f"'a' and 'b' must both have shape [B, channels] (got {list(a.shape)} and "
            f'{list(b.shape)})'
        )
    if a.size(0) == 0:
        raise ValueError("'a' and 'b' hold no row; the mean over an empty batch is undefined")
    if not 0 < temperature < float('inf'):
        raise ValueError(f"'temperature' must be positive and finite (got {temperature})")
    score = (unit_length(a) / temperature) @ unit_length(b).t()
    return F.cross_entropy(score, torch.arange(a.size(0), device=a.device))
