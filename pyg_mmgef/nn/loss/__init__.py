"""Losses for learning to rank."""

from pyg_mmgef.nn.loss.bpr import BPRLoss

__all__ = ['BPRLoss']
