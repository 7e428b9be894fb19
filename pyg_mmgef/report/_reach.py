"""How much of the catalogue is shown, and how popular it is."""

from typing import Any

from pyg_mmgef.ranking import popularity_groups
from pyg_mmgef.ranking.top_lists import OF_ALL_LISTS, OF_LISTS
from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._numbers import percent
from pyg_mmgef.runs._metric_words import MEANINGS
from pyg_mmgef.schema import interactions

__all__ = ['POPULARITY', 'reach']

SHOWN = 6
POPULARITY = {
    'head': 'Best-sellers',
    'middle': 'In between',
    'tail': 'Seldom chosen',
    'cold': 'New',
}


def reach(evidence: Evidence) -> dict[str, Any]:
    """Return which products are shown, beside those that are chosen."""
    k, lists = evidence.k, evidence.lists
    groups = popularity_groups(interactions(evidence.run.train), evidence.num_items)
    counts = {
        'shown': lists.exposure(k),
        'chosen': evidence.popularity,
        'best_sellers': evidence.best_sellers.exposure(k),
    }
    rows = []
    for place, name in enumerate(groups.names):
        is_in = groups.index == place
        if bool(is_in.any()):
            shares = {
                what: int(n[is_in].sum()) / max(int(n.sum()), 1) for what, n in counts.items()
            }
            rows.append(
                {
                    'name': POPULARITY[name],
                    'num_items': int(is_in.sum()),
                    'shares': [(percent(share), _bar(share)) for share in shares.values()],
                }
            )
    ours, theirs = (x.evaluate((*OF_ALL_LISTS, *OF_LISTS)) for x in (lists, evidence.best_sellers))
    most = counts['shown'].argsort(descending=True, stable=True)[:SHOWN]
    return {
        'rows': rows,
        'numbers': [
            (MEANINGS[name.partition('@')[0]], name, f'{value:.4g}', f'{theirs[name]:.4g}')
            for name, value in ours.items()
        ],
        'most': [
            evidence.cards(
                item, f'in {percent(int(counts["shown"][item]) / len(lists.users))} of the lists'
            )
            for item in most.tolist()
            if counts['shown'][item] > 0
        ],
    }


def _bar(share: float) -> float:
    return round(100 * share, 1)
