"""A data loader of training triplets."""

from pyg_mmgef.loader.triplet_loader import TripletLoader

__all__ = ['TripletLoader']
