"""Metrics of each user's ranking, from the ranks of the targets."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch_geometric.utils import cumsum

__all__ = ['METRICS', 'ranking_metrics']


def ranking_metrics(
    hit: Tensor, num_targets: Tensor, k: Sequence[int], metrics: Sequence[str]
) -> dict[str, Tensor]:
    r"""Return the metrics of each user's ranking.

    With :math:`h_r = 1` if the item at rank :math:`r` is a target and 0 otherwise, and :math:`n`
    the user's number of targets, they are at the cut-off :math:`k`

    .. math::
        \mathrm{recall} &= \frac{1}{n} \sum_{r \leq k} h_r \qquad
        \mathrm{precision} = \frac{1}{k} \sum_{r \leq k} h_r \\
        \mathrm{ndcg} &= \sum_{r \leq k} \frac{h_r}{\log_2 (r + 1)} \Big/
        \sum_{r \leq \min(k, n)} \frac{1}{\log_2 (r + 1)} \\
        \mathrm{map} &= \frac{1}{\min(k, n)} \sum_{r \leq k} \frac{h_r}{r} \sum_{s \leq r} h_s \\
        \mathrm{mrr} &= \max_{r \leq k} \frac{h_r}{r} \qquad
        \mathrm{hit\_ratio} = \max_{r \leq k} h_r,

    as in PyG's :class:`~torch_geometric.metrics.LinkPredRecall`, ``LinkPredPrecision``,
    ``LinkPredNDCG``, ``LinkPredMAP``, ``LinkPredMRR`` and ``LinkPredHitRatio``.

    Args:
        hit: Whether the item at each rank is a target, best rank first, boolean.
            Shape: ``[num_users, K]``.
        num_targets: Number of targets of each user, at least 1. Shape: ``[num_users]``.
        k: Cut-offs, each in ``[1, K]``.
        metrics: Some of the names in :obj:`METRICS`.

    Returns:
        The metrics by name, such as ``'recall@20'``, float32, each of shape ``[num_users]``.

    Example:
        >>> hit = torch.tensor([[True, False, False], [False, False, True]])
        >>> ranking_metrics(hit, torch.tensor([1, 4]), (1, 3), ('recall', 'mrr'))['recall@3']
        tensor([1.0000, 0.2500])
    """
    return {
        f'{name}@{cutoff}': METRICS[name](hit[:, :cutoff].float(), num_targets)
        for name in metrics
        for cutoff in k
    }


def _ranks(hit: Tensor) -> Tensor:
    return torch.arange(1, hit.size(1) + 1, dtype=hit.dtype, device=hit.device)


def _recall(hit: Tensor, num_targets: Tensor) -> Tensor:
    return hit.sum(dim=1) / num_targets


def _precision(hit: Tensor, num_targets: Tensor) -> Tensor:
    return hit.sum(dim=1) / hit.size(1)


def _ndcg(hit: Tensor, num_targets: Tensor) -> Tensor:
    gain = 1 / (_ranks(hit) + 1).log2()
    return (hit * gain).sum(dim=1) / cumsum(gain)[num_targets.clamp(max=hit.size(1))]


def _map(hit: Tensor, num_targets: Tensor) -> Tensor:
    precision = hit.cumsum(dim=1) / _ranks(hit)
    return (precision * hit).sum(dim=1) / num_targets.clamp(max=hit.size(1))


def _mrr(hit: Tensor, num_targets: Tensor) -> Tensor:
    return (hit / _ranks(hit)).amax(dim=1)


def _hit_ratio(hit: Tensor, num_targets: Tensor) -> Tensor:
    return hit.amax(dim=1)


METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'recall': _recall,
    'precision': _precision,
    'ndcg': _ndcg,
    'map': _map,
    'mrr': _mrr,
    'hit_ratio': _hit_ratio,
}
"""Functions of the hits, of shape ``[num_users, k]``, and the numbers of targets, by name."""
