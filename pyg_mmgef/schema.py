"""The node and edge types of a shop in :class:`~torch_geometric.data.HeteroData`."""

from typing import Final

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
    """Return ``data['user', 'interacts', 'item'].edge_index``, without looking at its ids.

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
        ValueError: If features have another number of rows than there are items.
    """
    store = data[ITEM]
    x = {key[2:]: store[key] for key in store if key.startswith('x_')}
    if not x and 'x' in store:
        x = {'x': store['x']}
    num_items = store.num_nodes
    for name, row in x.items():
        if num_items is not None and row.size(0) != num_items:
            raise ValueError(
                f"data['item'] has {num_items} items, but its features {name!r} have "
                f'{row.size(0)} rows; give one row per item, zeros where it has none'
            )
    has = {name: store[f'has_{name}'] for name in x if f'has_{name}' in store}
    return x, has


def recorded_fusion(data: HeteroData) -> tuple[str, list[str]] | None:
    """Return the mode and the modalities by which ``data['item'].x`` was fused, if recorded.

    :class:`~pyg_mmgef.transforms.FuseModalities` records them in ``data['item'].fusion``.
    """
    recorded = data[ITEM].fusion if 'fusion' in data[ITEM] else None
    return None if recorded is None else (recorded['mode'], list(recorded['modalities']))
