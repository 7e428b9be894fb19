"""What a shop knows of its items, its rules of what is shown, and new users; without torch."""

from pyg_mmgef.catalog.catalog import Catalog
from pyg_mmgef.catalog.content_weights import ContentWeights
from pyg_mmgef.catalog.fold_in import FoldIn, HistoryFoldIn, LeastSquaresFoldIn, LinearFoldIn
from pyg_mmgef.catalog.rerank import Reranked, rerank
from pyg_mmgef.catalog.rules import Rules
from pyg_mmgef.catalog.spread import item_covariance, score_spread

__all__ = [
    'Catalog',
    'ContentWeights',
    'FoldIn',
    'HistoryFoldIn',
    'LeastSquaresFoldIn',
    'LinearFoldIn',
    'Reranked',
    'Rules',
    'item_covariance',
    'rerank',
    'score_spread',
]
