"""Code that the splits share: the interactions to split, and the data of the three parts."""

import copy

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.storage import EdgeStorage

from pyg_mmgef.schema import (
    CO_INTERACTS,
    INTERACTS,
    ITEM,
    USER,
    edge_values,
    interaction_edges,
    unique_interactions,
)

__all__ = [
    'Split',
    'interaction_times',
    'interactions_to_split',
    'of_new_users',
    'select_parts',
    'select_parts_of_known',
]

Split = tuple[HeteroData, HeteroData, HeteroData]


def interactions_to_split(data: HeteroData) -> tuple[Tensor, Tensor]:
    """Return the distinct interactions and their positions in the data, after checking it.

    Raises:
        ValueError: If the data has no interactions, times, ratings or weights that aren't one an
            interaction, or other edges that would carry held-out ones
            into the train graph: an item graph built from them, or their reverse.
    """
    edge_index = interaction_edges(data)
    for edge_type in data.edge_types:
        source, relation, destination = edge_type
        if source == destination == ITEM and relation.startswith(CO_INTERACTS[1]):
            raise ValueError(
                f"'data' already has the item graph {edge_type}, built from the interactions that "
                'are now to be held out; split first, then add it to the train part'
            )
        if {source, destination} == {USER, ITEM} and edge_type != INTERACTS:
            raise ValueError(
                f"'data' has the edges {edge_type} beside {INTERACTS}; they could carry held-out "
                'interactions into the train graph, so remove them, and add them again afterwards'
            )
    if edge_index.numel() == 0:
        raise ValueError("'data' has no interactions to split")
    return unique_interactions(data)


def interaction_times(data: HeteroData, kept: Tensor, strategy: str) -> Tensor:
    """Return the times of some interactions, on the CPU.

    Args:
        data: The data before the split.
        kept: Positions of the interactions that are split. Shape: ``[E]``.
        strategy: What the user asked for, for the message.

    Raises:
        ValueError: If the data has no times, or some that aren't finite.
    """
    if 'time' not in data[INTERACTS]:
        raise ValueError(
            f"strategy={strategy!r} needs data['user', 'interacts', 'item'].time, which "
            "is missing; set it or use strategy='random'"
        )
    time = edge_values(data, INTERACTS, 'time')[kept].cpu()
    if time.is_floating_point() and not bool(time.isfinite().all()):
        raise ValueError(
            f"'time' holds NaN or infinite values for {int((~time.isfinite()).sum())} "
            'interactions; repair them, or remove these interactions'
        )
    return time


def select_parts(data: HeteroData, kept: Tensor, part: Tensor) -> Split:
    """Make the train, validation and test data of a split.

    All three propagate over the train edges: their ``edge_index`` is the same tensor, so that a
    model can use one cache for all. The edges of each part are its ``edge_label_index``.

    Args:
        data: The data before the split.
        kept: Positions of the interactions that are split. Shape: ``[E]``.
        part: The part of each: 0 train, 1 validation, 2 test, -1 none. Shape: ``[E]``.
    """
    store: EdgeStorage = data[INTERACTS]
    position = [kept[part == number] for number in range(3)]
    edges = [store.edge_index[:, index] for index in position]
    attrs = {key: store[key][position[0]] for key in store if _is_edge_attr(store, key)}
    splits = []
    for label in edges:
        out = copy.copy(data)
        out[INTERACTS].edge_index = edges[0]
        for key, value in attrs.items():
            out[INTERACTS][key] = value
        out[INTERACTS].edge_label_index = label
        for key in ('edge_label', 'new_user_index'):  # They belong to an earlier split.
            if key in store:
                del out[INTERACTS][key]
        splits.append(out)
    return splits[0], splits[1], splits[2]


def of_new_users(user: Tensor, part: Tensor) -> Tensor:
    """Return which held-out interactions are of users without train interactions.

    Args:
        user: The user of each interaction. Shape: ``[E]``.
        part: The part of each, see :func:`select_parts`. Shape: ``[E]``.
    """
    return (part > 0) & ~torch.isin(user, user[part == 0])


def select_parts_of_known(data: HeteroData, kept: Tensor, part: Tensor) -> Split:
    """Make the data of a split whose parts hold known users alone.

    What is held out of users without train interactions is the ``new_user_index`` of its part.

    Args:
        data: The data before the split.
        kept: Positions of the interactions that are split. Shape: ``[E]``.
        part: The part of each, see :func:`select_parts`. Shape: ``[E]``.
    """
    edge_index = data[INTERACTS].edge_index
    is_new = of_new_users(edge_index[0, kept], part)
    splits = select_parts(data, kept, part.masked_fill(is_new, -1))
    for number in (1, 2):
        left_out = kept[(part == number) & is_new]
        splits[number][INTERACTS].new_user_index = edge_index[:, left_out]
    return splits


def _is_edge_attr(store: EdgeStorage, key: str) -> bool:
    value = store[key]
    return (
        key not in ('edge_index', 'edge_label_index', 'edge_label', 'new_user_index')
        and isinstance(value, Tensor)
        and value.dim() > 0
        and value.size(0) == store.edge_index.size(1)
    )
