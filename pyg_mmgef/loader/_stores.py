"""Reading graphs from a ``HeteroData``, or from a feature store and a graph store."""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch_geometric.data import FeatureStore, GraphStore, HeteroData
from torch_geometric.data.remote_backend_utils import num_nodes
from torch_geometric.index import index2ptr, ptr2index
from torch_geometric.typing import EdgeType, NodeType
from torch_geometric.utils import lexsort

from pyg_mmgef.loader._neighbor_lists import NeighborLists
from pyg_mmgef.schema import INTERACTS, ITEM, REV_INTERACTS, USER, edge_values, num_users_items
from pyg_mmgef.validate import check_edge_index, check_ids

__all__ = [
    'GraphData',
    'check_degrees',
    'check_prepared',
    'node_counts',
    'read_lists',
    'relations_of',
]

GraphData: TypeAlias = HeteroData | tuple[FeatureStore, GraphStore]


def check_prepared(data: GraphData) -> None:
    """Raise a :class:`ValueError` unless the data has reversed interactions and degrees."""
    is_pair = (
        isinstance(data, tuple | list)
        and len(data) == 2
        and isinstance(data[0], FeatureStore)
        and isinstance(data[1], GraphStore)
    )
    if not isinstance(data, HeteroData) and not is_pair:
        raise ValueError(
            "'data' must be a HeteroData, or a tuple of a FeatureStore and a GraphStore (got "
            f'{type(data).__name__})'
        )
    missing = [str(key) for key in (INTERACTS, REV_INTERACTS) if key not in _edge_types(data)]
    missing += [f"data['{key}'].degree" for key in (USER, ITEM) if not _has(data, key, 'degree')]
    if missing:
        raise ValueError(
            f"'data' isn't prepared for sampling: it lacks {', '.join(missing)}; apply "
            'pyg_mmgef.transforms.AddReverseInteractions() to the train data'
        )


def _edge_types(data: GraphData) -> list[EdgeType]:
    if isinstance(data, HeteroData):
        return [edge_type for edge_type in data.edge_types if 'edge_index' in data[edge_type]]
    return list(dict.fromkeys(attr.edge_type for attr in data[1].get_all_edge_attrs()))


def _has(data: GraphData, key: NodeType | EdgeType, name: str) -> bool:
    """Return whether nodes or edges have an attribute."""
    if isinstance(data, HeteroData):
        return key in (*data.node_types, *data.edge_types) and name in data[key]
    return any(
        (attr.group_name, attr.attr_name) == (key, name) for attr in data[0].get_all_tensor_attrs()
    )


def node_counts(data: GraphData) -> dict[NodeType, int]:
    """Return the numbers of users and of items."""
    if isinstance(data, HeteroData):
        return dict(zip((USER, ITEM), num_users_items(data), strict=True))
    return {node_type: num_nodes(*data, node_type) for node_type in (USER, ITEM)}


def check_degrees(data: GraphData, node_type: NodeType, num_edges: Tensor) -> None:
    """Raise a :class:`ValueError` unless the data has the degrees that its interactions make.

    Args:
        data: The data.
        node_type: Users or items.
        num_edges: How many interactions lead to each of them. Shape: ``[num_nodes]``.
    """
    if isinstance(data, HeteroData):
        degree = data[node_type].degree
    else:
        degree = data[0].get_tensor(group_name=node_type, attr_name='degree', index=None)
    if not torch.equal(torch.as_tensor(degree).view(-1).long().cpu(), num_edges):
        raise ValueError(
            f"data['{node_type}'].degree isn't how many interactions each {node_type} has; after a "
            'change of the interactions, apply pyg_mmgef.transforms.AddReverseInteractions() again'
        )


def relations_of(data: GraphData, relations: Sequence[str] | None) -> list[str]:
    """Return the relations of the item graphs, all that the data has or those that are named.

    Raises:
        ValueError: If the data lacks one that is named, or its weights.
    """
    found = [
        relation
        for source, relation, destination in _edge_types(data)
        if source == destination == ITEM
        and _has(data, (source, relation, destination), 'edge_weight')
    ]
    missing = [relation for relation in relations or () if relation not in found]
    if missing:
        raise ValueError(
            f"'relations' names {missing[0]!r}, but 'data' has no such item graph with an "
            f"'edge_index' and an 'edge_weight' (found {found})"
        )
    return found if relations is None else list(relations)


