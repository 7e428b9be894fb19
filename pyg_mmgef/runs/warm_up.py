import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.schema import (
    CO_INTERACTS,
    INTERACTS,
    ITEM,
    USER,
    interactions,
    item_relations,
    num_users_items,
    supervision_edges,
)
from pyg_mmgef.validate import check_edge_index, check_not_negative

__all__ = ['warm_up']


def warm_up(
    train: HeteroData,
    cold: Tensor,
    fit: Callable[[HeteroData], tuple[Tensor, Tensor]],
    *,
    revealed: Sequence[int] = (0, 1, 3, 5, 10),
    exclude: Tensor | None = None,
    k: int | Sequence[int] = 20,
    metrics: str | Sequence[str] = ('recall', 'ndcg'),
    seed: int = 0,
) -> dict[int, dict[str, dict[str, float]]]:
    r"""Return how cold items are ranked after their first few interactions.

    For each number :math:`n` in :obj:`revealed`, :math:`n` interactions of each cold item join the
    train graph, and the model is **fitted anew**; what an item's first interactions are is
    sampled, and those of a smaller :math:`n` are among those of a larger one. An item with fewer
    gives all that it has. The interactions beyond the largest :math:`n` are ranked, in the same two
    rankings for every :math:`n`, so the points of the curve differ in nothing but what the model
    knows:

    * ``'cold among cold'``: among the cold items that have interactions to rank;
    * ``'cold among all'``: among all items.

    What a user did with any of the items before, the interactions that are still to be revealed
    included, is left out of the user's ranking.

    Args:
        train: The train graph, without interactions with cold items, and without the item graph of
            interactions, which :obj:`fit` must build from what it is given.
        cold: The interactions (user, item) with cold items; a repeated one counts once.
            Shape: ``[2, C]``.
        fit: Fits a model to a train graph, and returns the embeddings of all users and items.
            The graph has the attributes of :obj:`train`, but of its interactions only
            ``edge_index`` and, where there were some, ``edge_label_index``.
        revealed: The numbers of interactions. (default: ``(0, 1, 3, 5, 10)``)
        exclude: Further interactions whose items are left out of the user's ranking, usually those
            of validation. Shape: ``[2, E]``. (default: :obj:`None`)
        k: Cut-offs. (default: ``20``)
        metrics: See :func:`~pyg_mmgef.ranking.evaluate_ranking`. (default: ``('recall', 'ndcg')``)
        seed: Seed of the sample. (default: ``0``)

    Returns:
        The metrics by number, ranking and name, such as ``[3]['cold among cold']['recall@20']``.

    Raises:
        ValueError: If a number is negative or there is none, ids are out of range, an item of
            :obj:`cold` has train interactions, no item has more than the largest number, or the
            data has an item graph built from interactions; and as
            :func:`~pyg_mmgef.ranking.evaluate_ranking`.

    Example:
        >>> from pyg_mmgef.nn import Popularity
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 5, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1], [0, 0]])
        >>> cold = torch.tensor([[0, 1, 2, 3, 4], [1, 1, 1, 1, 2]])
        >>> curve = warm_up(
        ...     data, cold, lambda train: Popularity.from_data(train)(train), revealed=(0, 3), k=1
        ... )
        >>> [point['cold among all']['recall@1'] for point in curve.values()]
        [0.0, 1.0]
    """
    numbers = sorted(set(revealed))
    if not numbers:
        raise ValueError("'revealed' is empty; give at least one number of interactions")
    for number in numbers:
        check_not_negative('revealed', number, integer=True)
    cold = _checked_cold(train, cold)
    rank = _rank_within_item(cold[1], seed)
    target = cold[:, rank >= numbers[-1]]
    if target.numel() == 0:
        raise ValueError(
            f"no item of 'cold' has more than {numbers[-1]} interactions, the most to reveal, so "
            'nothing is left to rank; reveal fewer'
        )
    known = [interactions(train), cold[:, rank < numbers[-1]]]
    known += [] if exclude is None else [exclude]
    options: dict[str, Any] = {'exclude': torch.cat(known, dim=1), 'k': k, 'metrics': metrics}
    rankings = {'cold among cold': target[1].unique(), 'cold among all': None}
    out = {}
    for number in numbers:
        z = fit(_with_interactions(train, cold[:, rank < number]))
        out[number] = {
            name: evaluate_ranking(*z, target, candidates=candidates, **options)
            for name, candidates in rankings.items()
        }
    return out


def _checked_cold(train: HeteroData, cold: Tensor) -> Tensor:
    """Return the distinct interactions with cold items."""
    for relation in item_relations(train):
        if relation.startswith(CO_INTERACTS[1]):
            raise ValueError(
                f"'train' has the item graph {(ITEM, relation, ITEM)}, built from interactions, "
                "which must change with them; remove it, and let 'fit' build it"
            )
    check_edge_index('cold', cold, num_users_items(train), (USER, ITEM))
    is_warm = torch.isin(cold[1], interactions(train)[1])
    if bool(is_warm.any()):
        raise ValueError(
            f"'cold' holds {int(is_warm.sum())} interactions with items that have train "
            'interactions'
        )
    return cold.unique(dim=1)


def _rank_within_item(item: Tensor, seed: int) -> Tensor:
    """Return the place of each interaction among those of its item, in random order from 0."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(item.numel(), generator=generator).to(item.device)
    order = order[item[order].argsort(stable=True)]
    count = item.bincount()
    start = count.cumsum(0) - count
    rank = torch.empty_like(order)
    rank[order] = torch.arange(item.numel(), device=item.device) - start[item[order]]
    return rank


def _with_interactions(train: HeteroData, more: Tensor) -> HeteroData:
    """Return the graph with further train interactions, and without other attributes of them."""
    out = copy.copy(train)
    has_labels = 'edge_label_index' in train[INTERACTS]
    edges, labels = train[INTERACTS].edge_index, supervision_edges(train)
    for key in list(train[INTERACTS].keys()):
        del out[INTERACTS][key]
    out[INTERACTS].edge_index = torch.cat([edges, more], dim=1)
    if has_labels:
        out[INTERACTS].edge_label_index = torch.cat([labels, more], dim=1)
    return out
