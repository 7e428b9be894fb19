"""Search for the nearest items: an index that can be kept, extended and searched."""

from pyg_mmgef.search.item_index import ItemIndex

__all__ = ['ItemIndex']
