"""MM-GEF trained with Lightning: early stopping, checkpoints, logs, several devices, bfloat16.

python examples/train.py --devices 2 --precision bf16-mixed

After an interruption, run the same command again: it goes on from the last epoch.
"""

import argparse
from pathlib import Path

from torch_geometric import seed_everything
from torch_geometric.transforms import Compose

from pyg_mmgef.datasets import MMRecFolder, SyntheticShop
from pyg_mmgef.nn import MMGEF, BPRLoss
from pyg_mmgef.training import InteractionDataModule, RankingModule, make_trainer
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    SplitInteractions,
)

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--data', help='folder with *.inter and *_feat.npy')
parser.add_argument('--root', type=Path, default=Path('runs/shop'), help='where the shop is kept')
parser.add_argument('--output', type=Path, default=Path('runs/train'))
parser.add_argument('--epochs', type=int, default=100)
parser.add_argument('--patience', type=int, default=10)
parser.add_argument('--lr', type=float, default=5e-3)
parser.add_argument('--devices', type=int, default=1)
parser.add_argument('--precision', default='32-true')
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()
seed_everything(args.seed)

data = list(MMRecFolder(args.data)) if args.data else [SyntheticShop(args.root)[0]]
train, val, test = data if len(data) == 3 else SplitInteractions(seed=args.seed)(data[0])
# The features come from encoders that share no space, hence 'concat'.
train = Compose([FuseModalities('concat'), AddItemKNNGraph(k=10), AddCoInteractionGraph(k=10)])(
    train
)

module = RankingModule(MMGEF.from_data(train, fusion='concat'), BPRLoss(), lr=args.lr)
shop = InteractionDataModule(train, val, test, batch_size=2048, seed=args.seed)
trainer = make_trainer(
    args.output,
    max_epochs=args.epochs,
    patience=args.patience,
    devices=args.devices,
    strategy='ddp' if args.devices > 1 else 'auto',
    precision=args.precision,
)
last = args.output / 'checkpoints' / 'last.ckpt'
trainer.fit(module, shop, ckpt_path=last if last.exists() else None)
trainer.test(module, shop, ckpt_path=args.output / 'checkpoints' / 'best.ckpt')
