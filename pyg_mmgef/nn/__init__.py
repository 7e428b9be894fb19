"""Layers, losses and models."""

from pyg_mmgef.nn.conv import BipartiteLGConv, ItemGraphConv
from pyg_mmgef.nn.fusion import EarlyFusion, SoftEdgeFusion
from pyg_mmgef.nn.loss import BPRLoss
from pyg_mmgef.nn.models import MMGEF, LightGCN

__all__ = [
    'MMGEF',
    'BPRLoss',
    'BipartiteLGConv',
    'EarlyFusion',
    'ItemGraphConv',
    'LightGCN',
    'SoftEdgeFusion',
]
