"""LightGCN without content, in one plain loop: interactions go in, a ranking comes out.

python examples/lightgcn.py --data PATH      # a folder with *.inter; default: the synthetic shop
"""

import argparse
from pathlib import Path

import torch
from torch_geometric import seed_everything
from tqdm import tqdm

from pyg_mmgef.datasets import MMRecFolder, SyntheticShop
from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import BPRLoss, LightGCN
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.transforms import SplitInteractions

INTERACTS = ('user', 'interacts', 'item')

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--data', help='folder with *.inter')
parser.add_argument('--root', type=Path, default=Path('runs/shop'), help='where the shop is kept')
parser.add_argument('--epochs', type=int, default=50)
parser.add_argument('--lr', type=float, default=5e-3)
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()
seed_everything(args.seed)

data = list(MMRecFolder(args.data)) if args.data else [SyntheticShop(args.root)[0]]
train, val, test = data if len(data) == 3 else SplitInteractions(seed=args.seed)(data[0])

model = LightGCN.from_data(train, embedding_dim=64, num_layers=2)
generator = torch.Generator().manual_seed(args.seed)
loader = TripletLoader(train, batch_size=2048, shuffle=True, generator=generator)
loss_fn = BPRLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, fused=True)

for epoch in (progress := tqdm(range(args.epochs), unit='epoch')):
    model.start_epoch(train, epoch)
    for users, items, negatives in loader:
        loss = model.loss(train, users, items, negatives, loss_fn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        z_user, z_item = model(train)
        metrics = evaluate_ranking(
            z_user,
            z_item,
            target=val[INTERACTS].edge_label_index,
            exclude=train[INTERACTS].edge_index,
        )
    progress.set_postfix(loss=f'{loss.item():.4f}', recall=f'{metrics["recall@20"]:.4f}')

with torch.no_grad():
    z_user, z_item = model(train)
seen = torch.cat([train[INTERACTS].edge_index, val[INTERACTS].edge_label_index], dim=1)
for name, value in evaluate_ranking(
    z_user, z_item, target=test[INTERACTS].edge_label_index, exclude=seen
).items():
    print(f'{name:>14}: {value:.4f}')
