"""For whom the recommendations work, and for whom they don't."""

from typing import Any

import torch

from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._numbers import percent

__all__ = ['for_whom', 'histogram']

EDGES = (0.25, 0.5, 0.75)
LABELS = ('none', 'up to a quarter', 'up to a half', 'up to three quarters', 'more', 'all')
WORST, SHOWN = 3, 6


def for_whom(evidence: Evidence) -> dict[str, Any]:
    """Return how the share of found choices is distributed, and the people it fails."""
    ours, theirs = (histogram(found) for found in evidence.found)
    total = max(sum(ours), 1)
    return {
        'rows': [
            {
                'name': label,
                'people': mine,
                'shares': [(percent(n / total), round(100 * n / total, 1)) for n in (mine, other)],
            }
            for label, mine, other in zip(LABELS, ours, theirs, strict=True)
        ],
        'worst': [_failed(evidence, place) for place in _worst(evidence)],
    }


def histogram(found: torch.Tensor) -> list[int]:
    """Count people by the share of their choices that is found.

    Args:
        found: The shares. Shape: ``[N]``.

    Returns:
        The number of people with none, with shares up to a quarter, a half, three quarters, with
        more, and with all.

    Example:
        >>> histogram(torch.tensor([0.0, 0.25, 0.3, 0.9, 1.0, 1.0]))
        [1, 1, 1, 0, 1, 2]
    """
    place = torch.bucketize(found, torch.tensor(EDGES, dtype=found.dtype)) + 1
    place[found == 0] = 0
    place[found >= 1] = len(LABELS) - 1
    return place.bincount(minlength=len(LABELS)).tolist()


def _worst(evidence: Evidence) -> list[int]:
    """Return the places of the people with most choices of which none is found."""
    missed = torch.where(evidence.found[0] == 0, evidence.lists.num_targets, 0)
    order = missed.argsort(descending=True, stable=True)[:WORST]
    return [place for place in order.tolist() if missed[place] > 0]


def _failed(evidence: Evidence, place: int) -> dict[str, Any]:
    lists, small = evidence.lists, evidence.cards.small
    user = int(lists.users[place])
    owned, wanted = evidence.owned(user), evidence.wanted(user)
    shown = [item for item in lists.items[place].tolist() if item >= 0]
    num_new = int((evidence.popularity[wanted] == 0).sum())
    return {
        'id': str(evidence.run.user_ids[user]),
        'num_owned': len(owned),
        'num_wanted': len(wanted),
        'num_new': num_new,
        'typical': int(evidence.popularity[wanted].median()),
        'strips': [
            (what, [small(item) for item in items[:SHOWN]])
            for what, items in (
                (f'{evidence.verb.capitalize()} before', owned),
                (
                    f'{evidence.verb.capitalize()} later'
                    if evidence.choices == 'later choices'
                    else 'Hidden',
                    wanted,
                ),
                ('Was recommended', shown),
            )
            if items
        ],
    }
