"""Recommenders: each maps a graph to the embeddings of all users and items."""

from pyg_mmgef.nn.models.bm3 import BM3
from pyg_mmgef.nn.models.freedom import FREEDOM
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.mgcn import MGCN
from pyg_mmgef.nn.models.mmgef import MMGEF
from pyg_mmgef.nn.models.recommender import Recommender

__all__ = ['BM3', 'FREEDOM', 'MGCN', 'MMGEF', 'LightGCN', 'Recommender']
