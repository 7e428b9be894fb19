"""Full ranking: metrics over all items, and recommendations."""

from pyg_mmgef.ranking.bulk import recommend_to_parquet
from pyg_mmgef.ranking.cold_start import choose_cold_scale, evaluate_cold_start
from pyg_mmgef.ranking.evaluate import evaluate_ranking, per_user_metrics
from pyg_mmgef.ranking.new_interactions import new_interactions
from pyg_mmgef.ranking.recommend import Recommendations, recommend

__all__ = [
    'Recommendations',
    'choose_cold_scale',
    'evaluate_cold_start',
    'evaluate_ranking',
    'new_interactions',
    'per_user_metrics',
    'recommend',
    'recommend_to_parquet',
]
