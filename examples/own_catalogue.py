"""Your own tables and pictures: read, encode, train, and recommend in your own ids.

    python examples/own_catalogue.py      # as a stand-in, the CSV files of the synthetic shop
    python examples/own_catalogue.py orders.csv products.csv --user customer --item sku \
        --text title description --image photo --image-folder photos

The command `pyg-mmgef` does the same without Python.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import torch
from torch_geometric import seed_everything
from torch_geometric.transforms import Compose

from pyg_mmgef.datasets import InteractionTables, SyntheticShop
from pyg_mmgef.encoders import FeatureStore, PixelEncoder, TitleEncoder
from pyg_mmgef.nn import MMGEF, BPRLoss
from pyg_mmgef.ranking import recommend
from pyg_mmgef.training import InteractionDataModule, RankingModule, make_trainer
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    SplitInteractions,
)

INTERACTS = ('user', 'interacts', 'item')

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('interactions', nargs='?', help='table of interactions')
parser.add_argument('items', nargs='?', help='table of the items')
parser.add_argument('--user', default='user', help='columns, as they are called in your tables')
parser.add_argument('--item', default='item')
parser.add_argument('--text', nargs='*', default=['title'])
parser.add_argument('--image', default='image')
parser.add_argument('--image-folder', help='default: the folder of the table of items')
parser.add_argument('--root', type=Path, default=Path('runs/shop'), help='where the shop is kept')
parser.add_argument('--output', type=Path, default=Path('runs/own_catalogue'))
parser.add_argument('--epochs', type=int, default=100)
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()
if args.interactions is None:
    raw = Path(SyntheticShop(args.root).raw_dir)
    args.interactions, args.items = raw / 'interactions.csv', raw / 'items.csv'

# 1. Read. Rows that can't be used are counted by reason, not fatal.
dataset = InteractionTables(
    args.interactions,
    args.items,
    user=args.user,
    item=args.item,
    text=args.text,
    image=args.image,
    image_folder=args.image_folder,
)
for words, count in dataset.report.items():
    print(f'{count:>8} {words}')

# 2. Encode, into a store: after an interruption it goes on, and what hasn't changed isn't encoded
# again. These two encoders need no download; OpenCLIPEncoder(...) could replace both.
store = FeatureStore(args.output / 'features')
texts = TitleEncoder().fit(dataset.item_texts)
dataset.add_features('image', *store.images(PixelEncoder(), dataset.item_images, verbose=True))
dataset.add_features('text', *store.texts(texts, dataset.item_texts, verbose=True))
for bad in store.report('image'):
    if bad.path is not None:
        print(f'No picture of item {dataset.item_ids[bad.row]}: {bad.reason} ({bad.path})')

# 3. Split, then build the item graphs from what is left for training.
seed_everything(args.seed)
train, val, test = SplitInteractions(seed=args.seed)(dataset[0])
# The two encoders share no space, hence 'concat'; for CLIP, leave it out.
train = Compose([FuseModalities('concat'), AddItemKNNGraph(k=10), AddCoInteractionGraph(k=10)])(
    train
)

# 4. Train, until validation stops improving.
module = RankingModule(MMGEF.from_data(train, fusion='concat'), BPRLoss(), lr=5e-3)
interactions = InteractionDataModule(train, val, test, batch_size=2048, seed=args.seed)
trainer = make_trainer(args.output, max_epochs=args.epochs, patience=10)
trainer.fit(module, interactions)
trainer.test(module, interactions, ckpt_path='best', weights_only=True)

# 5. Recommend items that a user has not interacted with, in your ids.
with torch.inference_mode():
    z_user, z_item = module.model.eval()(train)
known = dataset[0][INTERACTS].edge_index
scores, items = recommend(z_user, z_item, k=10, exclude=known)
users = torch.arange(items.size(0))[:, None].expand_as(items)
found = items >= 0  # A user with nearly all items gets fewer.
columns = {
    'user': dataset.user_ids.to_ids(users[found]),
    'item': dataset.item_ids.to_ids(items[found]),
    'score': scores[found].tolist(),
}
path = args.output / 'recommendations.csv'
pyarrow.csv.write_csv(pa.table(columns), path)
print(f'{int(found.sum())} recommendations in {path}')
