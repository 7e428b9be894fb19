"""Data sets in the schema of this package: a synthetic shop, and readers of common files."""

from pyg_mmgef.datasets.amazon_reviews import AmazonReviews as AmazonReviews
from pyg_mmgef.datasets.hm_fashion import HMFashion as HMFashion
from pyg_mmgef.datasets.light_gcn_folder import LightGCNFolder as LightGCNFolder
from pyg_mmgef.datasets.micro_lens import MicroLens as MicroLens
from pyg_mmgef.datasets.mmrec_folder import MMRecFolder as MMRecFolder
from pyg_mmgef.datasets.movie_lens import MovieLens as MovieLens
from pyg_mmgef.datasets.shop.synthetic_shop import SyntheticShop as SyntheticShop
from pyg_mmgef.datasets.tables.id_map import IdMap as IdMap
from pyg_mmgef.datasets.tables.interaction_tables import InteractionTables as InteractionTables

__all__ = [
    'AmazonReviews',
    'HMFashion',
    'IdMap',
    'InteractionTables',
    'LightGCNFolder',
    'MMRecFolder',
    'MicroLens',
    'MovieLens',
    'SyntheticShop',
]
