"""Evaluation with cold items: five rankings, and the choice of the scale of cold items."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_mmgef.ranking.evaluate import DEFAULT, evaluate_ranking
from pyg_mmgef.validate import check_edge_index, check_fraction, check_positive

__all__ = ['choose_cold_scale', 'evaluate_cold_start']

LARGEST = 64.0
STEPS = 12  # The scale is found to within a factor of 64 ** (2 / 2 ** 12), about 0.2 %.


def evaluate_cold_start(
    z_user: Tensor,
    z_item: Tensor,
    warm_target: Tensor,
    cold_target: Tensor,
    cold_items: Tensor,
    *,
    exclude: Tensor | None = None,
    k: int | Sequence[int] = (10, 20),
    metrics: str | Sequence[str] = DEFAULT,
    tie_seed: int = 0,
) -> dict[str, dict[str, float]]:
    r"""Evaluate how a model ranks cold and warm items, by five rankings.

    * ``'cold among cold'``: cold items, ranked among the cold items of :obj:`cold_target`;
    * ``'warm among warm'``: warm items, ranked among warm items;
    * ``'warm among all'`` and ``'cold among all'``: each ranked among all items;
    * ``'overall'``: all held-out interactions together, ranked among all items.

    A sixth entry, ``'harmonic mean'``, is that of ``'warm among all'`` and ``'cold among all'``; it
    is large only if both are. The protocol is the usual one for cold start (`ColdRec
    <https://github.com/YuanchenBei/ColdRec>`_).

    Args:
        z_user: User embeddings, see :func:`evaluate_ranking`. Shape: ``[num_users, channels]``.
        z_item: Item embeddings. Shape: ``[num_items, channels]``.
        warm_target: Held-out interactions (user, item) with warm items. Shape: ``[2, E]``.
        cold_target: Interactions with cold items. Shape: ``[2, C]``.
        cold_items: All cold items, those without train interactions; :obj:`cold_target` need not
            have them all. Shape: ``[I]``.
        exclude: Interactions whose items are left out of the user's ranking, usually those of
            train and validation. Shape: ``[2, E']``. (default: :obj:`None`)
        k: Cut-offs. (default: ``(10, 20)``)
        metrics: See :func:`evaluate_ranking`. (default: ``('recall', 'precision', 'ndcg')``)
        tie_seed: See :func:`evaluate_ranking`. (default: ``0``)

    Returns:
        The metrics by ranking and name, such as ``['cold among cold']['recall@20']``.

    Raises:
        ValueError: As :func:`evaluate_ranking`, and if :obj:`warm_target` has cold items or
            :obj:`cold_target` warm ones.
    """
    is_cold = torch.zeros(z_item.size(0), dtype=torch.bool, device=cold_items.device)
    is_cold[cold_items] = True
    num_cold, num_other = int(is_cold[warm_target[1]].sum()), int((~is_cold[cold_target[1]]).sum())
    if num_cold > 0:
        raise ValueError(f"'warm_target' holds {num_cold} interactions with cold items")
    if num_other > 0:
        raise ValueError(f"'cold_target' holds {num_other} interactions with other items")
    both = torch.cat([warm_target, cold_target], dim=1)
    cold, warm = cold_target[1].unique(), (~is_cold).nonzero().view(-1)
    tasks: dict[str, tuple[Tensor, Tensor | None]] = {
        'cold among cold': (cold_target, cold),
        'warm among warm': (warm_target, warm),
        'warm among all': (warm_target, None),
        'cold among all': (cold_target, None),
        'overall': (both, None),
    }
    out = {
        name: evaluate_ranking(
            z_user,
            z_item,
            target,
            exclude=exclude,
            candidates=candidates,
            k=k,
            metrics=metrics,
            tie_seed=tie_seed,
        )
        for name, (target, candidates) in tasks.items()
    }
    out['harmonic mean'] = {
        name: _harmonic_mean(value, out['cold among all'][name])
        for name, value in out['warm among all'].items()
    }
    return out


def choose_cold_scale(
    z_user: Tensor,
    z_item: Tensor,
    target: Tensor,
    is_warm: Tensor,
    *,
    exclude: Tensor | None = None,
    max_loss: float = 0.03,
    k: int = 20,
) -> float:
    """Choose the largest factor for the embeddings of cold items that costs warm items little.

    With it, the recall of warm items, ranked among all, is at least ``1 - max_loss`` times the
    recall with all cold items at score zero. Of the validation interactions only those with warm
    items are used. Set :attr:`Recommender.cold_scale <pyg_mmgef.nn.Recommender.cold_scale>` to the
    result.

    Args:
        z_user: User embeddings. Shape: ``[num_users, channels]``.
        z_item: Item embeddings, those of cold items not yet scaled. Shape: ``[num_items,
            channels]``.
        target: Held-out interactions (user, item) for validation; those with cold items are
            left out. Shape: ``[2, E]``.
        is_warm: Which items are warm. Shape: ``[num_items]`` or ``[num_items, 1]``.
        exclude: Interactions whose items are left out of the user's ranking.
            Shape: ``[2, E']``. (default: :obj:`None`)
        max_loss: The share of the recall that warm items may lose. (default: ``0.03``)
        k: The cut-off of the recall. (default: ``20``)

    Returns:
        A factor between 1/64 and 64; 1 where nothing speaks for another: all items are warm, no
        interaction is held out of a warm one, or the embeddings are sparse, which have no factor.

    Raises:
        ValueError: As :func:`evaluate_ranking`, or if a number is out of range.
    """
    check_fraction('max_loss', max_loss, '[0, 1)')
    check_positive('k', k)
    check_edge_index('target', target, (z_user.size(0), z_item.size(0)), ('user', 'item'))
    is_warm = is_warm.view(-1, 1)
    target = target[:, is_warm[target[1], 0]]
    if bool(is_warm.all()) or target.numel() == 0 or z_item.layout != torch.strided:
        return 1.0

    def recall(scale: float) -> float:
        scaled = torch.where(is_warm, z_item, scale * z_item)
        metrics = evaluate_ranking(z_user, scaled, target, exclude=exclude, k=k, metrics='recall')
        return metrics[f'recall@{k}']

    least = (1 - max_loss) * recall(0.0)
    low, high = 1 / LARGEST, LARGEST
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        if recall(middle) >= least:
            low = middle
        else:
            high = middle
    return low


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0
