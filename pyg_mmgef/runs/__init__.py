"""Training, the choice between models by validation, warm-up curves of cold items, and export."""

from pyg_mmgef.runs.choose import Choice, candidates, choose
from pyg_mmgef.runs.export import ExportableRun, export
from pyg_mmgef.runs.fit import Fit, fit
from pyg_mmgef.runs.recommend_all import recommend_all
from pyg_mmgef.runs.warm_up import warm_up

__all__ = [
    'Choice',
    'ExportableRun',
    'Fit',
    'candidates',
    'choose',
    'export',
    'fit',
    'recommend_all',
    'warm_up',
]
