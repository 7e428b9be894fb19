"""From data to a trained model that recommends, and the choice between models by validation."""

from pyg_mmgef.runs.choose import Choice, candidates, choose
from pyg_mmgef.runs.compare import Comparison, compare
from pyg_mmgef.runs.dataset_folder import DatasetFolder
from pyg_mmgef.runs.fit import fit
from pyg_mmgef.runs.item_table import ItemTable
from pyg_mmgef.runs.run import Run
from pyg_mmgef.runs.run_data import RunData
from pyg_mmgef.runs.train_model import Training, train_model
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
    'fit',
    'train_model',
    'warm_up',
]
