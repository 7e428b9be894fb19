"""What a search chooses of the settings of a model, and the settings that its choice makes."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pyg_mmgef.nn import Recommender
from pyg_mmgef.runs._trials import Candidate
from pyg_mmgef.runs.losses import complete_loss, training_options
from pyg_mmgef.runs.models import NEIGHBORS, further_options, models, own_fields
from pyg_mmgef.runs.search_spaces import ARGUMENTS, TRAINING_SPACES, search_space
from pyg_mmgef.settings import Settings, model_options

__all__ = ['candidate', 'settings_of', 'tuned_settings']

FURTHER = 'options.'
"""Before the arguments of a model that no field of the settings sets."""


def settings_of(common: Settings, name: str) -> Settings:
    """Return the settings of a model: those of all models, without what it doesn't have.

    Args:
        common: The settings of the search.
        name: The name of the model.
    """
    model = models()[name]
    fields = {*model_options(), 'l2', *training_options()}
    kept = {*own_fields(model), *(training_options() if model.is_trained else ())}
    if model.reads_graphs:
        kept |= {'neighbors', 'graph_recall'}
    without: dict[str, Any] = dict.fromkeys(fields - kept)
    further = further_options(model)
    options = {key: value for key, value in common.options.items() if key in further}
    return replace(common, model=name, options=options, **without)


def candidate(settings: Settings, num_users: int) -> Candidate:
    """Return what a search may choose for a model; what is given isn't chosen.

    Args:
        settings: The settings of the model, as :func:`settings_of` returns them.
        num_users: Number of users.
    """
    model = models()[str(settings.model)]
    field_of = {argument: field for field, argument in own_fields(model).items()}
    space = dict(search_space(model, num_users))
    defaults = _defaults(model, num_users)
    names = {name: field_of.get(name, f'{FURTHER}{name}') for name in space}
    space = {names[name]: choices for name, choices in space.items()}
    defaults = {names[name]: defaults[name] for name in names}
    if model.reads_graphs and 'neighbors' not in space:
        space['neighbors'], defaults['neighbors'] = ARGUMENTS['k'], NEIGHBORS
    if model.is_trained:
        complete = complete_loss(settings)
        own = TRAINING_SPACES[str(complete.loss)]
        space |= own
        defaults |= {name: getattr(complete, name) for name in own}
    open_names = [name for name in space if not _is_given(settings, name)]
    return Candidate(
        {name: defaults[name] for name in open_names}, {name: space[name] for name in open_names}
    )


def tuned_settings(settings: Settings, chosen: Mapping[str, Any]) -> Settings:
    """Return the settings of a model with what a search has chosen.

    Args:
        settings: The settings of the model, as :func:`settings_of` returns them.
        chosen: The values by the names of :func:`candidate`.
    """
    further = {
        name.removeprefix(FURTHER): value
        for name, value in chosen.items()
        if name.startswith(FURTHER)
    }
    own = {name: value for name, value in chosen.items() if not name.startswith(FURTHER)}
    return replace(settings, options={**settings.options, **further}, budget=0, **own)


def _defaults(model: type[Recommender], num_users: int) -> dict[str, Any]:
    defaults = {
        name: parameter.default for name, parameter in inspect.signature(model).parameters.items()
    }
    if defaults.get('unobserved_weight', 0) is None:
        defaults['unobserved_weight'] = 100 / num_users  # What None means there.
    return defaults


def _is_given(settings: Settings, name: str) -> bool:
    if name.startswith(FURTHER):
        return name.removeprefix(FURTHER) in settings.options
    return getattr(settings, name) is not None
