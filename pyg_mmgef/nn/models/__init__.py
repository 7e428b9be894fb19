"""Recommenders: each maps a graph to the embeddings of all users and items."""

from pyg_mmgef.nn.models.bm3 import BM3
from pyg_mmgef.nn.models.cease import CEASE
from pyg_mmgef.nn.models.clcrec import CLCRec
from pyg_mmgef.nn.models.cohesion import COHESION
from pyg_mmgef.nn.models.content_centroid import ContentCentroid
from pyg_mmgef.nn.models.content_ials import ContentIALS
from pyg_mmgef.nn.models.dropout_net import DropoutNet
from pyg_mmgef.nn.models.ease import EASE
from pyg_mmgef.nn.models.freedom import FREEDOM
from pyg_mmgef.nn.models.gar import GAR
from pyg_mmgef.nn.models.grcn import GRCN
from pyg_mmgef.nn.models.heater import Heater
from pyg_mmgef.nn.models.ials import IALS
from pyg_mmgef.nn.models.item_knn import ItemKNN
from pyg_mmgef.nn.models.lattice import LATTICE
from pyg_mmgef.nn.models.lgmrec import LGMRec
from pyg_mmgef.nn.models.light_gcn import LightGCN
from pyg_mmgef.nn.models.mf import MF
from pyg_mmgef.nn.models.mgcn import MGCN
from pyg_mmgef.nn.models.micro import MICRO
from pyg_mmgef.nn.models.mmgcn import MMGCN
from pyg_mmgef.nn.models.mmgef import MMGEF
from pyg_mmgef.nn.models.pgl import PGL
from pyg_mmgef.nn.models.popularity import Popularity
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.models.smore import SMORE
from pyg_mmgef.nn.models.vbpr import VBPR

__all__ = [
    'BM3',
    'CEASE',
    'COHESION',
    'EASE',
    'FREEDOM',
    'GAR',
    'GRCN',
    'IALS',
    'LATTICE',
    'MF',
    'MGCN',
    'MICRO',
    'MMGCN',
    'MMGEF',
    'PGL',
    'SMORE',
    'VBPR',
    'CLCRec',
    'ContentCentroid',
    'ContentIALS',
    'DropoutNet',
    'Heater',
    'ItemKNN',
    'LGMRec',
    'LightGCN',
    'Popularity',
    'Recommender',
]
