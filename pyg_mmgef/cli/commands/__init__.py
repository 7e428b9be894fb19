"""The commands, one per file; the modules beside this folder do the work.

The commands import these when they run, so that ``--help`` doesn't wait for torch.
"""

from pyg_mmgef.cli.commands.compare import compare
from pyg_mmgef.cli.commands.evaluate import evaluate
from pyg_mmgef.cli.commands.explain import explain
from pyg_mmgef.cli.commands.export import export
from pyg_mmgef.cli.commands.info import info
from pyg_mmgef.cli.commands.models import models
from pyg_mmgef.cli.commands.prepare import prepare
from pyg_mmgef.cli.commands.recommend import recommend
from pyg_mmgef.cli.commands.refit import refit
from pyg_mmgef.cli.commands.report import report
from pyg_mmgef.cli.commands.serve import serve
from pyg_mmgef.cli.commands.similar import similar
from pyg_mmgef.cli.commands.train import train
from pyg_mmgef.cli.commands.tune import tune
from pyg_mmgef.cli.commands.update import update

__all__ = [
    'compare',
    'evaluate',
    'explain',
    'export',
    'info',
    'models',
    'prepare',
    'recommend',
    'refit',
    'report',
    'serve',
    'similar',
    'train',
    'tune',
    'update',
]
