"""Training of a model, and the choice between several, by validation."""

from pyg_mmgef.runs.choose import Choice, candidates, choose
from pyg_mmgef.runs.fit import Fit, fit

__all__ = ['Choice', 'Fit', 'candidates', 'choose', 'fit']
