"""What a search may choose for each model: one range for an argument, whichever model has it."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from pyg_mmgef.nn import Recommender

__all__ = [
    'ARGUMENTS',
    'NOT_SEARCHED',
    'OF_MODEL',
    'TRAINING_SPACES',
    'Range',
    'Space',
    'search_space',
]


class Range(NamedTuple):
    """The numbers from one to another, both included; integers if both are."""

    low: float
    """The smallest."""
    high: float
    """The largest."""
    log: bool = False
    """Whether ratios count, not differences. (default: :obj:`False`)"""


Space: TypeAlias = Mapping[str, 'Range | tuple[Any, ...]']
"""A range, or choices, by the name of an option."""

TRAINING_SPACES: Mapping[str, Space] = {
    loss: {'lr': Range(3e-4, 2e-2, log=True), **own}
    for loss, own in {
        'bpr': {'l2': Range(1e-6, 1e-1, log=True)},
        'softmax': {'temperature': Range(0.05, 1.0, log=True)},
        'au': {'gamma': Range(0.1, 10.0, log=True)},
    }.items()
}
"""Of training, by the name of the loss."""

ARGUMENTS: Space = {
    'alignment_weight': Range(0.1, 10.0, log=True),
    'attention': ('graph', 'node', 'edge', 'mean'),
    'content_count': Range(1.0, 100.0, log=True),
    'content_weight': Range(0.0, 1.0),
    'contrast_weight': Range(1e-3, 1.0, log=True),
    'dropout': Range(0.0, 0.7),
    'edge_dropout': Range(0.0, 0.9),
    'embedding_dim': (32, 64, 128, 256),
    'fake_weight': Range(0.01, 0.9, log=True),
    'feature_loss_weight': Range(1e-5, 1e-1, log=True),
    'feature_weight': Range(1.0, 100.0, log=True),
    'global_weight': Range(0.1, 1.0),
    'history_content': Range(0.0, 1.0),
    'item_dropout': Range(0.0, 0.8),
    'k': Range(5, 40),
    'l2': Range(3e-3, 3e-1, log=True),  # Of models that are solved.
    'map_weight': Range(0.01, 1.0, log=True),
    'min_count': Range(1, 3),
    'norm_weight': Range(0.01, 1.0, log=True),
    'num_experts': Range(2, 8),
    'num_hyperedges': (4, 8, 16, 32),
    'num_item_layers': Range(1, 2),
    'num_layers': Range(1, 4),
    'num_routings': Range(0, 3),
    'rank': (16, 32, 64),
    'similarity_weight': Range(0.01, 1.0, log=True),
    'skip_weight': Range(0.0, 1.0),
    'target_weight': Range(0.1, 10.0, log=True),
    'temperature': Range(0.05, 1.0, log=True),
    'unobserved_weight': Range(10.0, 1000.0, log=True),  # Divided by the number of users.
    'weighting': ('cosine', 'jaccard', 'raw'),
}
"""Of the models, by the name of an argument."""
OF_MODEL: Mapping[str, Space] = {
    'CEASE': {'l2': Range(10.0, 1e4, log=True)},
    'EASE': {'l2': Range(10.0, 1e4, log=True)},
    'ItemKNN': {'k': Range(10, 500, log=True)},
}
"""Where a model's argument has another scale than its name elsewhere."""

NOT_SEARCHED: Mapping[str, str] = {
    **dict.fromkeys(('num_users', 'num_items', 'in_channels'), 'given by the data'),
    **dict.fromkeys(('item_graphs', 'fusion', 'item_input'), 'given by the data'),
    **dict.fromkeys(('seed', 'max_bytes', 'cache_bytes'), 'changes no quality'),
    **dict.fromkeys(('num_sweeps', 'num_steps', 'rebuild_every'), 'more is better, and slower'),
    **dict.fromkeys(('hidden_dim', 'feature_dim'), 'widths beside that of the embeddings'),
    **dict.fromkeys(('num_modality_layers', 'num_hyper_layers'), 'depths beside num_layers'),
    **dict.fromkeys(('bias', 'combination', 'subgraph'), 'what the paper compares'),
    **dict.fromkeys(('normalize_item', 'item_readout'), 'what presets set'),
    'recall': 'larger is slower',
    'sparse': 'for sampled batches alone',
    'embedding_l2': 'another place for the penalty of the loss',
    'l2_exponent': 'depends on l2, which is searched',
}
"""The arguments that no search changes, and why."""


def search_space(model: type[Recommender], num_users: int) -> Space:
    """Return what a search may choose of a model's own arguments.

    The options of training are not among them, see :data:`TRAINING_SPACES`.

    Args:
        model: The class of the model.
        num_users: Number of users, by which the weight of unobserved pairs is scaled.

    Example:
        >>> from pyg_mmgef.nn import EASE, ItemKNN
        >>> search_space(EASE, num_users=100)
        {'l2': Range(low=10.0, high=10000.0, log=True)}
        >>> list(search_space(ItemKNN, num_users=100))
        ['k', 'weighting', 'min_count']
    """
    ranges = {**ARGUMENTS, **OF_MODEL.get(model.__name__, {})}
    space = {name: ranges[name] for name in inspect.signature(model).parameters if name in ranges}
    if 'unobserved_weight' in space:
        low, high, log = ranges['unobserved_weight']
        space['unobserved_weight'] = Range(low / num_users, high / num_users, log)
    return space
