import hashlib
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.files import read_json, write_json
from pyg_mmgef.nn import Recommender
from pyg_mmgef.presets import BEST, Preset
from pyg_mmgef.runs.train_model import train_model
from pyg_mmgef.schema import item_modalities, num_users_items
from pyg_mmgef.validate import check_positive

__all__ = ['Choice', 'candidates', 'choose']

PENALTIES = (0.03, 0.02, 0.05)
UNOBSERVED = (100.0, 50.0, 300.0)


class Choice(NamedTuple):
    """The preset that was best on validation, and its trained model."""

    name: str
    """Name of the preset."""
    preset: Preset
    """The preset."""
    model: Recommender
    """The trained model."""
    train: HeteroData
    """The train graph, with the item graphs that the model needs."""
    recalls: dict[str, float]
    """The recall on validation of each preset that was tried, by name."""


def candidates(train: HeteroData) -> dict[str, Preset]:
    """Return the presets that :func:`choose` tries, variants of :data:`~pyg_mmgef.presets.BEST`.

    They differ in the penalty ``l2`` and in ``unobserved_weight``, whose best values depend on the
    density of the data. The first is :data:`~pyg_mmgef.presets.BEST` itself.

    Args:
        train: The train graph.
    """
    num_users, _ = num_users_items(train)
    return {
        f'l2={l2}, unobserved={total:g}': replace(
            BEST, options={**BEST.options, 'l2': l2, 'unobserved_weight': total / num_users}
        )
        for total in UNOBSERVED
        for l2 in PENALTIES
    }


def choose(
    train: HeteroData,
    val: HeteroData,
    presets: Mapping[str, Preset] | None = None,
    *,
    budget: float | None = None,
    journal: str | os.PathLike[str] | None = None,
    k: int = 20,
    epochs: int = 200,
    seed: int = 0,
    say: Callable[[str], object] | None = None,
) -> Choice:
    """Train presets, and return the one with the best recall on validation.

    The presets are tried in their order. With a budget, no trial starts after that many seconds,
    but the first is always run. A journal stores the recall of each finished trial, so that an
    interrupted choice continues with the same file; only the best preset may then be trained a
    second time. Of equal recalls the first wins.

    Args:
        train: The train part of a split, without item graphs other than those it came with.
        val: The validation part.
        presets: The presets by name; :obj:`None` means :func:`candidates`. (default: :obj:`None`)
        budget: Seconds after which no trial starts; :obj:`None` tries all. (default: :obj:`None`)
        journal: JSON file of the finished trials. (default: :obj:`None`)
        k: The cut-off of the recall. (default: ``20``)
        epochs: Maximum number of epochs of a model that is trained. (default: ``200``)
        seed: Seed of the parameters and the batches. (default: ``0``)
        say: Called with a line after each trial, such as :func:`print`. (default: :obj:`None`)

    Returns:
        The name, the preset, the trained model with its train graph, and all recalls.

    Raises:
        ValueError: If there is no preset, a number isn't positive, the data lacks what a preset
            needs, or the journal is damaged.
    """
    presets = candidates(train) if presets is None else presets
    if not presets:
        raise ValueError("'presets' is empty; give at least one")
    if budget is not None:
        check_positive('budget', budget, integer=False)
    path = None if journal is None else Path(journal)
    kept: dict[str, float] = {}
    if path is not None and path.exists():
        kept = read_json(path, 'delete it to try all presets again')
    start = time.monotonic()
    recalls: dict[str, float] = {}
    best_name, best_recall = '', -math.inf
    trained: tuple[Recommender, HeteroData] | None = None  # The best, unless the journal had it.
    for number, (name, preset) in enumerate(presets.items(), start=1):
        key = f'{name} {_digest(preset, train, k, epochs, seed)}'
        fresh = None
        if key not in kept:
            if recalls and budget is not None and time.monotonic() - start > budget:
                continue
            model, data, kept[key] = _trained(preset, train, val, k, epochs, seed)
            fresh = model, data
            if path is not None:
                write_json(path, kept)
        recalls[name] = kept[key]
        if say is not None:
            trial = f'trial {number} of {len(presets)}, {name}'
            say(f'{trial}: recall@{k} {kept[key]:.4f}')
        if recalls[name] > best_recall:
            best_name, best_recall = name, recalls[name]
            trained = fresh
    if trained is None:
        trained = _trained(presets[best_name], train, val, k, epochs, seed)[:2]
    return Choice(best_name, presets[best_name], *trained, recalls)


def _trained(
    preset: Preset, train: HeteroData, val: HeteroData, k: int, epochs: int, seed: int
) -> tuple[Recommender, HeteroData, float]:
    data = preset.transform(build_similar=bool(item_modalities(train)[0]))(train)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = preset.model(data)
        found = train_model(
            model, data, val, loss_fn=preset.loss(), lr=preset.lr, epochs=epochs, k=k, seed=seed
        )
    return model, data, found.recall


def _digest(preset: Preset, train: HeteroData, k: int, epochs: int, seed: int) -> str:
    """Return a digest of all that a trial depends on, except the values of the data."""
    text = repr((preset, train, k, epochs, seed))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
