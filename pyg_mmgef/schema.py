"""The schema: node types, edge types and attributes of a shop in a ``HeteroData``."""

from typing import Final

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.storage import NodeStorage
from torch_geometric.typing import EdgeType, NodeType

from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_edge_index

__all__ = [
    'CO_INTERACTS',
    'INTERACTS',
    'ITEM',
    'REV_INTERACTS',
    'USER',
    'edge_values',
    'interaction_edges',
    'interactions',
    'is_sampled',
    'item_graph',
    'item_modalities',
    'item_relations',
    'item_store',
    'num_users_items',
    'recorded_fusion',
    'reverse_interactions',
    'supervision_edges',
    'unique_interactions',
]

USER: Final[NodeType] = 'user'
ITEM: Final[NodeType] = 'item'
INTERACTS: Final[EdgeType] = (USER, 'interacts', ITEM)
REV_INTERACTS: Final[EdgeType] = (ITEM, 'rev_interacts', USER)
"""The reversed interactions, which :class:`~pyg_mmgef.transforms.AddReverseInteractions` adds."""
CO_INTERACTS: Final[EdgeType] = (ITEM, 'co_interacts', ITEM)
VALUES = 'time', 'rating', 'edge_weight'
"""Attributes of the interactions that are one number each."""


def num_users_items(data: HeteroData) -> tuple[int, int]:
    """Return the numbers of users and of items.

    Raises:
        ValueError: If the types have other names, a node type is missing, or its ``num_nodes`` is
            unknown.
    """
    _check_is_hetero(data)
    _check_names(data)
    counts = []
    for node_type in (USER, ITEM):
        count = data[node_type].num_nodes if node_type in data.node_types else None
        if count is None:
            raise ValueError(
                f"'data' doesn't say how many {node_type}s there are; set "
                f"data['{node_type}'].num_nodes"
            )
        counts.append(count)
    return counts[0], counts[1]


def interaction_edges(data: HeteroData) -> Tensor:
    """Return ``data['user', 'interacts', 'item'].edge_index``, without checking its ids.

    Raises:
        ValueError: If it is missing.
    """
    _check_is_hetero(data)
    if INTERACTS not in data.edge_types or 'edge_index' not in data[INTERACTS]:
        raise _without_interactions(data)
    return data[INTERACTS].edge_index


def interactions(data: HeteroData) -> Tensor:
    """Return the checked train interactions, ``data['user', 'interacts', 'item'].edge_index``.

    Raises:
        ValueError: If they are missing, misshaped or out of range.
    """
    edge_index = interaction_edges(data)
    check_edge_index('edge_index', edge_index, num_users_items(data), (USER, ITEM))
    return edge_index


def reverse_interactions(data: HeteroData) -> None:
    """Set the reversed interactions, and the number of interactions of each user and item.

    See :class:`~pyg_mmgef.transforms.AddReverseInteractions`.

    Raises:
        ValueError: As :func:`interactions`.
    """
    edge_index = interactions(data)
    if REV_INTERACTS in data.edge_types:
        del data[REV_INTERACTS]
    data[REV_INTERACTS].edge_index = edge_index.flip(0)
    for node_type, index, size in zip((USER, ITEM), edge_index, num_users_items(data), strict=True):
        data[node_type].degree = torch.bincount(index, minlength=size)


def is_sampled(data: HeteroData) -> bool:
    """Return whether the data is a sampled batch, whose items say which of all they are.

    A batch is what PyG's :class:`~torch_geometric.loader.LinkNeighborLoader` and the loaders of
    this package yield: ids are local, and ``n_id`` of each node type holds those in the full data.
    """
    _check_is_hetero(data)
    return ITEM in data.node_types and 'n_id' in data[ITEM]


