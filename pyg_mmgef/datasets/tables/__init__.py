"""A data set from your own tables of items and interactions."""

from pyg_mmgef.datasets.tables.id_map import IdMap
from pyg_mmgef.datasets.tables.interaction_tables import InteractionTables

__all__ = ['IdMap', 'InteractionTables']
