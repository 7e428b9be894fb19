"""Sparse products: a graph with its transpose, propagation over its layers, scores of its edges."""

from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.sparse.edge_scores import edge_scores
from pyg_mmgef.sparse.layer_mean import layer_mean

__all__ = ['CSRPair', 'edge_scores', 'layer_mean']
