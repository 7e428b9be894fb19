"""What some people get, and which of their choices speak for it."""

from collections.abc import Sequence
from typing import Any

from pyg_mmgef.explain import Explanation
from pyg_mmgef.report._evidence import Evidence

__all__ = ['explained', 'people']

SHOWN, CHOSEN = 6, 8


def people(evidence: Evidence, number: int) -> list[dict[str, Any]]:
    """Return some people, sampled from those of the test part, with their recommendations.

    Args:
        evidence: The lists.
        number: Number of people.
    """
    rows = evidence.sample(len(evidence.lists.users), number)
    return [_person(evidence, row) for row in rows.tolist()]


def explained(evidence: Evidence, user: int, items: Sequence[int]) -> list[Explanation]:
    """Explain the scores of some products, if the model's scores split into parts."""
    try:
        return evidence.run.explainer(user, items)
    except ValueError:  # They don't, by neither side.
        return []


def _person(evidence: Evidence, row: int) -> dict[str, Any]:
    lists, cards = evidence.lists, evidence.cards
    user = int(lists.users[row])
    items = [item for item in lists.items[row].tolist() if item >= 0]
    shown, wanted, owned = items[:SHOWN], evidence.wanted(user), evidence.owned(user)
    explanations = explained(evidence, user, shown)
    groups: dict[int | None, list[dict[str, Any]]] = {}
    for place, item in enumerate(shown):
        card = cards(item)
        if item in wanted:
            card['hit'] = f'{evidence.verb} it'
        reason = None
        if explanations:
            why = explanations[place]
            card['reasons'] = _in_words(evidence, why)
            reason = _main_reason(why)
        groups.setdefault(reason, []).append(card)
    num_found = len(set(items) & set(wanted))
    return {
        'id': str(evidence.run.user_ids[user]),
        'num_owned': len(owned),
        'num_wanted': len(wanted),
        'num_found': num_found,
        'owned': [cards.small(item) for item in owned[:CHOSEN]],
        'groups': [
            {'because': None if reason is None else cards(reason), 'cards': found}
            for reason, found in groups.items()
        ],
    }


def _in_words(evidence: Evidence, why: Explanation) -> list[tuple[str, list[str]]]:
    """Return the reasons by the person's side and by the product's, each with what it is called."""
    sides = {
        'user': ('By what was chosen before', why.by_user),
        'item': ('By what it is', why.by_item),
    }
    return [
        (title, why.words(evidence.cards.titles, side, verb=evidence.verb))
        for side, (title, parts) in sides.items()
        if parts is not None and any(part.kind != 'item' for part in parts)
    ]


def _main_reason(why: Explanation) -> int | None:
    """Return the product of the person that speaks most for another, if any part is its own."""
    history = [part for part in why.by_user or () if part.kind == 'history' and part.score > 0]
    return max(history, key=lambda part: part.score).item if history else None
