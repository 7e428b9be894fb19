"""
New items: who would like them?
===============================

Products arrive that nobody has bought. This page hides some products of a shop, predicts their
embeddings from photo and title, and compares the prediction with what customers really bought.
"""

import tempfile

import matplotlib.pyplot as plt
import torch
from PIL import Image

from pyg_mmgef.datasets import SyntheticShop
from pyg_mmgef.nn import Popularity
from pyg_mmgef.presets import BEST
from pyg_mmgef.ranking import choose_cold_scale, evaluate_cold_start, evaluate_ranking
from pyg_mmgef.transforms import SplitColdItems, SplitInteractions

INTERACTS = ('user', 'interacts', 'item')
folder = tempfile.TemporaryDirectory()
shop = SyntheticShop(folder.name, num_users=1500, num_items=500)

# %%
# Make some items new
# -------------------
#
# A fifth of the items loses all of its interactions. Half of these are for validation, half for the
# test. Of the other items, some interactions of every user are held out, too.

train, cold_val, cold_test = SplitColdItems(0.2, seed=0)(shop[0])
train, val, test = SplitInteractions(seed=0)(train)
new = cold_test[INTERACTS].edge_label_index[1].unique()
print(f'{len(new)} new items for the test, such as {[shop.titles[i] for i in new[:3].tolist()]}')

# %%
# Fit a model
# -----------
#
# It is solved in closed form, which takes a second. It has an embedding for every item; those of
# the new ones are predicted from their features.

train = BEST.transform()(train)
model = BEST.model(train).eval()
with torch.no_grad():
    z_user, z_item = model(train)
print(tuple(z_user.shape), tuple(z_item.shape))

# %%
# Is the order of the new items right?
# ------------------------------------
#
# For each user the new items are ranked among themselves. Popularity knows nothing about them, so
# its order is chance.

cold = cold_test[INTERACTS].edge_label_index
popular = Popularity.from_data(train).eval()
popular.content_map = None
for name, z in {'ContentIALS': (z_user, z_item), 'chance': popular(train)}.items():
    metrics = evaluate_ranking(*z, cold, candidates=new, k=20, metrics='recall')
    print(f'{name:>12}: Recall@20 {metrics["recall@20"]:.3f}')

# %%
# Whom would you show a new item?
# -------------------------------
#
# To the users with the highest scores for it. Here is one new item, the first three users, and the
# last things that they bought.


def show(items, titles):
    """Draw items in a row, in grey if there is no picture."""
    figure, axes = plt.subplots(1, len(items), figsize=(1.5 * len(items), 2.1))
    figure.subplots_adjust(top=0.75, wspace=0.15, left=0.02, right=0.98, bottom=0.02)
    for axis, item, title in zip(axes, items, titles, strict=True):
        path = shop.image_paths[item]
        axis.imshow(Image.open(path) if path else Image.new('RGB', (64, 64), 'lightgrey'))
        axis.set_title(title, size=9)
        axis.axis('off')


has_picture = shop[0]['item'].has_image
count = cold[1].bincount(minlength=len(has_picture))
item = int((count * has_picture).argmax())
ranked = (z_user @ z_item[item]).argsort(descending=True)
bought = train[INTERACTS].edge_index
for user in ranked[:3].tolist():
    own = bought[1, bought[0] == user][-5:].tolist()
    show([item, *own], ['new', f'user {user} has', *[''] * (len(own) - 1)])

# %%
# Did the right users come first? These are the shares of users who really bought it.

is_buyer = torch.zeros(z_user.size(0))
is_buyer[cold[0, cold[1] == item]] = 1
print(f'of the first 50 users: {is_buyer[ranked[:50]].mean():.0%}')
print(f'of all users: {is_buyer.mean():.0%}')

# %%
# New items among the others
# --------------------------
#
# Among *all* items, new ones gain what the others lose. A factor of their embeddings,
# ``model.cold_scale``, balances the two: :func:`~pyg_mmgef.ranking.choose_cold_scale` finds the
# largest that costs the others at most 3 % of their recall on validation. The curve shows other
# factors.

seen = torch.cat([bought, val[INTERACTS].edge_label_index], dim=1)
target = test[INTERACTS].edge_label_index
is_cold = ~model.is_warm(train)[:, 0]
chosen = choose_cold_scale(
    z_user, z_item, val[INTERACTS].edge_label_index, ~is_cold, exclude=bought
)


def recalls(scale):
    z = torch.where(is_cold[:, None], scale * z_item, z_item)
    found = evaluate_cold_start(
        z_user, z, target, cold, is_cold.nonzero()[:, 0], exclude=seen, k=20, metrics='recall'
    )
    return [found[ranking]['recall@20'] for ranking in ('warm among all', 'cold among all')]


curve = [recalls(scale) for scale in (0.5, 1, 1.5, 2, 3, 4)]
figure, axis = plt.subplots(figsize=(5, 3.2), layout='constrained')
axis.plot(*zip(*curve, strict=True), 'o-', label='factor .5 to 4')
axis.plot(*recalls(chosen), 's', color='tab:red', label=f'chosen: {chosen:.2f}')
axis.set(xlabel='Recall@20 of the other items', ylabel='Recall@20 of new items')
axis.legend(frameon=False)

# %%
# An item that arrives tomorrow
# -----------------------------
#
# It isn't in the data. Encode its photo and title with the same encoders, and the fitted model
# gives its embedding at once:

features = {name: shop[0]['item'][f'x_{name}'][item : item + 1] for name in ('image', 'text')}
z_new = model.embed_items(train, features)
print('like the one above:', torch.allclose(z_new[0], z_item[item], atol=1e-4))

folder.cleanup()