def supervision_edges(data: HeteroData) -> Tensor:
    """Return the positive supervision edges of a part of a split, checked.

    These are the ``edge_label_index`` of ``data['user', 'interacts', 'item']``, without those whose
    ``edge_label`` (shape ``[E]`` or ``[E, 1]``) is zero: PyG's
    :class:`~torch_geometric.transforms.RandomLinkSplit` puts sampled negatives there. Data without
    an ``edge_label_index`` has its ``edge_index``.

    Raises:
        ValueError: If they are missing, misshaped or out of range, or there isn't one label per
            edge.
    """
    _check_is_hetero(data)
    if INTERACTS not in data.edge_types or 'edge_label_index' not in data[INTERACTS]:
        return interactions(data)
    edges = data[INTERACTS].edge_label_index
    check_edge_index('edge_label_index', edges, num_users_items(data), (USER, ITEM))
    if data[INTERACTS].get('edge_label') is None:
        return edges
    is_positive = edge_values(data, INTERACTS, 'edge_label', of='edge_label_index') > 0
    return edges if bool(is_positive.all()) else edges[:, is_positive]


def edge_values(
    data: HeteroData, edge_type: EdgeType, key: str, *, of: str = 'edge_index'
) -> Tensor:
    """Return an attribute of edges that is one number an edge, such as their times.

    Args:
        data: The data.
        edge_type: The edges.
        key: The attribute, of shape ``[E]`` or, as is usual in PyG, ``[E, 1]``.
        of: The edges that the numbers belong to. (default: ``'edge_index'``)

    Returns:
        Shape: ``[E]``.

    Raises:
        ValueError: If it has another shape.
    """
    store = data[edge_type]
    value, num_edges = store[key], store[of].size(1)
    if not isinstance(value, Tensor) or value.shape not in ((num_edges,), (num_edges, 1)):
        raise ValueError(
            f"'{key}' of the edges {edge_type} must have shape [{num_edges}] or [{num_edges}, 1], "
            f"one number for each edge of '{of}' (got {_describe(value)})"
        )
    return value.view(num_edges)


def unique_interactions(data: HeteroData) -> tuple[Tensor, Tensor]:
    """Return the distinct train interactions and their positions.

    Of repeated pairs the earliest is kept: by ``time`` where the data has it, else by position.

    Returns:
        The interactions in the order of the data, shape ``[2, E]``, and their increasing positions
        in its ``edge_index``, shape ``[E]``. Where nothing is repeated, the first is the
        ``edge_index`` itself, not a copy.

    Raises:
        ValueError: As :func:`interactions`, and if ``time``, ``rating`` or ``edge_weight`` isn't
            one number an interaction.
    """
    edge_index = interactions(data)
    values = {key: edge_values(data, INTERACTS, key) for key in VALUES if key in data[INTERACTS]}
    _, num_items = num_users_items(data)
    pair = edge_index[0].long() * num_items + edge_index[1]
    position = torch.arange(pair.numel(), device=pair.device)
    if 'time' in values:
        position = values['time'].argsort(stable=True)
    position = position[pair[position].argsort(stable=True)]
    pair = pair[position]
    first = torch.ones_like(pair, dtype=torch.bool)
    first[1:] = pair[1:] != pair[:-1]
    kept = position[first].sort().values
    return edge_index if kept.numel() == pair.numel() else edge_index[:, kept], kept


def item_store(data: HeteroData) -> NodeStorage:
    """Return ``data['item']``, the attributes of the items.

    Raises:
        ValueError: If the types have other names.
    """
    _check_is_hetero(data)
    if ITEM not in data.node_types:
        _check_names(data)
    return data[ITEM]


def item_graph(data: HeteroData, relation: str) -> WeightedGraph:
    """Return the item graph ``data['item', relation, 'item']``.

    Raises:
        ValueError: If it, or its ``edge_weight``, is missing, or there isn't one weight an edge.
    """
    _check_is_hetero(data)
    edge_type = (ITEM, relation, ITEM)
    if edge_type not in data.edge_types or 'edge_weight' not in data[edge_type]:
        raise ValueError(
            f"'data' has no item graph {edge_type} with an 'edge_index' and an 'edge_weight' "
            f'(found {data.edge_types}); add it with a transform such as AddItemKNNGraph'
        )
    weight = data[edge_type].edge_weight
    if weight.dim() != 1:
        weight = edge_values(data, edge_type, 'edge_weight')
    return data[edge_type].edge_index, weight


