"""Layers, losses and models."""

from pyg_mmgef.nn.conv import BipartiteLGConv, ItemGraphConv
from pyg_mmgef.nn.fusion import EarlyFusion, SoftEdgeFusion
from pyg_mmgef.nn.loss import AlignmentUniformityLoss, BPRLoss, SampledSoftmaxLoss
from pyg_mmgef.nn.models import LATTICE, MICRO, MMGEF, LightGCN, Recommender

__all__ = [
    'LATTICE',
    'MICRO',
    'MMGEF',
    'AlignmentUniformityLoss',
    'BPRLoss',
    'BipartiteLGConv',
    'EarlyFusion',
    'ItemGraphConv',
    'LightGCN',
    'Recommender',
    'SampledSoftmaxLoss',
    'SoftEdgeFusion',
]
