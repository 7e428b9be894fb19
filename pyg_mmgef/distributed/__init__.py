"""Data, graphs, training and ranking spread over processes (``torch.distributed``)."""

from pyg_mmgef.distributed.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from pyg_mmgef.distributed.co_interaction import sharded_co_interaction_graph
from pyg_mmgef.distributed.embeddings import sharded_embeddings
from pyg_mmgef.distributed.export import export_checkpoint
from pyg_mmgef.distributed.knn_graph import sharded_knn_graph
from pyg_mmgef.distributed.normalize import sharded_normalize_similarity
from pyg_mmgef.distributed.partition import (
    FeatureShard,
    InteractionShard,
    read_features,
    read_interactions,
)
from pyg_mmgef.distributed.process_group import Place, process_group
from pyg_mmgef.distributed.propagation import ShardedInteractions, sharded_layer_mean
from pyg_mmgef.distributed.ranking import (
    sharded_evaluate_ranking,
    sharded_recommend_to_parquet,
)
from pyg_mmgef.distributed.serving_export import sharded_export
from pyg_mmgef.distributed.sharded_data import ShardedData
from pyg_mmgef.distributed.sharded_model import ShardedModel, TableShard
from pyg_mmgef.distributed.sharded_triplet_loader import ShardedTripletLoader

__all__ = [
    'FeatureShard',
    'InteractionShard',
    'Place',
    'ShardedData',
    'ShardedInteractions',
    'ShardedModel',
    'ShardedTripletLoader',
    'TableShard',
    'export_checkpoint',
    'latest_checkpoint',
    'load_checkpoint',
    'process_group',
    'read_features',
    'read_interactions',
    'save_checkpoint',
    'sharded_co_interaction_graph',
    'sharded_embeddings',
    'sharded_evaluate_ranking',
    'sharded_export',
    'sharded_knn_graph',
    'sharded_layer_mean',
    'sharded_normalize_similarity',
    'sharded_recommend_to_parquet',
]
