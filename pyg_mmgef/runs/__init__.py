"""Training, the choice between models by validation, and warm-up curves of cold items."""

from pyg_mmgef.runs.choose import Choice, candidates, choose
from pyg_mmgef.runs.fit import Fit, fit
from pyg_mmgef.runs.warm_up import warm_up

__all__ = ['Choice', 'Fit', 'candidates', 'choose', 'fit', 'warm_up']
