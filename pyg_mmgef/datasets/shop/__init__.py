"""A synthetic shop."""

from pyg_mmgef.datasets.shop.synthetic_shop import SyntheticShop

__all__ = ['SyntheticShop']
