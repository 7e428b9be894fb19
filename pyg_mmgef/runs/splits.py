from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import torch
from torch_geometric.data import HeteroData

from pyg_mmgef._spelling import spelt, spelt_with
from pyg_mmgef.runs._extended import with_old_train
from pyg_mmgef.schema import INTERACTS, ITEM, item_modalities
from pyg_mmgef.settings import Settings
from pyg_mmgef.transforms import SplitInteractions, rolling_folds
from pyg_mmgef.transforms._splitting import interactions_to_split, select_parts
from pyg_mmgef.transforms.split_interactions import MIN_TO_SPLIT
from pyg_mmgef.validate import check_positive

__all__ = ['NONE', 'Split', 'choose_split', 'held_out', 'split_data', 'split_folds', 'who_is_new']

Split = tuple[HeteroData, HeteroData, HeteroData]
GLOBAL: Final = 'global_time'
NONE: Final = 'none'


def choose_split(settings: Settings, data: HeteroData) -> tuple[Settings, str]:
    """Return settings with a split, and why it is this one.

    Where interactions have times, the default is one time for all users, since a model that is
    used knows nobody's future. If too little is left to measure, it is the latest interactions of
    each user; without times, random ones.

    Args:
        settings: The settings; a split that they name stays.
        data: All interactions.

    Returns:
        The settings, and a line to print, empty if they name a split.
    """
    if settings.split is not None:
        return settings, ''
    if 'time' not in data[INTERACTS]:
        return replace(settings, split='random'), (
            'split random: interactions of each user at random, as they have no times'
        )
    try:
        SplitInteractions(strategy=GLOBAL)(data)
    except ValueError as error:
        if settings.folds > 1:
            raise
        return replace(settings, split='time'), (
            f'split time: the latest interactions of each user, as {_cause(error)}'
        )
    return replace(settings, split=GLOBAL), (
        f'split {GLOBAL}: the latest 10 % of all interactions are for test, those before for '
        'validation'
    )


def split_data(settings: Settings, data: HeteroData) -> Split:
    """Split the data, and remove the features of modalities that the settings don't name.

    Args:
        settings: Completed settings.
        data: All interactions and features.

    Returns:
        The train, validation and test data.

    Raises:
        ValueError: If the split needs times that the data lacks, or holds nothing out.
    """
    return split_folds(replace(settings, folds=1), data)[0]


def split_folds(settings: Settings, data: HeteroData) -> list[Split]:
    """Split the data as :func:`split_data`, once for each fold, the latest fold last.

    Raises:
        ValueError: As :func:`split_data`, and if there are several folds of a split that isn't by
            one time for all users.
    """
    for name in item_modalities(data)[0]:
        if name not in settings.modalities:
            del data[ITEM][f'x_{name}'], data[ITEM][f'has_{name}']
    settings, _ = choose_split(settings, data)
    if settings.split == NONE:
        edge_index, kept = interactions_to_split(data)
        return [select_parts(data, kept, torch.zeros_like(edge_index[0]))]
    if settings.split != 'random' and 'time' not in data[INTERACTS]:
        raise ValueError(
            f'{spelt_with("split", settings.split)} needs the times of the interactions, which the '
            f'dataset lacks; prepare it with {spelt("time")}, or use '
            f'{spelt_with("split", "random")}'
        )
    if settings.folds != 1:
        check_positive('folds', settings.folds)
        if settings.split != GLOBAL:
            raise ValueError(
                f'{spelt_with("folds", settings.folds)} needs {spelt_with("split", GLOBAL)} (got '
                f'{settings.split!r})'
            )
        with _advice():
            return rolling_folds(data, settings.folds)
    assert settings.split is not None
    with _advice():
        split = SplitInteractions(strategy=settings.split, seed=settings.seed)(data)
    if _empty_parts(split):
        raise ValueError(
            f'validation and test would be empty, as no user has {MIN_TO_SPLIT} different items, '
            'one for each part; prepare a table with more interactions of the same users'
        )
    split = with_old_train(data, split)
    empty = _empty_parts(split)
    if empty:
        raise ValueError(
            f'{" and ".join(empty)} would be empty, as the model was trained on all interactions '
            'of known users that would be held out; update it with more new ones of these users'
        )
    return [split]


def _empty_parts(split: Split) -> list[str]:
    parts = {'validation': split[1], 'test': split[2]}
    return [name for name, part in parts.items() if part[INTERACTS].edge_label_index.size(1) == 0]


@contextmanager
def _advice() -> Iterator[None]:
    """Name the options in the errors of cuts in time."""
    try:
        yield
    except ValueError as error:
        if 'strategy=' not in str(error):
            raise
        raise ValueError(
            f'{spelt_with("split", GLOBAL)}: {_cause(error)}; use {spelt_with("split", "time")}, '
            'which holds out the latest interactions of each user, or '
            f'{spelt_with("split", "random")}'
        ) from error


def _cause(error: ValueError) -> str:
    return str(error).partition('; ')[0]


def held_out(part: HeteroData) -> dict[str, int]:
    """Return how much of a part is measured, and how much isn't as its users are new.

    Args:
        part: The validation or test data.

    Returns:
        The numbers of ``'interactions'`` and ``'users'`` in the metrics, and of
        ``'new_interactions'`` and ``'new_users'``, those without train interactions, which are not.
    """
    counts = {}
    for key, prefix in (('edge_label_index', ''), ('new_user_index', 'new_')):
        edges = part[INTERACTS].get(key)
        counts[f'{prefix}interactions'] = 0 if edges is None else edges.size(1)
        counts[f'{prefix}users'] = 0 if edges is None else edges[0].unique().numel()
    return counts


def who_is_new(split: Split) -> str:
    """Return a line on the users whose held-out interactions aren't measured, empty without any."""
    counts = [held_out(part) for part in split[1:]]
    known, new = (
        sum(count[key] for count in counts) for key in ('interactions', 'new_interactions')
    )
    if not new:
        return ''
    line = (
        f'{new:,} of {known + new:,} held-out interactions are of users who came later; they are '
        'not measured'
    )
    if new > known:
        other = spelt_with('split', 'time')
        line += f', so few are left; {other} measures the latest interactions of each user instead'
    return line
