"""Multimodal recommendation on PyTorch Geometric."""

from pyg_mmgef._versions import show_versions

__version__ = '0.1.0'

__all__ = ['__version__', 'show_versions']
