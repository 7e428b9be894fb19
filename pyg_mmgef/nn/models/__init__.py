"""Recommenders: each maps a graph to the embeddings of all users and items."""

from pyg_mmgef.nn.models.lattice import LATTICE
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.micro import MICRO
from pyg_mmgef.nn.models.mmgef import MMGEF
from pyg_mmgef.nn.models.recommender import Recommender

__all__ = ['LATTICE', 'MICRO', 'MMGEF', 'LightGCN', 'Recommender']