def read_lists(
    data: GraphData,
    edge_type: EdgeType,
    sizes: dict[NodeType, int],
    weight_attr: str | None = None,
    time_attr: str | None = None,
) -> NeighborLists:
    """Return the neighbour lists of an edge type.

    Raises:
        ValueError: If ids are out of range, or an attribute is missing or unfit.
    """
    source, _, destination = edge_type
    if isinstance(data, HeteroData):
        ends = sizes[source], sizes[destination]
        check_edge_index('edge_index', data[edge_type].edge_index, ends, (source, destination))
    row, colptr, perm = _csc(data, edge_type, sizes[destination])
    if not isinstance(data, HeteroData):
        _check_csc(edge_type, row, colptr, sizes[source])
    weight = _edge_attribute(data, edge_type, row.numel(), 'weight_attr', weight_attr)
    if weight is not None and not bool(((weight > 0) & weight.isfinite()).all()):
        raise ValueError(
            f"'weight_attr', {weight_attr!r}, must hold positive, finite weights of the edges "
            f'{edge_type}; leave out edges that must never be sampled'
        )
    time = _edge_attribute(data, edge_type, row.numel(), 'time_attr', time_attr)
    if time is not None and bool(time.isnan().any()):
        raise ValueError(
            f"'time_attr', {time_attr!r}, must not be NaN for any of the edges {edge_type}; leave "
            'out edges without a time'
        )
    return NeighborLists(colptr, row, perm, sizes[source], weight=weight, time=time)


def _csc(
    data: GraphData, edge_type: EdgeType, num_destinations: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the sources by destination, where those of each begin, and the order of the edges."""
    if isinstance(data, HeteroData):
        row, col = data[edge_type].edge_index.cpu()
        col, perm = col.sort(stable=True)
        return row[perm], index2ptr(col, num_destinations), perm
    rows, pointers, perms = data[1].csc([edge_type])
    row, colptr, edge = rows[edge_type].cpu(), pointers[edge_type].cpu(), perms[edge_type]
    missing = num_destinations + 1 - colptr.numel()
    if missing > 0:  # A store that doesn't know its size ends with the last edge.
        colptr = torch.cat([colptr, colptr[-1:].expand(missing)])
    if edge is None:
        return row, colptr, None
    # PyG sorts by destination alone; the order of the edges to one is then not the same everywhere.
    order = lexsort([edge.cpu(), ptr2index(colptr)])
    return row[order], colptr, edge.cpu()[order]


def _check_csc(edge_type: EdgeType, row: Tensor, colptr: Tensor, num_sources: int) -> None:
    """Raise a :class:`ValueError` unless the edges of a store are those of a graph."""
    check_ids(f'sources of {edge_type}', row, num_sources, edge_type[0])
    bounds = int(colptr[0]), int(colptr[-1])
    if bounds != (0, row.numel()) or bool((colptr.diff() < 0).any()):
        raise ValueError(
            f'the graph store must hold for each destination of {edge_type} where its edges begin, '
            f'from 0 to {row.numel()} (got numbers from {bounds[0]} to {bounds[1]})'
        )


def _edge_attribute(
    data: GraphData, edge_type: EdgeType, num_edges: int, argument: str, name: str | None
) -> Tensor | None:
    """Return the attribute of edges that an argument names, one number for each edge.

    Reversed interactions without one share that of the interactions, in whose order they are.
    """
    if name is None:
        return None
    owner = edge_type
    if edge_type == REV_INTERACTS and not _has(data, edge_type, name):
        owner = INTERACTS
        _check_reversed(data, name)
    if not _has(data, owner, name):
        raise ValueError(
            f"'{argument}' names {name!r}, which the edges {edge_type} don't have; name an "
            'attribute with one number for each interaction'
        )
    if isinstance(data, HeteroData):
        return edge_values(data, owner, name).cpu()
    value = torch.as_tensor(data[0].get_tensor(group_name=owner, attr_name=name, index=None))
    if value.numel() != num_edges:
        raise ValueError(
            f'{name!r} of the edges {owner} must hold one number for each of {num_edges} edges '
            f'(got {list(value.shape)})'
        )
    return value.view(-1).cpu()


def _check_reversed(data: GraphData, name: str) -> None:
    """Raise a :class:`ValueError` unless the reversed interactions are in the same order."""
    graph_store = data if isinstance(data, HeteroData) else data[1]
    rows, cols, _ = graph_store.coo([INTERACTS, REV_INTERACTS])
    ends = (rows[INTERACTS], cols[REV_INTERACTS]), (cols[INTERACTS], rows[REV_INTERACTS])
    if not all(torch.equal(one.long(), other.long()) for one, other in ends):
        raise ValueError(
            f"the edges {REV_INTERACTS} aren't in the order of {INTERACTS}, so they can't share "
            f'{name!r}; give them an attribute {name!r} of their own'
        )
