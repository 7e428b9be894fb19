"""From data to a trained model that recommends and is exported, and the choice between models."""

from pyg_mmgef.runs.choose import Choice, candidates, choose
from pyg_mmgef.runs.compare import Comparison, compare
from pyg_mmgef.runs.dataset_folder import DatasetFolder
from pyg_mmgef.runs.export import export
from pyg_mmgef.runs.fit import fit
from pyg_mmgef.runs.item_table import ItemTable
from pyg_mmgef.runs.recommend_all import recommend_all
from pyg_mmgef.runs.refit import refit
from pyg_mmgef.runs.run import Run
from pyg_mmgef.runs.run_data import RunData
from pyg_mmgef.runs.train_model import Training, train_model
from pyg_mmgef.runs.tune import tune
from pyg_mmgef.runs.warm_up import warm_up

__all__ = [
    'Choice',
    'Comparison',
    'DatasetFolder',
    'ItemTable',
    'Run',
    'RunData',
    'Training',
    'candidates',
    'choose',
    'compare',
    'export',
    'fit',
    'recommend_all',
    'refit',
    'train_model',
    'tune',
    'warm_up',
]
