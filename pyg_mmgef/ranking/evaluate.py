from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyg_mmgef.ranking._inputs import checked_cutoffs
from pyg_mmgef.ranking.metrics import METRICS
from pyg_mmgef.ranking.top_lists import DEFAULT, PER_USER, TopLists, checked_metrics

__all__ = ['evaluate_ranking', 'per_user_metrics']


def evaluate_ranking(
    z_user: Tensor,
    z_item: Tensor,
    target: Tensor,
    *,
    exclude: Tensor | None = None,
    k: int | Sequence[int] = (10, 20),
    metrics: str | Sequence[str] = DEFAULT,
    candidates: Tensor | None = None,
    popularity: Tensor | None = None,
    features: Tensor | None = None,
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
            ``'hit_ratio'``, and of those of the lists that :class:`TopLists` names, such as
            ``'coverage'``. (default: ``('recall', 'precision', 'ndcg')``)
        candidates: The items to rank; :obj:`None` ranks all. (default: :obj:`None`)
        popularity: Number of train interactions of each item, for ``'novelty'`` and
            ``'average_popularity'``; :obj:`None` counts the distinct interactions of
            :obj:`exclude`. Shape: ``[num_items]``. (default: :obj:`None`)
        features: Vector of each item for ``'diversity'``, dense or a sparse CSR tensor;
            :obj:`None` means :obj:`z_item`. To compare models, give all the same. Shape:
            ``[num_items, channels]``. (default: :obj:`None`)
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
            unknown or lacks what it needs.

    Example:
        >>> z_user, z_item = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
        >>> target = torch.tensor([[0, 1], [0, 2]])
        >>> evaluate_ranking(z_user, z_item, target, k=1)
        {'recall@1': 0.5, 'precision@1': 0.5, 'ndcg@1': 0.5}
    """
    checked_metrics(metrics)
    lists = _ranked(
        z_user,
        z_item,
        target,
        k,
        metrics,
        exclude=exclude,
        candidates=candidates,
        popularity=popularity,
        features=features,
        batch_size=batch_size,
        tie_seed=tie_seed,
    )
    return lists.evaluate(metrics, k)


def per_user_metrics(
    z_user: Tensor,
    z_item: Tensor,
    target: Tensor,
    *,
    exclude: Tensor | None = None,
    k: int | Sequence[int] = (10, 20),
    metrics: str | Sequence[str] = DEFAULT,
    candidates: Tensor | None = None,
    popularity: Tensor | None = None,
    features: Tensor | None = None,
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
        metrics: Names of metrics, but for ``'coverage'``, ``'gini'`` and ``'personalization'``,
            which belong to all lists together. (default: ``('recall', 'precision', 'ndcg')``)
        candidates: The items to rank; :obj:`None` ranks all. (default: :obj:`None`)
        popularity: See :func:`evaluate_ranking`. (default: :obj:`None`)
        features: See :func:`evaluate_ranking`. (default: :obj:`None`)
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
    checked_metrics(metrics, PER_USER)
    lists = _ranked(
        z_user,
        z_item,
        target,
        k,
        metrics,
        exclude=exclude,
        candidates=candidates,
        popularity=popularity,
        features=features,
        batch_size=batch_size,
        tie_seed=tie_seed,
    )
    return lists.users, lists.per_user(metrics, k)


def _ranked(
    z_user: Tensor,
    z_item: Tensor,
    target: Tensor,
    k: int | Sequence[int],
    metrics: str | Sequence[str],
    **options: Any,
) -> TopLists:
    """Return the lists, only as complete as the metrics need them."""
    names = (metrics,) if isinstance(metrics, str) else metrics
    longest = max(checked_cutoffs(k))
    return TopLists.rank(
        z_user, z_item, target, k=longest, hits_only=METRICS.keys() >= set(names), **options
    )
