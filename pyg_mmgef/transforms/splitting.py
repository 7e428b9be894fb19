"""What the splits share: unique interactions, and the three parts of a split."""

import copy

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.storage import EdgeStorage

from pyg_mmgef.schema import CO_INTERACTS, INTERACTS, ITEM, USER, interactions, num_users_items

__all__ = ['Split', 'select_parts', 'unique_interactions']

Split = tuple[HeteroData, HeteroData, HeteroData]


def unique_interactions(data: HeteroData) -> tuple[Tensor, Tensor]:
    """Return the distinct interactions and the position of the one kept of each.

    Of repeated pairs the earliest is kept: by ``time`` where the data has it, else by position.

    Raises:
        ValueError: If the data has no interactions, or other edges that would carry held-out ones
            into the train graph: an item graph built from them, or their reverse.
    """
    if CO_INTERACTS in data.edge_types:
        raise ValueError(
            f"'data' already has the item graph {CO_INTERACTS}, built from the interactions that "
            'are now to be held out; split first, then add it to the train part'
        )
    for source, relation, destination in data.edge_types:
        other = (source, relation, destination)
        if {source, destination} == {USER, ITEM} and other != INTERACTS:
            raise ValueError(
                f"'data' has the edges {other} beside {INTERACTS}; they could carry held-out "
                'interactions into the train graph, so remove them, and add them again afterwards'
            )
    edge_index = interactions(data)
    if edge_index.size(1) == 0:
        raise ValueError("'data' has no interactions to split")
    _, num_items = num_users_items(data)
    pair = edge_index[0].long() * num_items + edge_index[1]
    position = torch.arange(pair.numel(), device=pair.device)
    if 'time' in data[INTERACTS]:
        position = data[INTERACTS].time.argsort(stable=True)
    position = position[pair[position].argsort(stable=True)]
    pair = pair[position]
    first = torch.ones_like(pair, dtype=torch.bool)
    first[1:] = pair[1:] != pair[:-1]
    kept = position[first].sort().values
    return edge_index[:, kept], kept


def select_parts(data: HeteroData, kept: Tensor, part: Tensor) -> Split:
    """Make the train, validation and test data of a split.

    All three propagate over the train edges, the only ones in ``edge_index``; the edges of each
    part are its ``edge_label_index``.

    Args:
        data: The data before the split.
        kept: Positions of the interactions that are split. Shape: ``[E]``.
        part: The part of each: 0 train, 1 validation, 2 test. Shape: ``[E]``.
    """
    label = data[INTERACTS].edge_index[:, kept]
    train = kept[part == 0]
    store: EdgeStorage = data[INTERACTS]
    edge_attrs = {key: store[key][train] for key in store if _is_edge_attr(store, key)}
    splits = []
    for number in range(3):
        out = copy.copy(data)
        out[INTERACTS].edge_index = label[:, part == 0]
        for key, value in edge_attrs.items():
            out[INTERACTS][key] = value
        out[INTERACTS].edge_label_index = label[:, part == number]
        splits.append(out)
    return splits[0], splits[1], splits[2]


def _is_edge_attr(store: EdgeStorage, key: str) -> bool:
    value = store[key]
    return (
        key not in ('edge_index', 'edge_label_index')
        and isinstance(value, Tensor)
        and value.dim() > 0
        and value.size(0) == store.edge_index.size(1)
    )
