"""Fusion of modalities (early) and of item graphs (soft attention)."""

from pyg_mmgef.nn.fusion.early_fusion import EarlyFusion, concat_fusion, mean_fusion
from pyg_mmgef.nn.fusion.soft_edge_fusion import SoftEdgeFusion

__all__ = ['EarlyFusion', 'SoftEdgeFusion', 'concat_fusion', 'mean_fusion']
