"""Training, the choice between models on validation data, and the first days of cold items."""

from pyg_mmgef.runs.choose import Choice, candidates, choose
from pyg_mmgef.runs.fit import Fit, fit
from pyg_mmgef.runs.warm_up import warm_up

__all__ = ['Choice', 'Fit', 'candidates', 'choose', 'fit', 'warm_up']
