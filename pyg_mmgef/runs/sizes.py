"""The defaults of training that depend on the size of the data."""

from dataclasses import replace
from importlib.util import find_spec
from inspect import signature
from typing import Any, NamedTuple

import psutil
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef._spelling import spelt
from pyg_mmgef.nn import recommenders
from pyg_mmgef.presets import Preset
from pyg_mmgef.runs.losses import TRAINING
from pyg_mmgef.runs.models import has_content_graphs, models, presets
from pyg_mmgef.schema import INTERACTS, num_users_items, supervision_edges
from pyg_mmgef.settings import DEFAULT_MODEL, Settings

__all__ = [
    'SizeDefaults',
    'check_memory',
    'defaults_for',
    'fitting_size',
    'num_trials',
    'sampled_users',
]

BATCH = TRAINING['batch_size']
LARGE_FROM = 1_000_000
"""Train interactions from which batches are larger. Below, an epoch takes seconds."""
EDGES_OF_EPOCH = 4e7
"""Interactions over which the steps of an epoch propagate, all together, with larger batches."""
LARGEST_BATCH = 65_536
GRAPH_FROM = 50_000
"""Items from which kNN graphs are approximate. An exact search grows with their square."""
GRAPH_RECALL = 0.95
PAIRS_OF_VALIDATION = 4e9
"""User-item pairs from which validation ranks for a sample of users."""
VAL_USERS = 10_000
TRIALS = 3
"""Trials of the default model where there are many interactions: of the penalty alone."""
COPIES = 14
"""Arrays as large as the embeddings that training holds at once: the parameters, their gradients,
the two moments of Adam, the layers of a graph convolution and their gradients."""
COPIES_SOLVED = 10
"""Those that the conjugate gradients and the cold items of a solved model hold."""
BYTES_OF_EDGE = 60
"""Indices and weights of an interaction in both directions, and in the parts of the split."""


class SizeDefaults(NamedTuple):
    """What fits data of a size; :obj:`None` where nothing has to differ from small data."""

    batch_size: int = BATCH
    """Interactions per batch."""
    graph_recall: float | None = None
    """Share of the nearest items that item graphs must have; :obj:`None` means all."""
    val_users: int | None = None
    """Number of users in the validation of an epoch or a trial; :obj:`None` means all."""
    trials: int | None = None
    """Number of options that the default model tries; :obj:`None` means all."""


def defaults_for(
    num_users: int, num_items: int, num_interactions: int, *, num_val_users: int | None = None
) -> SizeDefaults:
    r"""Return the defaults that fit data of a size.

    * A training step propagates over all interactions :math:`E`, whatever its batch :math:`B`, so
      an epoch costs :math:`E^2 / B`. From a million interactions on, the batch is the power of two
      that keeps this below 40 million, at most 65,536. The learning rate stays as it is:
      one that grew with the root of the batch ranked worse in a random shop of 10,000 items.
    * From 50,000 items on, kNN graphs find 95 % of the neighbours: an exact search compares all
      pairs.
    * If validation would rank more than 4 billion pairs, it is that of 10,000 users.
    * From a million interactions on, the default model tries three penalties, not nine options.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        num_interactions: Number of train interactions.
        num_val_users: Number of users with a validation interaction; :obj:`None` means all.
            (default: :obj:`None`)

    Example:
        >>> defaults_for(1000, 1000, 20_000)
        SizeDefaults(batch_size=2048, graph_recall=None, val_users=None, trials=None)
        >>> defaults_for(200_000, 200_000, 1_600_000).batch_size
        65536
    """
    out = SizeDefaults()
    if num_interactions >= LARGE_FROM:
        batch = BATCH
        while batch < LARGEST_BATCH and num_interactions**2 / batch > EDGES_OF_EPOCH:
            batch *= 2
        out = out._replace(batch_size=batch, trials=TRIALS)
    if num_items >= GRAPH_FROM:
        out = out._replace(graph_recall=GRAPH_RECALL)
    ranked = num_users if num_val_users is None else num_val_users
    if ranked > VAL_USERS and ranked * num_items > PAIRS_OF_VALIDATION:
        out = out._replace(val_users=VAL_USERS)
    return out


