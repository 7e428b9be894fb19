from torch_geometric.data import HeteroData

from pyg_mmgef.schema import ITEM
from pyg_mmgef.typing import WeightedGraph

__all__ = ['store_graph']


def store_graph(data: HeteroData, relation: str, graph: WeightedGraph) -> HeteroData:
    """Set ``data['item', relation, 'item']``, replacing a graph that was there."""
    edge_type = (ITEM, relation, ITEM)
    if edge_type in data.edge_types:
        del data[edge_type]
    data[edge_type].edge_index, data[edge_type].edge_weight = graph
    return data
