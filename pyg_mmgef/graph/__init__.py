"""Building item graphs: neighbours by content, neighbours by shared users, and their weights."""

from pyg_mmgef.graph.co_interaction import co_interaction_graph
from pyg_mmgef.graph.csr_pair import CSRPair
from pyg_mmgef.graph.edge_scores import edge_scores
from pyg_mmgef.graph.item_index import ItemIndex
from pyg_mmgef.graph.knn import knn_graph
from pyg_mmgef.graph.layer_mean import layer_mean
from pyg_mmgef.graph.weights import (
    bipartite_normalize,
    merge_graphs,
    normalize_similarity,
    symmetric_normalize,
    symmetrize,
    union_graphs,
)

__all__ = [
    'CSRPair',
    'ItemIndex',
    'bipartite_normalize',
    'co_interaction_graph',
    'edge_scores',
    'knn_graph',
    'layer_mean',
    'merge_graphs',
    'normalize_similarity',
    'symmetric_normalize',
    'symmetrize',
    'union_graphs',
]
