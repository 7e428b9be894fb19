"""Building item graphs: neighbours by content, neighbours by shared users, and their weights."""

from pyg_mmgef.graph.co_interaction import co_interaction_graph
from pyg_mmgef.graph.knn import knn_graph
from pyg_mmgef.graph.weights import (
    bipartite_normalize,
    merge_graphs,
    normalize_similarity,
    symmetric_normalize,
    symmetrize,
    union_graphs,
)

__all__ = [
    'bipartite_normalize',
    'co_interaction_graph',
    'knn_graph',
    'merge_graphs',
    'normalize_similarity',
    'symmetric_normalize',
    'symmetrize',
    'union_graphs',
]