def fitting_size(
    settings: Settings, train: HeteroData, val: HeteroData
) -> tuple[Settings, list[str]]:
    """Return settings in which what isn't given fits the size of the data, and why.

    A preset keeps its batches and graphs, which are part of it.

    Args:
        settings: The options as given, before :func:`~pyg_mmgef.runs.models.complete`.
        train: The train graph.
        val: The validation part.

    Returns:
        The settings, and a line to print for each choice that isn't that of small data.
    """
    num_users, num_items = num_users_items(train)
    num_edges = train[INTERACTS].edge_index.size(1)
    num_val_users = supervision_edges(val)[0].unique().numel()
    fit = defaults_for(num_users, num_items, num_edges, num_val_users=num_val_users)
    model = models().get(settings.model or DEFAULT_MODEL)
    chosen: dict[str, Any] = {}
    lines = []
    if model is not None and settings.preset is None:
        is_large = model.is_trained and fit.batch_size > BATCH
        if is_large and settings.batch_size is None:
            chosen['batch_size'] = fit.batch_size
            lines.append(
                f'batch {fit.batch_size:,}, as each step reads all {num_edges:,} interactions '
                f'({spelt("batch_size")} changes it)'
            )
        wants = fit.graph_recall is not None and has_content_graphs(model)
        if wants and settings.graph_recall is None and find_spec('faiss') is not None:
            chosen['graph_recall'] = GRAPH_RECALL
            lines.append(
                f'item graphs with {GRAPH_RECALL:.0%} of the nearest items, as there are '
                f'{num_items:,} items ({spelt("graph_recall")} changes it)'
            )
    if fit.val_users is not None and settings.val_users is None and _validates(settings):
        chosen['val_users'] = fit.val_users
        lines.append(
            f'epochs and options are chosen on {fit.val_users:,} users at random, as there are '
            f'{num_val_users:,} to rank {num_items:,} items for ({spelt("val_users")} changes it)'
        )
    return replace(settings, **chosen), lines


def num_trials(settings: Settings, train: HeteroData) -> int | None:
    """Return how many options the default model tries, :obj:`None` for all.

    Within a budget, time alone counts.
    """
    if settings.budget is not None:
        return None
    return defaults_for(*num_users_items(train), train[INTERACTS].edge_index.size(1)).trials


def sampled_users(part: HeteroData, num_users: int | None, seed: int) -> HeteroData:
    """Return a part with the held-out interactions of some users, chosen at random.

    Args:
        part: The validation part.
        num_users: The number of users; :obj:`None`, or more than there are, keeps all.
        seed: Seed of the choice.
    """
    edges = supervision_edges(part)
    users = edges[0].unique()
    if num_users is None or users.numel() <= num_users:
        return part
    order = torch.randperm(users.numel(), generator=torch.Generator().manual_seed(seed))
    is_chosen = torch.isin(edges[0], users[order[:num_users].to(users.device)])
    part = part.clone()
    part[INTERACTS].edge_label_index = edges[:, is_chosen]
    if 'edge_label' in part[INTERACTS]:
        part[INTERACTS].edge_label = torch.ones(int(is_chosen.sum()), device=edges.device)
    return part


def check_memory(settings: Settings, train: HeteroData, available: int | None = None) -> None:
    """Raise a :class:`ValueError` if a model needs more memory than there is.

    The estimate counts what is as large as the embeddings, and the interactions; of models that
    hold a matrix of all pairs of items, that.

    Args:
        settings: Completed settings.
        train: The train graph.
        available: Bytes that can be used; :obj:`None` asks the system. (default: :obj:`None`)
    """
    num_users, num_items = num_users_items(train)
    name = str(settings.model or settings.preset)
    channels, smaller = settings.embedding_dim or 0, f'a smaller {spelt("embedding_dim")}'
    if settings.preset is not None:
        channels = _channels_of(presets()[settings.preset])
        smaller = f'{spelt("model")} with a smaller {spelt("embedding_dim")} in place of the preset'
    copies = COPIES if settings.batch_size is not None else COPIES_SOLVED
    need = 4 * copies * (num_users + num_items) * channels
    need += BYTES_OF_EDGE * train[INTERACTS].edge_index.size(1)
    advice = (
        f'give {smaller}, use a machine with more memory, or spread users and items over '
        'processes, as examples/large_scale.py does with MMGEF'
    )
    if name in ('ease', 'cease'):
        need += 3 * 8 * num_items**2  # The Gram matrix, its factor and the inverse in float64.
        advice = f'it holds all pairs of {num_items:,} items; use another model'
    available = psutil.virtual_memory().available if available is None else available
    if need > available:
        raise ValueError(
            f'the model {name!r} needs about {need / 2**30:.1f} GiB of memory, and '
            f'{available / 2**30:.1f} GiB are free; {advice}'
        )


def _channels_of(preset: Preset) -> int:
    default = signature(recommenders()[preset.recommender]).parameters['embedding_dim'].default
    return int(preset.options.get('embedding_dim', default))


def _validates(settings: Settings) -> bool:
    """Return whether anything is chosen on validation: an epoch, or the default's options."""
    if settings.preset is not None:
        return settings.preset in presets()
    name = settings.model or DEFAULT_MODEL
    return name == DEFAULT_MODEL or (name in models() and models()[name].is_trained)
