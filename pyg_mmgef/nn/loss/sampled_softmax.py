import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module

from pyg_mmgef._describe import describe
from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.loss._checks import check_pairs, checked_negatives, negative_scores
from pyg_mmgef.validate import check_positive

__all__ = ['SampledSoftmaxLoss']


class SampledSoftmaxLoss(Module):
    r"""Softmax over a positive item and some negatives.

    .. math::
        \mathcal{L} = -\frac{1}{B} \sum_{(u, i)} \ln \frac{\exp(s_{ui} / \tau)}
        {\exp(s_{ui} / \tau) + \sum_{n \in \mathcal{N}_u} \exp(s_{un} / \tau)}

    from `"On the Effectiveness of Sampled Softmax Loss for Item Recommendation"
    <https://arxiv.org/abs/2201.02327>`_, with cosines as scores :math:`s`. The negatives
    :math:`\mathcal{N}_u` are the other items of the batch, which come in proportion to their
    popularity, and those that are passed in.

    An item of the batch that the user also has stays among the negatives, as the loss knows
    embeddings alone. Duplicates of the positive item
    scale its gradient down but do not flip its sign. A batch of one row without negatives has
    nothing to compare with: its loss is zero, and so is its gradient.

    A cosine doesn't depend on lengths, so there is no L2 on the embeddings here. Where scores are
    inner products, the optimiser's weight decay is the place for it.

    Cosines or inner products is a matter of the data. Inner products let an item's length say how
    popular it is, and overfit sooner. With LightGCN, cosines were better on Amazon Baby (Recall@20
    of validation .086 against .075) and inner products on Gowalla (.180 against .167). Embeddings
    that were trained on cosines may still be ranked by inner products, which was better on
    Baby, or by cosines, with ``F.normalize(z_item, dim=-1)`` as the items.

    Args:
        temperature: The temperature :math:`\tau`; the lower, the more the hardest negatives count.
            Worth tuning. (default: ``0.2``)
        normalize: Scores are cosines, the paper's form, or inner products. (default: :obj:`True`)
        in_batch: Take the other items of the batch as negatives, which pushes popular items down.
            Where popularity should count, pass many uniform negatives instead. This needs memory
            for :math:`B^2` scores, beside the :math:`B N` of those passed in.
            (default: :obj:`True`)

    Shapes:
        - **input:** embeddings of users :math:`(B, F)`, items :math:`(B, F)` and negatives
          :math:`(B, F)`, :math:`(B, N, F)` or, shared by all users, :math:`(1, N, F)`; with
          :obj:`in_batch`, :math:`N` may be zero
        - **output:** a scalar

    Raises:
        ValueError: If :obj:`temperature` isn't positive, shapes don't fit, or there is no negative.

    Example:
        >>> z = torch.eye(4)
        >>> SampledSoftmaxLoss(temperature=1.0)(z, z, torch.empty(4, 0, 4))
        tensor(0.7437)
    """

    def __init__(
        self, temperature: float = 0.2, normalize: bool = True, in_batch: bool = True
    ) -> None:
        super().__init__()
        check_positive('temperature', temperature, integer=False)
        self.temperature = temperature
        self.normalize = normalize
        self.in_batch = in_batch

    def forward(self, user: Tensor, item: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of a batch of triplets; the class docstring has the shapes."""
        check_pairs(user, item)
        negative = checked_negatives(negative, user, at_least=0 if self.in_batch else 1)
        is_shared = negative.size(0) == 1
        if self.normalize:
            user, item = unit_length(user), unit_length(item)
            negative = unit_length(negative) if is_shared else negative
        user = user / self.temperature
        negative_score = negative_scores(user, negative)
        if self.normalize and not is_shared:  # B x N scores, not B x N x F numbers.
            negative_score = negative_score / negative.norm(dim=-1).clamp(min=1e-12)
        if self.in_batch:
            score = torch.cat([user @ item.t(), negative_score], dim=1)
            return F.cross_entropy(score, torch.arange(user.size(0), device=user.device))
        positive_score = (user * item).sum(dim=-1, keepdim=True)
        score = torch.cat([positive_score, negative_score], dim=1)
        return (score.logsumexp(dim=1, keepdim=True) - positive_score).mean()

    def __repr__(self) -> str:
        return describe(self)
