"""The part of a whole shop that this process holds."""

import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.distributed import FeatureShard, InteractionShard, ShardedData
from pyg_mmgef.distributed._exchange import even_starts, place_in
from pyg_mmgef.schema import INTERACTS, ITEM, item_graph, item_relations, num_users_items

__all__ = ['by_user', 'shard_of']


def by_user(data: HeteroData) -> HeteroData:
    """The shop with its interactions in the order in which shards have them."""
    user, item = data[INTERACTS].edge_index
    order = (user * num_users_items(data)[1] + item).argsort(stable=True)
    data = data.clone()
    data[INTERACTS].edge_index = data[INTERACTS].edge_index[:, order]
    data['item', 'rev_interacts', 'user'].edge_index = data[INTERACTS].edge_index.flip(0)
    return data


def shard_of(data: HeteroData) -> ShardedData:
    num_users, num_items = num_users_items(data)
    users, items = own(num_users), own(num_items)
    user, item = data[INTERACTS].edge_index
    here = (user >= users.start) & (user < users.stop)
    edges = torch.stack([user[here] - users.start, item[here]])
    features = {
        key[2:]: FeatureShard(
            items,
            num_items,
            data[ITEM][key][items.start : items.stop],
            data[ITEM].get(f'has_{key[2:]}', torch.ones(num_items) > 0)[items.start : items.stop],
        )
        for key in data[ITEM]
        if key.startswith('x_')
    }
    graphs = {}
    for relation in item_relations(data):
        edge_index, edge_weight = item_graph(data, relation)
        into = (edge_index[1] >= items.start) & (edge_index[1] < items.stop)
        graphs[relation] = edge_index[:, into], edge_weight[into]
    return ShardedData(InteractionShard(users, num_users, num_items, edges, None), features, graphs)


def own(number: int) -> range:
    rank, size = place_in(None)
    starts = even_starts(number, size)
    return range(starts[rank], starts[rank + 1])
