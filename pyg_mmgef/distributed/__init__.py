"""Data, graphs, propagation and ranking that are spread over processes (``torch.distributed``)."""

from pyg_mmgef.distributed.co_interaction import sharded_co_interaction_graph
from pyg_mmgef.distributed.knn_graph import sharded_knn_graph
from pyg_mmgef.distributed.normalize import sharded_normalize_similarity
from pyg_mmgef.distributed.partition import (
    FeatureShard,
    InteractionShard,
    read_features,
    read_interactions,
)
from pyg_mmgef.distributed.propagation import ShardedInteractions, sharded_layer_mean
from pyg_mmgef.distributed.ranking import (
    sharded_evaluate_ranking,
    sharded_recommend_to_parquet,
)

__all__ = [
    'FeatureShard',
    'InteractionShard',
    'ShardedInteractions',
    'read_features',
    'read_interactions',
    'sharded_co_interaction_graph',
    'sharded_evaluate_ranking',
    'sharded_knn_graph',
    'sharded_layer_mean',
    'sharded_normalize_similarity',
    'sharded_recommend_to_parquet',
]
