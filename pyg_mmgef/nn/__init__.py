"""Layers, losses and models."""

from pyg_mmgef.nn.conv import BipartiteLGConv, ItemGraphConv
from pyg_mmgef.nn.fusion import EarlyFusion, SoftEdgeFusion
from pyg_mmgef.nn.loss import AlignmentUniformityLoss, BPRLoss, SampledSoftmaxLoss
from pyg_mmgef.nn.models import (
    BM3,
    FREEDOM,
    GRCN,
    LATTICE,
    MF,
    MGCN,
    MICRO,
    MMGCN,
    MMGEF,
    VBPR,
    ItemKNN,
    LightGCN,
    Popularity,
    Recommender,
)

__all__ = [
    'BM3',
    'FREEDOM',
    'GRCN',
    'LATTICE',
    'MF',
    'MGCN',
    'MICRO',
    'MMGCN',
    'MMGEF',
    'VBPR',
    'AlignmentUniformityLoss',
    'BPRLoss',
    'BipartiteLGConv',
    'EarlyFusion',
    'ItemGraphConv',
    'ItemKNN',
    'LightGCN',
    'Popularity',
    'Recommender',
    'SampledSoftmaxLoss',
    'SoftEdgeFusion',
]
