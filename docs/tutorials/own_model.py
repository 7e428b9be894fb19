"""
Compose your own model
======================

The layers are PyG's :class:`~torch_geometric.nn.MessagePassing` layers, so they work beside
PyG's own. This page puts them into a :class:`~torch_geometric.nn.HeteroConv`, trains it in a plain
loop, and asks what the item graph is worth.
"""

import tempfile

import matplotlib.pyplot as plt
import torch
from torch_geometric import seed_everything
from torch_geometric.nn import HeteroConv, SAGEConv
from torch_geometric.transforms import Compose

from pyg_mmgef.datasets import SyntheticShop
from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import BipartiteLGConv, BPRLoss, ItemGraphConv
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.transforms import AddItemKNNGraph, FuseModalities, SplitInteractions

TO_ITEM = ('user', 'interacts', 'item')
TO_USER = ('item', 'rev_interacts', 'user')
SIMILAR = ('item', 'similar', 'item')

with tempfile.TemporaryDirectory() as folder:
    shop = SyntheticShop(folder, num_users=1500, num_items=500)[0]
train, val, test = SplitInteractions(seed=0)(shop)
train = Compose([FuseModalities('concat'), AddItemKNNGraph(k=10)])(train)
print(train)

# %%
# The model
# ---------
#
# Users send to items through LightGCN's convolution, items send back through PyG's
# :class:`~torch_geometric.nn.SAGEConv`, which has weights of its own, and items send to similar
# items. A ``HeteroConv`` adds what arrives at a node.


class Composed(torch.nn.Module):
    """One heterogeneous convolution, added to the embeddings that it starts from."""

    def __init__(self, num_users, item_channels, channels=64, with_item_graph=True):
        super().__init__()
        self.user_embedding = torch.nn.Embedding(num_users, channels)
        torch.nn.init.normal_(self.user_embedding.weight, std=0.1)
        self.lin = torch.nn.Linear(item_channels, channels)
        layers = {
            TO_ITEM: BipartiteLGConv(),
            TO_USER: SAGEConv((channels, channels), channels),
        }
        if with_item_graph:
            layers[SIMILAR] = ItemGraphConv()
        self.propagate = HeteroConv(layers, aggr='sum')

    def forward(self, data):
        x = {'user': self.user_embedding.weight, 'item': self.lin(data['item'].x)}
        edge_index = {
            TO_ITEM: data[TO_ITEM].edge_index,
            TO_USER: data[TO_ITEM].edge_index.flip(0),
            SIMILAR: data[SIMILAR].edge_index,
        }
        edge_weight = {TO_ITEM: None, SIMILAR: data[SIMILAR].edge_weight}
        out = self.propagate(x, edge_index, edge_weight_dict=edge_weight)
        return x['user'] + out['user'], x['item'] + out['item']


# %%
# A plain loop
# ------------
#
# A :class:`~pyg_mmgef.loader.TripletLoader` samples for each interaction an item that the user
# hasn't interacted with. The loss is small where the user's own item has the higher score.


def train_model(model, epochs=15):
    """Return Recall@20 on validation after each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loss_fn = BPRLoss()
    generator = torch.Generator().manual_seed(0)
    loader = TripletLoader(train, batch_size=2048, shuffle=True, generator=generator)
    curve = []
    for _ in range(epochs):
        for users, items, negatives in loader:
            z_user, z_item = model(train)
            loss = loss_fn(z_user[users], z_item[items], z_item[negatives])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            metrics = evaluate_ranking(
                *model(train),
                val[TO_ITEM].edge_label_index,
                exclude=train[TO_ITEM].edge_index,
                metrics='recall',
            )
        curve.append(metrics['recall@20'])
    return curve


num_users, channels = train['user'].num_nodes, train['item'].x.size(1)
models, curves = {}, {}
for name, with_item_graph in {'with item graph': True, 'without': False}.items():
    seed_everything(0)
    models[name] = Composed(num_users, channels, with_item_graph=with_item_graph)
    curves[name] = train_model(models[name])

figure, axis = plt.subplots(figsize=(5.5, 3), layout='constrained')
for name, curve in curves.items():
    axis.plot(range(1, len(curve) + 1), curve, label=name)
axis.set(xlabel='epoch', ylabel='Recall@20 on validation')
axis.legend(frameon=False)

# %%
# The test
# --------
#
# It is used once, at the end. One seed on one small shop decides nothing; the page
# :doc:`/guides/reproduce` shows how to compare with several seeds.

seen = torch.cat([train[TO_ITEM].edge_index, val[TO_ITEM].edge_label_index], dim=1)
for name, model in models.items():
    with torch.no_grad():
        z_user, z_item = model(train)
    metrics = evaluate_ranking(z_user, z_item, test[TO_ITEM].edge_label_index, exclude=seen, k=20)
    print(f'{name:>15}: Recall@20 {metrics["recall@20"]:.3f}, NDCG@20 {metrics["ndcg@20"]:.3f}')

# %%
# A model that is a :class:`~pyg_mmgef.nn.Recommender` has more: cold items, the command line's
# report, training with Lightning. :doc:`/guides/own_model` shows how to write one.
