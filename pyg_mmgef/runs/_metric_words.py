"""What metrics and groups mean, in the words of the pages."""

__all__ = ['MEANINGS', 'grouping_title']

MEANINGS = {
    'recall': 'share of the held-out items among the first k',
    'precision': 'share of the first k that were held out',
    'ndcg': 'counts a held-out item more the higher it is ranked',
    'map': 'mean precision at the ranks of the held-out items',
    'mrr': 'one divided by the rank of the first held-out item',
    'hit_ratio': 'share of the users with at least one held-out item among the first k',
    'coverage': 'share of the items that somebody is shown',
    'gini': 'inequality of how often items are shown: 0 if all are shown equally often',
    'personalization': 'difference between the lists of two users: 1 if they share no item',
    'diversity': 'difference between two items of a list, by content or by their users',
    'novelty': 'mean information of a shown item in bits, high for items that few users have',
    'average_popularity': 'mean number of train interactions of a shown item',
}
"""What each metric at a cut-off k says."""
GROUPINGS = {
    'activity': 'By activity of the user',
    'popularity': 'By popularity of the held-out item',
}


def grouping_title(by: str) -> str:
    """Return the title of a table by group.

    Args:
        by: ``'activity'``, ``'popularity'`` or a column of the item table.
    """
    return GROUPINGS.get(by, f'By {by} of the held-out item')
