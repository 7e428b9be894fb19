"""
From your tables and pictures to recommendations
================================================

A shop has a table of orders, a table of products with titles, and a folder of photos. This page
shows each step from there to recommendations. In place of your files it uses those of
:class:`~pyg_mmgef.datasets.SyntheticShop`; nothing is downloaded.
"""

import shutil
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch_geometric import seed_everything
from torch_geometric.transforms import Compose

from pyg_mmgef.datasets import InteractionTables, SyntheticShop
from pyg_mmgef.encoders import FeatureStore, PixelEncoder, TitleEncoder
from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import MMGEF, BPRLoss
from pyg_mmgef.ranking import evaluate_ranking, recommend
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    SplitInteractions,
)

seed_everything(0)
folder = Path(tempfile.mkdtemp())
raw = Path(SyntheticShop(folder, num_users=1500, num_items=500).raw_dir)
orders, products = raw / 'interactions.csv', raw / 'items.csv'
print(*orders.read_text().splitlines()[:4], sep='\n')
print()
print(*products.read_text().splitlines()[:4], sep='\n')

# %%
# Real files are never this clean, so we damage some: we add an order without a customer and one
# with an invalid time, truncate a photo and replace another by a web page.

with orders.open('a') as file:
    file.write(',17,1700000000\n3,17,yesterday\n')
pictures = sorted((raw / 'images').iterdir())
pictures[3].write_bytes(pictures[3].read_bytes()[:200])
pictures[8].write_text('<html>Not found</html>')

# %%
# Read the tables
# ---------------
#
# Ids may be strings or integers. Rows that can't be used are skipped, and the report counts them
# by reason.

dataset = InteractionTables(
    orders, products, user='user', item='item', time='time', text='title', image='image'
)
for words, count in dataset.report.items():
    print(f'{count:>8} {words}')

# %%
# Here are six products.


def show(items, titles):
    """Draw items in a row, in grey if there is no picture."""
    figure, axes = plt.subplots(1, len(items), figsize=(1.9 * len(items), 2.7))
    figure.subplots_adjust(top=0.7, wspace=0.05, left=0.01, right=0.99, bottom=0.01)
    for axis, item, title in zip(axes, items, titles, strict=True):
        path = dataset.item_images[item]
        readable = path is not None and has_image[item]
        axis.imshow(Image.open(path) if readable else Image.new('RGB', (64, 64), 'lightgrey'))
        axis.set_title(
            '\n'.join((title, *wrapped(dataset.item_texts[item] or '(no title)'))), size=8
        )
        axis.axis('off')


def wrapped(text, width=22):
    lines = ['']
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append('')
        lines[-1] = f'{lines[-1]} {word}'.strip()
    return lines[:3]


has_image = [path not in (pictures[3], pictures[8]) for path in dataset.item_images]
show(list(range(6)), [f'item {item}' for item in range(6)])

# %%
# Encode
# ------
#
# A :class:`~pyg_mmgef.encoders.FeatureStore` writes vectors to disk batch by batch: after an
# interruption the same lines continue, and a second call encodes only what has changed. A picture
# that can't be read becomes a *missing* modality, and the store gives the reason.
#
# These small encoders see colours, shapes and words, and need no download. For better results use
# ``OpenCLIPEncoder('ViT-B-32', 'laion2b_s34b_b79k')`` for both.

store = FeatureStore(folder / 'features')
with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # The reasons are listed below.
    x_image, has_image = store.images(PixelEncoder(), dataset.item_images)
x_text, has_text = store.texts(TitleEncoder().fit(dataset.item_texts), dataset.item_texts)
for missing in store.report('image'):
    if missing.path is not None:
        print(f'item {dataset.item_ids[missing.row]}: {missing.reason}')

dataset.add_features('image', x_image, has_image).add_features('text', x_text, has_text)
data = dataset[0]
print(data)

# %%
# Split, and build the item graphs
# --------------------------------
#
# Models must learn from the train part only, so we split first. The multimodal graph connects items
# with similar pictures and texts, the co-interaction graph those that share users.

train, val, test = SplitInteractions(seed=0)(data)
train = Compose([FuseModalities('concat'), AddItemKNNGraph(k=10), AddCoInteractionGraph(k=10)])(
    train
)

# %%
# The five strongest neighbours of an item in the multimodal graph:


def neighbours(relation, item):
    graph = train['item', relation, 'item']
    into = (graph.edge_index[1] == item).nonzero().view(-1)
    best = into[graph.edge_weight[into].argsort(descending=True)[:5]]
    return graph.edge_index[0, best].tolist()


item = 40
show([item, *neighbours('similar', item)], ['item', *['similar'] * 5])

# %%
# And in the co-interaction graph:

show([item, *neighbours('co_interacts', item)], ['item', *['shares users'] * 5])

# %%
# Train
# -----
#
# This is a plain PyTorch loop. :class:`~pyg_mmgef.training.RankingModule` adds early stopping,
# checkpoints and logs.

INTERACTS = ('user', 'interacts', 'item')
model = MMGEF.from_data(train, fusion='concat')
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3, fused=True)
loss_fn = BPRLoss()
loader = TripletLoader(train, batch_size=1024, shuffle=True)
curve, attention = [], []
for epoch in range(25):
    model.train()
    model.start_epoch(train, epoch)
    for users, items, negatives in loader:
        loss = model.loss(train, users, items, negatives, loss_fn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        z_user, z_item = model(train)
        attention.append(model.alpha(train).mean(dim=0).tolist())
    metrics = evaluate_ranking(
        z_user, z_item, val[INTERACTS].edge_label_index, exclude=train[INTERACTS].edge_index
    )
    curve.append(metrics['recall@20'])

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout='constrained')
left.plot(range(1, 26), curve)
left.set(xlabel='epoch', title='Recall@20 on validation')
right.plot(range(1, 26), attention, label=['similar', 'co_interacts'])
right.set(xlabel='epoch', title='attention')
right.legend(frameon=False)

# %%
# The test part is evaluated once, at the end.

seen = torch.cat([train[INTERACTS].edge_index, val[INTERACTS].edge_label_index], dim=1)
for name, value in evaluate_ranking(
    z_user, z_item, test[INTERACTS].edge_label_index, exclude=seen
).items():
    print(f'{name:>14} {value:.4f}')

# %%
# Recommend
# ---------
#
# :class:`~pyg_mmgef.datasets.IdMap` maps rows to your own ids. These are items of a customer:

user = dataset.user_ids.to_rows([7])
owned = data[INTERACTS].edge_index
scores, items = recommend(z_user, z_item, user, k=6, exclude=owned)
print(dict(zip(dataset.item_ids.to_ids(items[0]), scores[0].tolist(), strict=True)))
show(owned[1, owned[0] == user][:6].tolist(), ['has'] * 6)

# %%
# And these are the recommendations:

show(items[0].tolist(), ['recommended'] * 6)

# %%
# The same on the command line, with a report to look at (:doc:`the command line
# </guides/command_line>`):
#
# .. code-block:: bash
#
#     pyg-mmgef prepare orders.csv -o shop --items products.csv --text title --image photo
#     pyg-mmgef train shop -o runs/first
#     pyg-mmgef report runs/first

shutil.rmtree(folder)
