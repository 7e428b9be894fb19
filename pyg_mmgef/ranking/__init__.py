"""Full ranking: how good it is, and what it recommends."""

from pyg_mmgef.ranking.evaluate import evaluate_ranking, per_user_metrics
from pyg_mmgef.ranking.recommend import Recommendations, recommend

__all__ = ['Recommendations', 'evaluate_ranking', 'per_user_metrics', 'recommend']
