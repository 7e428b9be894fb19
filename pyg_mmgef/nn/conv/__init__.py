"""Linear graph convolutions for interactions and item graphs."""

from pyg_mmgef.nn.conv.bipartite_lg_conv import BipartiteLGConv
from pyg_mmgef.nn.conv.item_graph_conv import ItemGraphConv

__all__ = ['BipartiteLGConv', 'ItemGraphConv']
