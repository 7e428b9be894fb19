"""What a model needs to read a sampled batch in place of the whole data."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import HeteroData
from torch_geometric.data.storage import NodeStorage
from torch_geometric.typing import EdgeType

from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.schema import INTERACTS, ITEM, REV_INTERACTS, USER, is_sampled, item_graph
from pyg_mmgef.validate import check_ids

__all__ = ['check_batch', 'check_hops', 'item_part', 'num_rows', 'rows_of']


def rows_of(embedding: Module, store: NodeStorage, rows: Tensor | None = None) -> Tensor:
    """Return the rows of an embedding that belong to the nodes of the data.

    The nodes of a sampled batch, those that have an ``n_id``, are looked up by calling the module,
    so that only their rows are read and get a gradient: a sparse one, if the module has
    ``sparse=True``. Another module with the same call may take the place of
    :class:`torch.nn.Embedding`. For the whole data, the rows are those of ``embedding.weight``.

    Args:
        embedding: The embedding of all users or of all items.
        store: ``data['user']`` or ``data['item']``.
        rows: Ids in the data, local ones in a batch; :obj:`None` means all. Shape: ``[N]``.
            (default: :obj:`None`)

    Returns:
        Shape: ``[num_nodes, channels]`` or ``[N, channels]``.

    Example:
        >>> data = HeteroData({'user': {'n_id': torch.tensor([7, 2])}})
        >>> rows_of(torch.nn.Embedding(10, 4), data['user']).shape
        torch.Size([2, 4])
    """
    if 'n_id' in store:
        out: Tensor = embedding(select(store.n_id, rows))
        return out
    weight = embedding.weight
    assert isinstance(weight, Tensor)
    return select(weight, rows)


def num_rows(store: NodeStorage, num_nodes: int) -> int:
    """Return how many nodes the data has: those of a sampled batch, or all.

    Args:
        store: ``data['user']`` or ``data['item']``.
        num_nodes: The number of all.
    """
    return store.n_id.numel() if 'n_id' in store else num_nodes


def item_part(
    data: HeteroData, relations: Iterable[str], items: Tensor | None
) -> tuple[HeteroData, Tensor | None, Tensor | None]:
    """Return the part of a sampled batch that item graphs read, or the whole data as it is.

    Most items of a batch are there for their interactions alone; their features aren't read.

    Args:
        data: The train graph, or a batch.
        relations: The item graphs ``data['item', relation, 'item']``.
        items: The items whose rows are computed; :obj:`None` means all. Shape: ``[I]``.

    Returns:
        The part, its items as ids in :obj:`data`, and :obj:`items` as ids in the part;
        :obj:`None` means all.
    """
    if items is None or not is_sampled(data):
        return data, None, items
    graphs = {relation: item_graph(data, relation) for relation in relations}
    is_read = torch.zeros(data[ITEM].n_id.numel(), dtype=torch.bool, device=items.device)
    for ids in (items, *(edge_index.flatten() for edge_index, _ in graphs.values())):
        is_read[ids] = True
    read, local = is_read.nonzero().view(-1), is_read.cumsum(0) - 1
    # PyG's `subgraph` would index any list that happens to be as long as the items are many.
    part = HeteroData()
    for key, value in data[ITEM].items():
        is_row = isinstance(value, Tensor) and data[ITEM].is_node_attr(key)
        part[ITEM][key] = value[read] if is_row else value
    part[ITEM].num_nodes = read.numel()
    for relation, (edge_index, edge_weight) in graphs.items():
        part[ITEM, relation, ITEM].edge_index = local[edge_index]
        part[ITEM, relation, ITEM].edge_weight = edge_weight
    return part, read, local[items]


def check_batch(data: HeteroData, num_users: int, num_items: int) -> None:
    """Raise a :class:`ValueError` unless the data is a sampled batch that a model can read.

    Args:
        data: The batch.
        num_users: Number of users of the model.
        num_items: Number of items of the model.
    """
    for node_type, size in ((USER, num_users), (ITEM, num_items)):
        store = data[node_type] if node_type in data.node_types else {}
        for key in ('n_id', 'degree'):
            if key not in store:
                raise ValueError(
                    f"the sampled batch lacks data['{node_type}'].{key}; sample from data that "
                    'went through AddReverseInteractions'
                )
        check_ids(f"data['{node_type}'].n_id", store['n_id'], size, node_type)
        if store['degree'].shape != store['n_id'].shape:
            raise ValueError(
                f"data['{node_type}'].degree must have one number for each of "
                f'{store["n_id"].numel()} sampled {node_type}s (got '
                f'{list(store["degree"].shape)}); sample from data that went through '
                'AddReverseInteractions'
            )
    for edge_type in (INTERACTS, REV_INTERACTS):
        if edge_type not in data.edge_types or 'edge_index' not in data[edge_type]:
            raise ValueError(
                f'the sampled batch has no edges {edge_type}; sample both directions, from data '
                'that went through AddReverseInteractions'
            )


def check_hops(data: HeteroData, edge_types: Iterable[EdgeType], num_layers: int) -> None:
    """Raise a :class:`ValueError` if a batch has fewer hops than a model has layers.

    The last layers would receive nothing. Batches of a
    :class:`~pyg_mmgef.loader.TripletNeighborLoader` say how many hops they have, as ``num_hops``;
    others are taken as they are.

    Args:
        data: The train graph, or a batch.
        edge_types: Along which edges the layers propagate.
        num_layers: The number of layers.
    """
    for edge_type in edge_types if is_sampled(data) else ():
        num_hops = 0
        if edge_type in data.edge_types:
            num_hops = data[edge_type].get('num_hops', num_layers)
        if num_hops < num_layers:
            raise ValueError(
                f'the batch has {num_hops} hops along the edges {edge_type}, fewer than the '
                f"model's {num_layers} layers over them; build the loader with "
                'num_neighbors=[10] * model.num_layers, or other numbers, and with '
                'num_item_layers=model.num_item_layers where the model has them'
            )
