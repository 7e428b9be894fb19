"""New products, and who would get them."""

from typing import Any

import torch

from pyg_mmgef.ranking import Groups
from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._numbers import percent
from pyg_mmgef.report._people import explained

__all__ = ['new_products']

MOST, AUDIENCE, CHOSEN = 6, 2, 3


def new_products(evidence: Evidence) -> dict[str, Any] | None:
    """Return what becomes of products without a choice in train, :obj:`None` if there are none."""
    is_new = evidence.popularity == 0
    if not bool(is_new.any()):
        return None
    lists, k = evidence.lists, evidence.k
    exposure = lists.exposure(k)
    reached = torch.where(is_new, exposure, 0)
    order = reached.argsort(descending=True, stable=True)[:MOST]
    groups = Groups('item', ('new',), is_new.long() - 1)
    found = [x.grouped(groups, 'recall').get('new') for x in (lists, evidence.best_sellers)]
    return {
        'num_new': int(is_new.sum()),
        'num_shown': int((reached > 0).sum()),
        'share': percent(int(reached.sum()) / int(exposure.sum())),
        'num_wanted': 0 if found[0] is None else int(found[0]['interactions']),
        'found': [percent(x[f'recall@{k}']) for x in found if x is not None],
        'products': [
            _product(evidence, item, int(reached[item])) for item in order.tolist() if reached[item]
        ],
    }


def _product(evidence: Evidence, item: int, num_lists: int) -> dict[str, Any]:
    place = (evidence.lists.items == item).nonzero()
    first = place[place[:, 1].argsort(stable=True)][:AUDIENCE]
    wanted = evidence.lists.target[:, evidence.lists.target[1] == item][0].tolist()
    card = evidence.cards(item)
    return {
        'card': card,
        'num_people': num_lists,
        'audience': [
            _person(evidence, int(evidence.lists.users[row]), rank + 1, item, wanted)
            for row, rank in first.tolist()
        ],
    }


def _person(
    evidence: Evidence, user: int, rank: int, item: int, wanted: list[int]
) -> dict[str, Any]:
    """Return a person with the choices that speak most for a product, or else the latest."""
    owned = evidence.owned(user)
    why = explained(evidence, user, [item])
    parts = [] if not why else [part for part in why[0].by_user or () if part.kind == 'history']
    best = sorted(parts, key=lambda part: -part.score)
    chosen = [part.item for part in best if part.item is not None] or owned
    return {
        'id': str(evidence.run.user_ids[user]),
        'rank': rank,
        'hit': user in wanted,
        'chosen': [evidence.cards.small(other) for other in chosen[:CHOSEN]],
    }
