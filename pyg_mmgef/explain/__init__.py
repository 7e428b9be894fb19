"""Why an item is recommended: a score as the sum of its parts, in numbers and in words."""

from pyg_mmgef.explain.explanation import Explanation
from pyg_mmgef.explain.part import Part
from pyg_mmgef.explain.score_explainer import ScoreExplainer, explain_score

__all__ = ['Explanation', 'Part', 'ScoreExplainer', 'explain_score']
