"""Parts of models, for models of one's own."""

from pyg_mmgef.nn.parts.content_features import Content, ContentFeatures
from pyg_mmgef.nn.parts.content_map import ContentMap
from pyg_mmgef.nn.parts.embedding_parts import (
    ItemPart,
    UserParts,
    neighbor_parts,
    one_hot_parts,
    propagated_parts,
)
from pyg_mmgef.nn.parts.item_graph_encoder import ItemGraphEncoder, convolve
from pyg_mmgef.nn.parts.item_graphs import ItemGraphs
from pyg_mmgef.nn.parts.latent_graphs import LatentGraphs
from pyg_mmgef.nn.parts.modality_features import ModalityFeatures
from pyg_mmgef.nn.parts.modality_linear import ModalityLinear
from pyg_mmgef.nn.parts.sampled_batch import rows_of
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch

__all__ = [
    'Content',
    'ContentFeatures',
    'ContentMap',
    'ItemGraphEncoder',
    'ItemGraphs',
    'ItemPart',
    'LatentGraphs',
    'ModalityFeatures',
    'ModalityLinear',
    'TensorCache',
    'TripletBatch',
    'UserParts',
    'convolve',
    'neighbor_parts',
    'one_hot_parts',
    'propagated_parts',
    'rows_of',
]
