"""Multimodal recommendation on PyTorch Geometric."""

from pyg_mmgef._versions import show_versions, versions

__version__ = '0.2.0'

__all__ = ['__version__', 'show_versions', 'versions']
