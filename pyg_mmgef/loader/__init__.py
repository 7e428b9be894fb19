"""Data loaders of training triplets, alone or with the sampled subgraph around them."""

from pyg_mmgef.loader._generator_pickling import register_generators
from pyg_mmgef.loader.interaction_neighbor_sampler import InteractionNeighborSampler
from pyg_mmgef.loader.triplet_loader import TripletLoader
from pyg_mmgef.loader.triplet_neighbor_loader import TripletNeighborLoader

__all__ = ['InteractionNeighborSampler', 'TripletLoader', 'TripletNeighborLoader']

register_generators()
