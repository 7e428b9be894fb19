import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module

from pyg_mmgef._describe import describe
from pyg_mmgef.nn.loss._checks import check_pairs, checked_negatives, negative_scores
from pyg_mmgef.validate import check_not_negative

__all__ = ['BPRLoss']


class BPRLoss(Module):
    r"""Bayesian personalised ranking, with L2 regularisation of the batch's embeddings.

    .. math::
        \mathcal{L} = \frac{1}{B} \sum_{(u, i, n)} \left[ -\ln \sigma \left( \mathbf{z}_u^{\top}
        \mathbf{z}_i - \mathbf{z}_u^{\top} \mathbf{z}_n \right) + \frac{\lambda}{2}
        \left( \lVert \mathbf{z}_u \rVert^2 + \lVert \mathbf{z}_i \rVert^2 +
        \lVert \mathbf{z}_n \rVert^2 \right) \right]

    from `"BPR: Bayesian Personalized Ranking from Implicit Feedback"
    <https://arxiv.org/abs/1205.2618>`_. With several negatives per positive, their terms are
    averaged. The penalty falls on what is passed in, usually the final embeddings; LightGCN's paper
    penalises those of layer 0, which is ``LightGCN(embedding_l2=...)`` with ``BPRLoss(l2=0)``.

    Args:
        l2: The weight :math:`\lambda`. (default: ``1e-3``)

    Shapes:
        - **input:** embeddings of users :math:`(B, F)`, items :math:`(B, F)` and negatives
          :math:`(B, F)`, :math:`(B, N, F)` or, shared by all users, :math:`(1, N, F)`
        - **output:** a scalar

    Raises:
        ValueError: If :obj:`l2` is negative, or shapes don't fit.

    Example:
        >>> z = torch.zeros(4, 8)
        >>> BPRLoss()(z, z, z)
        tensor(0.6931)
    """

    def __init__(self, l2: float = 1e-3) -> None:
        super().__init__()
        check_not_negative('l2', l2)
        self.l2 = l2

    def forward(self, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of a batch of triplets; the class docstring has the shapes."""
        check_pairs(user, item)
        negative = checked_negatives(negative, user, at_least=1)
        if negative.size(0) == user.size(0):
            # One inner product with the difference, whose gradient costs as much as that of one.
            margin = (user[:, None] * (negative - item[:, None])).sum(dim=-1)
        else:
            margin = negative_scores(user, negative) - (user * item).sum(dim=-1, keepdim=True)
        loss = F.softplus(margin).mean()
        if self.l2 == 0:
            return loss
        penalty = sum((z * z).sum(dim=-1).mean() for z in (user, item, negative))
        return loss + self.l2 / 2 * penalty

    def __repr__(self) -> str:
        return describe(self)
