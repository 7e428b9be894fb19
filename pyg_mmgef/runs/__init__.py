"""From data to a trained model that recommends, and the choice between models by validation."""

from pyg_mmgef.runs.choose import Choice, candidates, choose
from pyg_mmgef.runs.dataset_folder import DatasetFolder
from pyg_mmgef.runs.fit import fit
from pyg_mmgef.runs.item_table import ItemTable
from pyg_mmgef.runs.run import Run
from pyg_mmgef.runs.run_data import RunData
from pyg_mmgef.runs.train_model import Training, train_model
from pyg_mmgef.runs.tune import tune
from pyg_mmgef.runs.warm_up import warm_up

__all__ = [
    'Choice',
    'DatasetFolder',
    'ItemTable',
    'Run',
    'RunData',
    'Training',
    'candidates',
    'choose',
    'fit',
    'train_model',
    'tune',
    'warm_up',
]
