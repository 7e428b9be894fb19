"""The graph of the interactions that were kept, and the ids of its nodes."""

from itertools import compress

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from pyg_mmgef.datasets.tables._rows import InteractionRows
from pyg_mmgef.datasets.tables.id_map import IdMap
from pyg_mmgef.tables._numbering import DistinctIds

__all__ = ['build_graph', 'kept_ids']


def kept_ids(ids: DistinctIds, stays: NDArray[np.bool_]) -> tuple[NDArray[np.int32], IdMap]:
    """Return the new row of each id, ``-1`` for dropped ones, and the ids that are kept."""
    row = np.where(stays, np.cumsum(stays) - 1, -1).astype(np.int32)
    if isinstance(ids, np.ndarray):
        return row, IdMap(ids[stays])
    return row, IdMap(list(compress(ids, stays.tolist())))


def build_graph(
    rows: InteractionRows,
    user_row: NDArray[np.int32],
    item_row: NDArray[np.int32],
    user_ids: IdMap,
    item_ids: IdMap,
) -> HeteroData:
    """Return the graph, with ids, and with times and ratings if the rows have them."""
    data = HeteroData()
    for node_type, ids in (('user', user_ids), ('item', item_ids)):
        data[node_type].num_nodes = len(ids)
        if not ids.are_rows:
            data[node_type].id = ids.ids
    interacts = data['user', 'interacts', 'item']
    interacts.edge_index = torch.empty(2, len(rows.user), dtype=torch.int64)
    interacts.edge_index[0] = torch.from_numpy(user_row[rows.user])
    interacts.edge_index[1] = torch.from_numpy(item_row[rows.item])
    if rows.time is not None:
        interacts.time = torch.from_numpy(rows.time)
    if rows.rating is not None:
        interacts.rating = torch.from_numpy(rows.rating)
    return data
