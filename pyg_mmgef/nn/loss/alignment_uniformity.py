import torch
from torch import Tensor
from torch.nn import Module

from pyg_mmgef._describe import describe
from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.loss._checks import check_pairs
from pyg_mmgef.validate import check_not_negative

__all__ = ['AlignmentUniformityLoss']

# Pairs of rows are computed in blocks that fit in a processor's cache.
ROWS_AT_ONCE = 256


class AlignmentUniformityLoss(Module):
    r"""DirectAU's loss: align a user with their item, spread users and items over the sphere.

    .. math::
        \mathcal{L} = \frac{1}{B} \sum_{(u, i)} \lVert \tilde{\mathbf{z}}_u -
        \tilde{\mathbf{z}}_i \rVert^2 + \frac{\gamma}{2} \left( \ell(\{u\}) + \ell(\{i\}) \right),
        \qquad \ell(\{x\}) = \ln \operatorname*{mean}_{x < y} \exp \left( -2 \lVert
        \tilde{\mathbf{z}}_x - \tilde{\mathbf{z}}_y \rVert^2 \right)

    from `"Towards Representation Alignment and Uniformity in Collaborative Filtering"
    <https://arxiv.org/abs/2206.12811>`_ (DirectAU), with :math:`\tilde{\mathbf{z}}` of unit length.
    The mean is over the pairs of rows of the batch, so it needs no negatives: use
    ``TripletLoader(..., num_negatives=0)``. As with the authors, a user or item that is in the
    batch twice is two rows. Theirs is :func:`torch.pdist`; on unit vectors,
    :math:`\lVert x - y \rVert^2 = 2 - 2 x^{\top} y` gives the same from one matrix product.
    A batch of one row has no pairs, so its loss is the alignment alone. Half precision is computed
    in float32.

    Args:
        gamma: The weight :math:`\gamma` of uniformity, worth tuning: the authors try values from
            0.01 to 10. (default: ``1.0``)

    Shapes:
        - **input:** embeddings of users :math:`(B, F)` and items :math:`(B, F)`; negatives
          aren't used
        - **output:** a scalar

    Raises:
        ValueError: If :obj:`gamma` is negative or shapes don't fit.

    Example:
        >>> z = torch.eye(4)
        >>> AlignmentUniformityLoss()(z, z)
        tensor(-4.)
    """

    def __init__(self, gamma: float = 1.0) -> None:
        super().__init__()
        check_not_negative('gamma', gamma)
        self.gamma = gamma

    def forward(self, user: Tensor, item: Tensor, negative: Tensor | None = None) -> Tensor:
        """Return the loss of a batch of pairs; the class docstring has the shapes."""
        check_pairs(user, item)
        dtype = user.dtype
        # The sum over all pairs, and its logarithm near zero, need more digits than half has.
        if dtype in (torch.float16, torch.bfloat16):
            user, item = user.float(), item.float()
        user, item = unit_length(user), unit_length(item)
        loss = (user - item).square().sum(dim=-1).mean()
        if user.size(0) > 1:  # One row has no pairs to spread.
            loss = loss + self.gamma / 2 * (_uniformity(user) + _uniformity(item))
        return loss.to(dtype)

    def __repr__(self) -> str:
        return describe(self)


def _uniformity(x: Tensor) -> Tensor:
    """Return ``ln mean exp(-2 |x - y|²)`` over the pairs of different rows, of unit length."""
    num_rows = x.size(0)
    x, total = 2 * x, x.new_zeros(())
    for start in range(0, num_rows, ROWS_AT_ONCE):
        # A row meets the later ones alone: what it has with itself is no pair.
        product = x[start : start + ROWS_AT_ONCE] @ x[start:].t()
        total = total + product.exp().triu(diagonal=1).sum(dtype=x.dtype)
    return (total / (num_rows * (num_rows - 1) / 2)).log() - 4
