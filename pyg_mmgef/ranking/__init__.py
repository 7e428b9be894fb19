"""Full ranking: metrics over all items, and recommendations."""

from pyg_mmgef.ranking.bulk import recommend_to_parquet, write_recommendations
from pyg_mmgef.ranking.cold_start import choose_cold_scale, evaluate_cold_start
from pyg_mmgef.ranking.evaluate import evaluate_ranking, per_user_metrics
from pyg_mmgef.ranking.groups import Groups, activity_groups, label_groups, popularity_groups
from pyg_mmgef.ranking.list_metrics import (
    average_popularity,
    coverage,
    diversity,
    exposure,
    gini,
    novelty,
    personalization,
)
from pyg_mmgef.ranking.new_interactions import new_interactions
from pyg_mmgef.ranking.recommend import Recommendations, recommend
from pyg_mmgef.ranking.significance import PairedTest, holm, paired_t_test
from pyg_mmgef.ranking.top_lists import TopLists

__all__ = [
    'Groups',
    'PairedTest',
    'Recommendations',
    'TopLists',
    'activity_groups',
    'average_popularity',
    'choose_cold_scale',
    'coverage',
    'diversity',
    'evaluate_cold_start',
    'evaluate_ranking',
    'exposure',
    'gini',
    'holm',
    'label_groups',
    'new_interactions',
    'novelty',
    'paired_t_test',
    'per_user_metrics',
    'personalization',
    'popularity_groups',
    'recommend',
    'recommend_to_parquet',
    'write_recommendations',
]
