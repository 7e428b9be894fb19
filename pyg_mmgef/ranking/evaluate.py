from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_mmgef.ranking._inputs import (
    candidate_items,
    check_embeddings,
    checked_cutoffs,
    pair_keys,
)
from pyg_mmgef.ranking.metrics import METRICS, ranking_metrics
from pyg_mmgef.ranking.scoring import top_items
from pyg_mmgef.validate import check_choice

__all__ = ['evaluate_ranking', 'per_user_metrics']

BLOCK_TARGETS = 2**18  # Targets compared at a time: 42 MB of items at k = 20.
DEFAULT = ('recall', 'precision', 'ndcg')


def evaluate_ranking(
    z_user: Tensor,
    z_item: Tensor,
    target: Tensor,
    *,
    exclude: Tensor | None = None,
    k: int | Sequence[int] = (10, 20),
    metrics: str | Sequence[str] = DEFAULT,
    candidates: Tensor | None = None,
    batch_size: int = 2048,
    tie_seed: int = 0,
) -> dict[str, float]:
    r"""Rank all items for every user with a held-out item, and return the mean metrics.

    The score of an item is :math:`\mathbf{z}_u^{\top} \mathbf{z}_i`. The metrics are those of PyG's
    :class:`~torch_geometric.metrics.LinkPredRecall`, ``LinkPredPrecision`` and so on with binary
    relevance, averaged over the users of :obj:`target`: the full-ranking protocol of LightGCN and
    MMRec. :func:`per_user_metrics` returns the values of each user.

    Args:
        z_user: User embeddings, dense or a sparse CSR tensor. Shape: ``[num_users, channels]``.
        z_item: Item embeddings, dense, or a sparse CSR tensor if :obj:`z_user` is one too.
            Shape: ``[num_items, channels]``.
        target: Held-out interactions (user, item). Shape: ``[2, E]``.
        exclude: Interactions whose items are left out of the user's ranking, usually those of
            train. Shape: ``[2, E']``. (default: :obj:`None`)
        k: Cut-offs. (default: ``(10, 20)``)
        metrics: Any of ``'recall'``, ``'precision'``, ``'ndcg'``, ``'map'``, ``'mrr'`` and
            ``'hit_ratio'``. (default: ``('recall', 'precision', 'ndcg')``)
        candidates: The items to rank; :obj:`None` ranks all. (default: :obj:`None`)
        batch_size: Maximum number of users ranked at a time; fewer if their scores would take more
            than 128 MiB. (default: ``2048``)
        tie_seed: Seed of the random order of equal scores, which differs between users. So a model
            that gives all items one score ranks at random, however items are numbered.
            (default: ``0``)

    Returns:
        The metrics by name, such as ``'recall@20'``.

    Raises:
        ValueError: If embeddings aren't finite, or neither dense nor CSR, or their inner products
            overflow; if ids are out of range;
            if :obj:`target` is empty, overlaps :obj:`exclude` or has items that are not among the
            :obj:`candidates`; if a cut-off exceeds the number of candidates, or a metric is
            unknown.

    Example:
        >>> z_user, z_item = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
        >>> target = torch.tensor([[0, 1], [0, 2]])
        >>> evaluate_ranking(z_user, z_item, target, k=1)
        {'recall@1': 0.5, 'precision@1': 0.5, 'ndcg@1': 0.5}
    """
    _, values = per_user_metrics(
        z_user,
        z_item,
        target,
        exclude=exclude,
        k=k,
        metrics=metrics,
        candidates=candidates,
        batch_size=batch_size,
        tie_seed=tie_seed,
    )
    return {name: float(value.cpu().double().mean()) for name, value in values.items()}


