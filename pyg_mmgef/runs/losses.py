from dataclasses import replace
from typing import Any

from torch.nn import Module
from torch_geometric.data import HeteroData

from pyg_mmgef._spelling import spelt, spelt_with
from pyg_mmgef.nn import AlignmentUniformityLoss, BPRLoss, Recommender, SampledSoftmaxLoss
from pyg_mmgef.schema import INTERACTS
from pyg_mmgef.settings import Settings
from pyg_mmgef.validate import check_choice

__all__ = ['build_loss', 'check_negatives', 'complete_loss', 'loader_options', 'training_options']

OPTIONS: dict[str, dict[str, Any]] = {
    'bpr': {'l2': 1e-3},
    'softmax': {'temperature': 0.2, 'num_negatives': 512},
    'au': {'gamma': 1.0},
}
"""The options of each loss, with their defaults."""
TRAINING: dict[str, Any] = {
    'lr': 5e-3,
    'uniform_users': False,
    'batch_size': 2048,
    'epochs': 200,
    'patience': 20,
    'precision': '32-true',
}
"""The options of training, with their defaults."""


def complete_loss(settings: Settings) -> Settings:
    """Return settings with the defaults of the loss and of training filled in.

    Raises:
        ValueError: If the loss is unknown, or an option is given that it doesn't have.
    """
    loss = settings.loss or 'bpr'
    check_choice('loss', loss, list(OPTIONS))
    for other, options in OPTIONS.items():
        for name in options:
            if name not in OPTIONS[loss] and getattr(settings, name) is not None:
                raise ValueError(
                    f'{spelt(name)} is an option of {spelt_with("loss", other)}, not of {loss}'
                )
    defaults = {
        name: default
        for name, default in {**TRAINING, **OPTIONS[loss]}.items()
        if getattr(settings, name) is None
    }
    return replace(settings, loss=loss, **defaults)


def training_options() -> list[str]:
    """Return the options that only trained models have."""
    return ['loss', *TRAINING, *(name for options in OPTIONS.values() for name in options)]


def build_loss(settings: Settings) -> Module:
    """Build the loss from completed settings."""
    if settings.loss == 'bpr':
        assert settings.l2 is not None
        return BPRLoss(settings.l2)
    if settings.loss == 'softmax':
        assert settings.temperature is not None
        return SampledSoftmaxLoss(settings.temperature, in_batch=False)
    assert settings.gamma is not None
    return AlignmentUniformityLoss(settings.gamma)


def loader_options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of the loader that the loss needs."""
    assert settings.batch_size is not None
    common = {'batch_size': settings.batch_size, 'uniform_users': settings.uniform_users}
    if settings.loss == 'softmax':
        return {**common, 'num_negatives': settings.num_negatives, 'shared_negatives': True}
    return {**common, 'num_negatives': 1 if settings.loss == 'bpr' else 0}


def check_negatives(settings: Settings, model: Recommender, train: HeteroData) -> None:
    """Raise a :class:`ValueError` if there are no negatives where the model or the loss needs them.

    Args:
        settings: Completed settings.
        model: The model that is to be trained.
        train: The train graph.
    """
    if loader_options(settings)['num_negatives'] == 0:
        if model.needs_negatives:
            raise ValueError(
                f'{spelt_with("loss", settings.loss)} samples no negatives, which the model '
                f'{settings.model!r} needs; use another loss'
            )
        return
    user, item = train[INTERACTS].edge_index
    num_warm, num_users = item.unique().numel(), user.unique().numel()
    num_full = int((user.bincount() == num_warm).sum())
    if num_full > 0:
        other = (
            '' if model.needs_negatives else f'{spelt_with("loss", "au")}, which needs none, or '
        )
        raise ValueError(
            f'{num_full} of {num_users} users have all {num_warm} items of the train part, so that '
            f'no negatives can be sampled for them; use {other}a model that is not trained in '
            'epochs, such as the default'
        )
