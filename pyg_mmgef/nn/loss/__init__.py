"""Losses for learning to rank."""

from pyg_mmgef.nn.loss.alignment_uniformity import AlignmentUniformityLoss
from pyg_mmgef.nn.loss.bpr import BPRLoss
from pyg_mmgef.nn.loss.info_nce import info_nce
from pyg_mmgef.nn.loss.neighbor_contrast import NeighborContrastLoss
from pyg_mmgef.nn.loss.sampled_softmax import SampledSoftmaxLoss

__all__ = [
    'AlignmentUniformityLoss',
    'BPRLoss',
    'NeighborContrastLoss',
    'SampledSoftmaxLoss',
    'info_nce',
]
