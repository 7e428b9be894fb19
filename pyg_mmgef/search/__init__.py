"""Search for similar items: an index that is kept, extended and searched, or a single query."""

from pyg_mmgef.search.item_index import ItemIndex
from pyg_mmgef.search.similar_items import SimilarItems, similar_items

__all__ = ['ItemIndex', 'SimilarItems', 'similar_items']
