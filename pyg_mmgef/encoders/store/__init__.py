"""Features on disk: encoded once, kept beside the catalogue."""

from pyg_mmgef.encoders.store.feature_store import FeatureStore

__all__ = ['FeatureStore']
