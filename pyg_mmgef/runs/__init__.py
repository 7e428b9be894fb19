"""Training, and the choice between models, on validation data."""

from pyg_mmgef.runs.choose import Choice, candidates, choose
from pyg_mmgef.runs.fit import Fit, fit

__all__ = ['Choice', 'Fit', 'candidates', 'choose', 'fit']