@torch.no_grad()
def per_user_metrics(
    z_user: Tensor,
    z_item: Tensor,
    target: Tensor,
    *,
    exclude: Tensor | None = None,
    k: int | Sequence[int] = (10, 20),
    metrics: str | Sequence[str] = DEFAULT,
    candidates: Tensor | None = None,
    batch_size: int = 2048,
    tie_seed: int = 0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Rank as :func:`evaluate_ranking`, and return the metrics of each user.

    Two models evaluated on the same :obj:`target` have the same users in the same order, so a
    paired test of significance can compare them.

    Args:
        z_user: User embeddings. Shape: ``[num_users, channels]``.
        z_item: Item embeddings. Shape: ``[num_items, channels]``.
        target: Held-out interactions (user, item). Shape: ``[2, E]``.
        exclude: Interactions whose items are left out of the user's ranking. Shape: ``[2, E']``.
            (default: :obj:`None`)
        k: Cut-offs. (default: ``(10, 20)``)
        metrics: Names of metrics. (default: ``('recall', 'precision', 'ndcg')``)
        candidates: The items to rank; :obj:`None` ranks all. (default: :obj:`None`)
        batch_size: Maximum number of users ranked at a time. (default: ``2048``)
        tie_seed: Seed of the random order of equal scores. (default: ``0``)

    Returns:
        The ``N`` users of :obj:`target`, sorted, of shape ``[N]``, and their metrics by name, such
        as ``'recall@20'``, float32, each of shape ``[N]``.

    Raises:
        ValueError: As :func:`evaluate_ranking`.

    Example:
        >>> from scipy.stats import wilcoxon
        >>> generator = torch.Generator().manual_seed(0)
        >>> z = torch.randn(50, 4, generator=generator)
        >>> noise = torch.randn(50, 4, generator=generator)
        >>> target = torch.arange(50).expand(2, -1)
        >>> users, good = per_user_metrics(z, z, target, k=10)
        >>> _, poor = per_user_metrics(z, z + noise, target, k=10)
        >>> bool(wilcoxon(good['ndcg@10'], poor['ndcg@10']).pvalue < 0.01)
        True
    """
    check_embeddings(z_user, z_item)
    candidates = candidate_items(candidates, z_item)
    cutoffs = checked_cutoffs(k, candidates.numel())
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    if not names:
        raise ValueError(f"'metrics' is empty; choose from {', '.join(map(repr, METRICS))}")
    for name in names:
        check_choice('metrics', name, tuple(METRICS))
    num_items = z_item.size(0)
    wanted = pair_keys('target', target, z_user, z_item).unique_consecutive()
    excluded = pair_keys('exclude', exclude, z_user, z_item)
    _check_findable(wanted, excluded, candidates, num_items)

    users, num_targets = (wanted // num_items).unique_consecutive(return_counts=True)
    _, item = top_items(
        z_user,
        z_item,
        users,
        max(cutoffs),
        excluded,
        candidates,
        batch_size,
        wanted=wanted,
        tie_seed=tie_seed,
    )
    hit = _hits(item, wanted % num_items, num_targets)
    return users, ranking_metrics(hit, num_targets, cutoffs, names)


def _hits(item: Tensor, target: Tensor, num_targets: Tensor) -> Tensor:
    """Return which ranked items are targets. ``target`` lists the targets row by row."""
    row = torch.arange(len(item), device=item.device).repeat_interleave(num_targets)
    hit = torch.zeros_like(item, dtype=torch.bool)
    for part, wanted in zip(row.split(BLOCK_TARGETS), target.split(BLOCK_TARGETS), strict=True):
        found, rank = (item[part] == wanted[:, None]).nonzero(as_tuple=True)
        hit[part[found], rank] = True
    return hit


def _check_findable(wanted: Tensor, excluded: Tensor, candidates: Tensor, num_items: int) -> None:
    """Raise a :class:`ValueError` unless there are targets, all of which can be ranked."""
    if wanted.numel() == 0:
        raise ValueError("'target' is empty; there is no held-out interaction to evaluate")
    overlap = int(_is_in(wanted, excluded).sum())
    if overlap > 0:
        raise ValueError(
            f"'target' and 'exclude' share {overlap} interactions, which could "
            'never be ranked; held-out interactions must not be part of train, so pass '
            'new_interactions(target, exclude)'
        )
    missing = int((~_is_in(wanted % num_items, candidates)).sum())
    if missing > 0:
        raise ValueError(
            f"'target' holds {missing} interactions with items that are not among "
            "'candidates', which could never be ranked"
        )


def _is_in(key: Tensor, keys: Tensor) -> Tensor:
    """Return for each key whether it is among :obj:`keys`, which are sorted."""
    if keys.numel() == 0:
        return torch.zeros_like(key, dtype=torch.bool)
    return keys[torch.searchsorted(keys, key).clamp_(max=keys.numel() - 1)] == key
