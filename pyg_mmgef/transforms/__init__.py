"""Transforms of :class:`~torch_geometric.data.HeteroData`: fuse, build item graphs, split."""

from pyg_mmgef.transforms.add_co_interaction_graph import AddCoInteractionGraph
from pyg_mmgef.transforms.add_item_knn_graph import AddItemKNNGraph
from pyg_mmgef.transforms.add_reverse_interactions import AddReverseInteractions
from pyg_mmgef.transforms.fuse_modalities import FuseModalities
from pyg_mmgef.transforms.merge_item_graphs import MergeItemGraphs
from pyg_mmgef.transforms.rolling_folds import rolling_folds
from pyg_mmgef.transforms.split_cold_items import SplitColdItems
from pyg_mmgef.transforms.split_interactions import SplitInteractions

__all__ = [
    'AddCoInteractionGraph',
    'AddItemKNNGraph',
    'AddReverseInteractions',
    'FuseModalities',
    'MergeItemGraphs',
    'SplitColdItems',
    'SplitInteractions',
    'rolling_folds',
]
