"""Encoders, which turn pictures and texts of items into vectors, and a store of features."""

from pyg_mmgef.encoders.missing_item import MissingItem as MissingItem
from pyg_mmgef.encoders.open_clip_encoder import OpenCLIPEncoder as OpenCLIPEncoder
from pyg_mmgef.encoders.picture_problem import picture_problem as picture_problem
from pyg_mmgef.encoders.pixel_encoder import PixelEncoder as PixelEncoder
from pyg_mmgef.encoders.protocol import ImageEncoder as ImageEncoder
from pyg_mmgef.encoders.protocol import TextEncoder as TextEncoder
from pyg_mmgef.encoders.sentence_transformer_encoder import (
    SentenceTransformerEncoder as SentenceTransformerEncoder,
)
from pyg_mmgef.encoders.store.feature_store import FeatureStore as FeatureStore
from pyg_mmgef.encoders.title_encoder import TitleEncoder as TitleEncoder
from pyg_mmgef.encoders.torchvision_compat import import_torchvision as import_torchvision

__all__ = [
    'FeatureStore',
    'ImageEncoder',
    'MissingItem',
    'OpenCLIPEncoder',
    'PixelEncoder',
    'SentenceTransformerEncoder',
    'TextEncoder',
    'TitleEncoder',
    'import_torchvision',
    'picture_problem',
]
