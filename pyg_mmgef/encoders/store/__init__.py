"""A store of features on disk."""

from pyg_mmgef.encoders.store.feature_store import FeatureStore

__all__ = ['FeatureStore']
