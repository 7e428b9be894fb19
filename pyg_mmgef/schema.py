"""The schema: node types, edge types and attributes of a shop in a ``HeteroData``."""

from typing import Final

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType, NodeType

from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_edge_index

__all__ = [
    'CO_INTERACTS',
    'INTERACTS',
    'ITEM',
    'USER',
    'interaction_edges',
    'interactions',
    'item_graph',
    'item_modalities',
    'item_relations',
    'num_users_items',
    'recorded_fusion',
    'supervision_edges',
    'unique_interactions',
]

USER: Final[NodeType] = 'user'
ITEM: Final[NodeType] = 'item'
INTERACTS: Final[EdgeType] = (USER, 'interacts', ITEM)
CO_INTERACTS: Final[EdgeType] = (ITEM, 'co_interacts', ITEM)


def num_users_items(data: HeteroData) -> tuple[int, int]:
    """Return the numbers of users and of items.

    Raises:
        ValueError: If a node type is missing or its ``num_nodes`` is unknown.
    """
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
    if INTERACTS not in data.edge_types or 'edge_index' not in data[INTERACTS]:
        raise ValueError(
            f"'data' has no edge type {INTERACTS} with an 'edge_index' (found {data.edge_types})"
        )
    return data[INTERACTS].edge_index


def interactions(data: HeteroData) -> Tensor:
    """Return the checked train interactions, ``data['user', 'interacts', 'item'].edge_index``.

    Raises:
        ValueError: If they are missing, misshaped or out of range.
    """
    edge_index = interaction_edges(data)
    check_edge_index('edge_index', edge_index, num_users_items(data), (USER, ITEM))
    return edge_index


def supervision_edges(data: HeteroData) -> Tensor:
    """Return the positive supervision edges of a part of a split, checked.

    These are the ``edge_label_index`` of ``data['user', 'interacts', 'item']``, without those whose
    ``edge_label`` is zero: PyG's :class:`~torch_geometric.transforms.RandomLinkSplit` puts sampled
    negatives there. Data without an ``edge_label_index`` has its ``edge_index``.

    Raises:
        ValueError: If they are missing, misshaped or out of range, or there isn't one label per
            edge.
    """
    if INTERACTS not in data.edge_types or 'edge_label_index' not in data[INTERACTS]:
        return interactions(data)
    edges, label = data[INTERACTS].edge_label_index, data[INTERACTS].get('edge_label')
    check_edge_index('edge_label_index', edges, num_users_items(data), (USER, ITEM))
    if label is None:
        return edges
    if not isinstance(label, Tensor) or label.shape != edges.shape[1:]:
        raise ValueError(
            f"'edge_label' must have shape [{edges.size(1)}], one label per edge of "
            f"'edge_label_index' (got {_describe(label)})"
        )
    is_positive = label > 0
    return edges if bool(is_positive.all()) else edges[:, is_positive]


def unique_interactions(data: HeteroData) -> tuple[Tensor, Tensor]:
    """Return the distinct train interactions and their positions.

    Of repeated pairs the earliest is kept: by ``time`` where the data has it, else by position.

    Returns:
        The interactions in the order of the data, shape ``[2, E]``, and their increasing positions
        in its ``edge_index``, shape ``[E]``. Where nothing is repeated, the first is the
        ``edge_index`` itself, not a copy.

    Raises:
        ValueError: As :func:`interactions`.
    """
    edge_index = interactions(data)
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
    return edge_index if kept.numel() == pair.numel() else edge_index[:, kept], kept


def item_graph(data: HeteroData, relation: str) -> WeightedGraph:
    """Return the item graph ``data['item', relation, 'item']``.

    Raises:
        ValueError: If it, or its ``edge_weight``, is missing.
    """
    edge_type = (ITEM, relation, ITEM)
    if edge_type not in data.edge_types or 'edge_weight' not in data[edge_type]:
        raise ValueError(
            f"'data' has no item graph {edge_type} with an 'edge_index' and an 'edge_weight' "
            f'(found {data.edge_types}); add it with a transform such as AddItemKNNGraph'
        )
    return data[edge_type].edge_index, data[edge_type].edge_weight


def item_relations(data: HeteroData) -> list[str]:
    """Return the relations ``data['item', relation, 'item']`` that have an ``edge_weight``."""
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
        ValueError: If an attribute ``x_<modality>`` isn't a floating point matrix with one row per
            item, or its mask isn't a boolean vector with one element per item.
    """
    store = data[ITEM]
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
