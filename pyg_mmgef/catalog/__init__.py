"""What a shop knows of its items, and its rules of what is shown; nothing here needs torch."""

from pyg_mmgef.catalog.catalog import Catalog
from pyg_mmgef.catalog.rerank import Reranked, rerank
from pyg_mmgef.catalog.rules import Rules

__all__ = ['Catalog', 'Reranked', 'Rules', 'rerank']
