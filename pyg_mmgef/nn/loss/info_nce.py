import torch
import torch.nn.functional as F
from torch import Tensor

from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.validate import check_positive

__all__ = ['info_nce', 'repeated_info_nce']


def info_nce(a: Tensor, b: Tensor, temperature: float, count: Tensor | None = None) -> Tensor:
    r"""InfoNCE loss between two views: row i of :obj:`a` should match row i of :obj:`b`.

    .. math::
        \mathcal{L} = -\frac{1}{B} \sum_{i=1}^{B} \ln \frac
        {\exp(\cos(\mathbf{a}_i, \mathbf{b}_i) / \tau)}
        {\sum_{j=1}^{B} \exp(\cos(\mathbf{a}_i, \mathbf{b}_j) / \tau)}

    from `"Representation Learning with Contrastive Predictive Coding"
    <https://arxiv.org/abs/1807.03748>`_ with cosines as scores: two views of the same thing move
    together, and the other rows are the negatives. The rows of :obj:`b` are the classes, so the
    loss isn't symmetric; ``(info_nce(a, b, t) + info_nce(b, a, t)) / 2`` is. A row of zeros has
    the cosine 0 to every other.

    Where things occur repeatedly, each is compared once: with :obj:`count`, the loss is that of a
    batch in which the row :math:`i` occurs :math:`c_i` times,

    .. math::
        \mathcal{L} = -\frac{1}{\sum_i c_i} \sum_i c_i \ln \frac
        {\exp(\cos(\mathbf{a}_i, \mathbf{b}_i) / \tau)}
        {\sum_j c_j \exp(\cos(\mathbf{a}_i, \mathbf{b}_j) / \tau)}

    Args:
        a: One view of each thing. Shape: ``[B, channels]``.
        b: Another, in the same order; things that occur twice are negatives of each other. Shape:
            ``[B, channels]``.
        temperature: The temperature :math:`\tau`.
        count: How often each thing occurs, :math:`c_i`; :obj:`None` means once. Shape: ``[B]``.
            (default: :obj:`None`)

    Returns:
        A scalar; the memory that it needs grows with :math:`B^2`.

    Raises:
        ValueError: If shapes don't fit or there is no row, :obj:`temperature` isn't positive, or
            :obj:`count` holds negative numbers or zeros alone.

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
    check_positive('temperature', temperature, integer=False)
    a, b = unit_length(a) / temperature, unit_length(b)
    score = a @ b.t()
    if count is None:
        return F.cross_entropy(score, torch.arange(a.size(0), device=a.device))
    if count.shape != a.shape[:1]:
        raise ValueError(f"'count' must have shape [{a.size(0)}] (got {list(count.shape)})")
    is_known = count.device.type != 'meta' and not torch.compiler.is_compiling()
    if is_known and not (bool((count >= 0).all()) and bool(count.any())):
        raise ValueError("'count' must hold numbers that are not negative, and not zeros alone")
    weight = count.to(score.dtype)
    term = (score + weight.log()).logsumexp(dim=1) - (a * b).sum(dim=1)
    return (weight * term).sum() / weight.sum()


def repeated_info_nce(a: Tensor, b: Tensor, temperature: float, count: Tensor) -> Tensor:
    """Return :func:`info_nce` with counts, without comparing the rows that don't occur."""
    rows = count.nonzero().view(-1)
    a, b, count = (x.index_select(0, rows) for x in (a, b, count))
    return info_nce(a, b, temperature, count)