def item_relations(data: HeteroData) -> list[str]:
    """Return the relations ``data['item', relation, 'item']`` that have an ``edge_weight``.

    Raises:
        ValueError: If the types have other names.
    """
    item_store(data)
    return [
        relation
        for source, relation, destination in data.edge_types
        if source == destination == ITEM and 'edge_weight' in data[source, relation, destination]
    ]


def item_modalities(data: HeteroData) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the features ``x_<modality>`` of the items and the masks ``has_<modality>``.

    Both dictionaries are keyed by modality. A single feature matrix ``x`` without modalities
    counts as one modality of that name.

    Raises:
        ValueError: If the types have other names, an attribute ``x_<modality>`` isn't a floating
            point matrix with one row per item, or its mask isn't a boolean vector with one element
            per item.
    """
    store = item_store(data)
    x = {key[2:]: store[key] for key in store if key.startswith('x_')}
    key_of = {name: f'x_{name}' for name in x}
    if not x and 'x' in store:
        x, key_of = {'x': store['x']}, {'x': 'x'}
    has = {name: store[f'has_{name}'] for name in x if f'has_{name}' in store}
    for name, row in x.items():
        _check_features(key_of[name], row, store.num_nodes)
        if name in has:
            _check_mask(f'has_{name}', has[name], row.size(0))
    return x, has


def recorded_fusion(data: HeteroData) -> tuple[str, list[str]] | None:
    """Return how ``data['item'].x`` was fused: the mode, and the modalities in order.

    :class:`~pyg_mmgef.transforms.FuseModalities` records it as ``data['item'].fusion``, a
    dictionary with the keys ``'mode'`` and ``'modalities'``. The result is :obj:`None` for data
    that it hasn't transformed.

    Raises:
        ValueError: If the record has another form.
    """
    fusion = data[ITEM].get('fusion')
    if fusion is None:
        return None
    mode = fusion.get('mode') if isinstance(fusion, dict) else None
    names = fusion.get('modalities') if isinstance(fusion, dict) else None
    if (
        not isinstance(mode, str)
        or not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
    ):
        raise ValueError(
            "data['item'].fusion must be {'mode': ..., 'modalities': [...]} as FuseModalities "
            f'records it (got {fusion!r}); apply it again, or delete the attribute'
        )
    return mode, names


def _check_is_hetero(data: HeteroData) -> None:
    if not isinstance(data, HeteroData):
        raise ValueError(
            f"'data' must be a HeteroData with users, items and their interactions (got "
            f'{type(data).__name__})'
        )


def _check_names(data: HeteroData) -> None:
    """Raise a :class:`ValueError` if the interactions have another name."""
    if INTERACTS in data.edge_types:
        return
    ends = {end for source, _, destination in data.edge_types for end in (source, destination)}
    if {*data.node_types, *ends} - {USER, ITEM} or USER in ends:
        raise _without_interactions(data)


def _without_interactions(data: HeteroData) -> ValueError:
    return ValueError(
        f"'data' has no edge type {INTERACTS} with an 'edge_index'; the types must be called "
        f'{USER!r}, {ITEM!r} and {INTERACTS[1]!r} (found the node types {data.node_types} and the '
        f'edge types {data.edge_types})'
    )


def _check_features(key: str, x: object, num_items: int | None) -> None:
    if not isinstance(x, Tensor) or x.dim() != 2 or not x.is_floating_point():
        raise ValueError(
            f"data['item'].{key} must be a floating point matrix, the features of a modality (got "
            f"{_describe(x)}); if it is something else, rename it so that it doesn't begin with "
            "'x_'"
        )
    if num_items is not None and x.size(0) != num_items:
        raise ValueError(
            f"data['item'] has {num_items} items, but its features {key!r} have {x.size(0)} rows; "
            'give one row per item, zeros where it has none'
        )


def _check_mask(key: str, has: object, num_items: int) -> None:
    if not isinstance(has, Tensor) or has.dtype != torch.bool or has.shape != (num_items,):
        raise ValueError(
            f"data['item'].{key} must be a boolean vector, one element for each of {num_items} "
            f'items (got {_describe(has)})'
        )


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f'{list(value.shape)}, {value.dtype}'
    return type(value).__name__
