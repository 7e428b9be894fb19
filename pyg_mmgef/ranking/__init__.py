"""Full ranking: how good it is, and what it recommends."""

from pyg_mmgef.ranking.evaluate import evaluate_ranking, per_user_metrics
from pyg_mmgef.ranking.recommend import recommend

__all__ = ['evaluate_ranking', 'per_user_metrics', 'recommend']
