"""The layers inside a model of your own: a HeteroConv stack with PyG's SAGEConv.

Users pass through LightGCN's bipartite convolution, items also hear their similar items, and a
SAGEConv with weights of its own works on the same edges. Nothing of `pyg_mmgef.nn.models` is used.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, SAGEConv
from torch_geometric.transforms import Compose
from tqdm import tqdm

from pyg_mmgef.datasets import SyntheticShop
from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import BipartiteLGConv, BPRLoss, ItemGraphConv
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.transforms import AddItemKNNGraph, FuseModalities, SplitInteractions

TO_ITEM = ('user', 'interacts', 'item')
TO_USER = ('item', 'rev_interacts', 'user')
SIMILAR = ('item', 'similar', 'item')


class Recommender(torch.nn.Module):
    """One heterogeneous convolution, added to the embeddings it starts from."""

    def __init__(self, num_users: int, item_channels: int, channels: int = 64) -> None:
        super().__init__()
        self.user_embedding = torch.nn.Embedding(num_users, channels)
        torch.nn.init.normal_(self.user_embedding.weight, std=0.1)
        self.lin = torch.nn.Linear(item_channels, channels)
        self.propagate = HeteroConv(
            {
                TO_ITEM: BipartiteLGConv(),
                TO_USER: SAGEConv((channels, channels), channels),
                SIMILAR: ItemGraphConv(),
            },
            aggr='sum',
        )

    def forward(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the embeddings of all users and items."""
        x = {'user': self.user_embedding.weight, 'item': self.lin(data['item'].x)}
        edge_index = {
            TO_ITEM: data[TO_ITEM].edge_index,
            TO_USER: data[TO_ITEM].edge_index.flip(0),
            SIMILAR: data[SIMILAR].edge_index,
        }
        edge_weight = {TO_ITEM: None, SIMILAR: data[SIMILAR].edge_weight}
        out = self.propagate(x, edge_index, edge_weight_dict=edge_weight)
        return x['user'] + out['user'], x['item'] + out['item']


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--root', type=Path, default=Path('runs/shop'), help='where the shop is kept')
parser.add_argument('--epochs', type=int, default=30)
args = parser.parse_args()
seed_everything(0)

train, val, test = SplitInteractions()(SyntheticShop(args.root)[0])
train = Compose([FuseModalities('concat'), AddItemKNNGraph(k=10)])(train)
model = Recommender(train['user'].num_nodes, train['item'].x.size(1))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
loss_fn = BPRLoss()
loader = TripletLoader(train, batch_size=2048, shuffle=True)
for _ in (progress := tqdm(range(args.epochs), unit='epoch')):
    for users, items, negatives in loader:
        z_user, z_item = model(train)
        loss = loss_fn(z_user[users], z_item[items], z_item[negatives])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    progress.set_postfix(loss=f'{loss.item():.4f}')

seen = torch.cat([train[TO_ITEM].edge_index, val[TO_ITEM].edge_label_index], dim=1)
with torch.no_grad():
    z_user, z_item = model(train)
print(evaluate_ranking(z_user, z_item, test[TO_ITEM].edge_label_index, exclude=seen))
