"""The results by groups of people and of products."""

from collections.abc import Mapping
from typing import Any

from pyg_mmgef.ranking import Groups, activity_groups, label_groups, popularity_groups
from pyg_mmgef.report._evidence import Evidence
from pyg_mmgef.report._numbers import lift, percent
from pyg_mmgef.report._reach import POPULARITY
from pyg_mmgef.schema import interactions

__all__ = ['groupings']


def groupings(evidence: Evidence) -> list[dict[str, Any]]:
    """Return tables of the share of choices that is found, by group; those of one row left out."""
    train = interactions(evidence.run.train)
    activity = activity_groups(train, evidence.num_users)
    popularity = popularity_groups(train, evidence.num_items)
    by_activity = {
        name: note.replace('interaction', 'choice') for name, note in activity.notes.items()
    }
    tables = [
        _table(evidence, activity, 'By how much a person has chosen before', by_activity),
        _table(evidence, popularity, 'By how popular the chosen product is', POPULARITY),
    ]
    if evidence.category is not None:
        values = evidence.run.catalog.fields[evidence.category].tolist()
        if any(value is not None for value in values):
            groups = label_groups(values, 'item')
            title = f'By {evidence.category}'
            tables.append(_table(evidence, groups, title, {}))
    return [table for table in tables if len(table['rows']) > 1]


def _table(
    evidence: Evidence, groups: Groups, title: str, names: Mapping[str, str]
) -> dict[str, Any]:
    name = f'recall@{evidence.k}'
    ours, theirs = (x.grouped(groups, 'recall') for x in (evidence.lists, evidence.best_sellers))
    longest = max([x[name] for found in (ours, theirs) for x in found.values()], default=0) or 1
    return {
        'title': title,
        'rows': [
            {
                'name': _capitalized(names[group]) if group in names else group,
                'people': mine['users'],
                'choices': mine['interactions'],
                'shares': [
                    (percent(x[name]), round(100 * x[name] / longest, 1))
                    for x in (mine, theirs[group])
                ],
                'lift': lift(mine[name], theirs[group][name]),
            }
            for group, mine in ours.items()
        ],
    }


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
