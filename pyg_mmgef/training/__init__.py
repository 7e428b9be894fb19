"""Training with Lightning: early stopping, exact resume, logs and several devices."""

import pyg_mmgef.training._lightning  # noqa: F401
from pyg_mmgef.training.atomic_checkpoint_io import AtomicCheckpointIO
from pyg_mmgef.training.epoch_progress import EpochProgress
from pyg_mmgef.training.interaction_data_module import InteractionDataModule
from pyg_mmgef.training.ranking_module import RankingModule
from pyg_mmgef.training.trainer import make_trainer

__all__ = [
    'AtomicCheckpointIO',
    'EpochProgress',
    'InteractionDataModule',
    'RankingModule',
    'make_trainer',
]
