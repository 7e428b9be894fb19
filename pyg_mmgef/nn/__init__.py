"""Layers, losses, parts of models, and models."""

from pyg_mmgef.nn.conv import BipartiteLGConv, ItemGraphConv
from pyg_mmgef.nn.explainable_mmgef import ExplainableMMGEF
from pyg_mmgef.nn.fusion import EarlyFusion, SoftEdgeFusion
from pyg_mmgef.nn.loss import AlignmentUniformityLoss, BPRLoss, SampledSoftmaxLoss
from pyg_mmgef.nn.models import *  # noqa: F403
from pyg_mmgef.nn.models import __all__ as _models
from pyg_mmgef.nn.parts import ItemGraphEncoder
from pyg_mmgef.nn.registry import recommenders

__all__ = [
    'AlignmentUniformityLoss',
    'BPRLoss',
    'BipartiteLGConv',
    'EarlyFusion',
    'ExplainableMMGEF',
    'ItemGraphConv',
    'ItemGraphEncoder',
    'SampledSoftmaxLoss',
    'SoftEdgeFusion',
    'recommenders',
    *_models,
]
