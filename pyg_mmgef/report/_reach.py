"""How much of the catalogue is shown, and how popular it is."""

from typing import Any

from pyg_mmgef.ranking import TopLists, popularity_groups
from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._numbers import percent
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
    ours, theirs = evidence.measured
    most = counts['shown'].argsort(descending=True, stable=True)[:SHOWN]
    return {
        'rows': rows,
        'numbers': [
            ('Products shown to somebody', percent(ours['coverage']), percent(theirs['coverage'])),
            (
                "Share of a list that differs from another person's",
                percent(ours['personalization']),
                percent(theirs['personalization']),
            ),
            (
                'People who have a shown product, typically',
                *(f'{_typical(x, evidence):,}' for x in (lists, evidence.best_sellers)),
            ),
        ],
        'most': [
            evidence.cards(
                item, f'in {percent(int(counts["shown"][item]) / len(lists.users))} of the lists'
            )
            for item in most.tolist()
            if counts['shown'][item] > 0
        ],
    }


def _typical(lists: TopLists, evidence: Evidence) -> int:
    """Return the median number of people who have a shown product."""
    shown = lists.items[lists.items >= 0]
    return int(evidence.popularity[shown].median()) if shown.numel() else 0


def _bar(share: float) -> float:
    return round(100 * share, 1)
