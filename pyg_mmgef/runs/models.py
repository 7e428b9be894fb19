import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform, Compose

from pyg_mmgef import presets as all_presets
from pyg_mmgef._spelling import spelt, spelt_with
from pyg_mmgef.nn import Recommender, recommenders
from pyg_mmgef.runs.losses import complete_loss, training_options
from pyg_mmgef.schema import item_modalities
from pyg_mmgef.settings import DEFAULT_MODEL, Settings, model_options
from pyg_mmgef.transforms import AddCoInteractionGraph, AddItemKNNGraph, FuseModalities
from pyg_mmgef.validate import check_choice

__all__ = [
    'NEIGHBORS',
    'build_model',
    'complete',
    'further_options',
    'has_content_graphs',
    'listed_options',
    'models',
    'own_fields',
    'presets',
]

NEIGHBORS = 10
PARAMETER_OF = {'neighbors': 'k', 'graph_recall': 'recall'}
"""Options whose name on the command line isn't that of the constructor's argument."""


def models() -> dict[str, type[Recommender]]:
    """Return all models by their names on the command line."""
    return {name.lower(): model for name, model in recommenders().items()}


def own_fields(model: type[Recommender]) -> dict[str, str]:
    """Return the fields of the settings that set arguments of a model, and which they set."""
    parameters = inspect.signature(model).parameters
    names = {option: PARAMETER_OF.get(option, option) for option in model_options()}
    if not model.is_trained:
        names['l2'] = 'l2'  # Here l2 is an option of the model, not of a loss.
    return {option: name for option, name in names.items() if name in parameters}


def _own_options(model: type[Recommender]) -> dict[str, Any]:
    """Return the fields of the settings that a model's constructor takes, with its defaults."""
    parameters = inspect.signature(model).parameters
    return {option: parameters[name].default for option, name in own_fields(model).items()}


def listed_options(model: type[Recommender]) -> dict[str, Any]:
    """Return the options of ``train`` that are specific to models and that this model has.

    The values are the defaults; :obj:`None` stands for one that ``train --help`` gives.
    """
    graphs: dict[str, Any] = {'neighbors': NEIGHBORS} if model.reads_graphs else {}
    if has_content_graphs(model):
        graphs['graph_recall'] = 1.0
    own = {
        name: None if name == 'fusion' else default for name, default in _own_options(model).items()
    }
    tuned = {'budget': None} if model is models()[DEFAULT_MODEL] else {}
    return {'modalities': None, **graphs, **own, **tuned}


def complete(settings: Settings, encoders: Mapping[str, str]) -> Settings:
    """Return settings with the defaults of the model and the loss filled in.

    Args:
        settings: The options as given.
        encoders: The encoder of each modality of the dataset.

    Raises:
        ValueError: If a name is unknown, or an option is given that the model doesn't have.
    """
    for name in settings.modalities:
        if name not in encoders:
            raise ValueError(
                f'the dataset has no modality {name!r} (it has {", ".join(encoders) or "none"})'
            )
    modalities = tuple(settings.modalities or encoders)
    one_encoder = len(set(encoders.values())) == 1 or len(modalities) == 1
    fusion = 'mean' if one_encoder else 'concat'
    if settings.preset is not None:
        return _complete_preset(settings, modalities)
    name_of_model = settings.model or DEFAULT_MODEL
    settings = replace(settings, model=name_of_model)
    check_choice('model', name_of_model, list(models()))
    model = models()[name_of_model]
    own = _own_options(model)
    _check_further(settings, model)
    values: dict[str, Any] = {}
    for name in (*model_options(), *([] if model.is_trained else training_options())):
        given = getattr(settings, name)
        if name in own:
            values[name] = own[name] if given is None else given
        elif given is not None and not _is_of_graphs(name, model):
            raise _unknown_option(name, settings)
    if 'fusion' in own and settings.fusion in (None, 'auto'):
        values['fusion'] = fusion
    settings = replace(settings, modalities=modalities, **values)
    return complete_loss(settings) if model.is_trained else settings


def build_model(settings: Settings, train: HeteroData) -> tuple[HeteroData, Recommender]:
    """Return the train graph with the item graphs that the model needs, and the model.

    :attr:`Recommender.reads_graphs` names the graphs. Parameters are initialised from torch's
    global generator.

    Args:
        settings: Completed settings.
        train: The train graph, with the features of the settings' modalities alone.

    Raises:
        ValueError: If the data doesn't fit the model, or :obj:`neighbors` is given and there is no
            item graph.
    """
    if settings.preset is not None:
        return _build_preset(settings, train)
    assert settings.model is not None
    model = models()[settings.model]
    options = {
        PARAMETER_OF.get(name, name): getattr(settings, name) for name in _own_options(model)
    }
    if 'fusion' in options and not settings.modalities:
        del options['fusion']
    graphs = _graphs(model, settings, train)
    if not graphs and settings.neighbors is not None and 'k' not in options:
        raise _unknown_option('neighbors', settings)
    train = Compose(graphs)(train)
    return train, model.from_data(train, **options, **settings.options)


def has_content_graphs(model: type[Recommender]) -> bool:
    """Return whether a model reads or learns kNN graphs of the items' content."""
    reads = any(name.startswith('similar') for name in model.reads_graphs)
    return reads or 'recall' in inspect.signature(model).parameters


def further_options(model: type[Recommender]) -> list[str]:
    """Return the arguments of a model's constructor that no field of the settings sets."""
    fields_set = set(own_fields(model).values())
    by_data = {'num_users', 'num_items', 'in_channels'}
    return [
        name for name in inspect.signature(model).parameters if name not in fields_set | by_data
    ]


def _is_of_graphs(name: str, model: type[Recommender]) -> bool:
    """Return whether an option is one of the item graphs that may be built for a model."""
    return name == 'neighbors' or (name == 'graph_recall' and has_content_graphs(model))


def _check_further(settings: Settings, model: type[Recommender]) -> None:
    known = further_options(model)
    for name in settings.options:
        if name not in known:
            raise ValueError(
                f'the model {settings.model!r} has no further option {name!r} (it has '
                f'{", ".join(known) or "none"})'
            )


def _graphs(model: type[Recommender], settings: Settings, train: HeteroData) -> list[BaseTransform]:
    """Return the transforms that build the item graphs that the model needs."""
    k, recall = settings.neighbors or NEIGHBORS, settings.graph_recall
    graphs: list[BaseTransform] = []
    if 'similar' in model.reads_graphs and settings.modalities:
        # Learned fusion weights exist in the model only; the graph is built from the mean.
        fusion = 'concat' if settings.fusion == 'concat' else 'mean'
        graphs += [FuseModalities(fusion), AddItemKNNGraph(k=k, recall=recall)]
    if 'similar_<modality>' in model.reads_graphs:
        graphs += [
            AddItemKNNGraph(k=k, recall=recall, attr=f'x_{name}', relation=f'similar_{name}')
            for name in item_modalities(train)[0]
        ]
    if 'co_interacts' in model.reads_graphs:
        graphs.append(AddCoInteractionGraph(k=k))
    return graphs


def _unknown_option(name: str, settings: Settings) -> ValueError:
    return ValueError(
        f'{spelt(name)} is not an option of the model {settings.model!r}; leave it out '
        '("pyg-mmgef models" lists the options of each model)'
    )


# The functions below are the only ones that know presets.


def presets() -> dict[str, all_presets.Preset]:
    """Return all presets by their names in lower case."""
    named = {name.lower(): getattr(all_presets, name) for name in all_presets.__all__}
    return {name: value for name, value in named.items() if isinstance(value, all_presets.Preset)}


def _complete_preset(settings: Settings, modalities: tuple[str, ...]) -> Settings:
    name = str(settings.preset)
    check_choice('preset', name, list(presets()))
    trained = recommenders()[presets()[name].recommender].is_trained
    own = ['loss', 'l2', 'lr'] if trained else training_options()
    preset = presets()[name]
    same = {'loss': 'bpr', 'l2': preset.l2, 'lr': preset.lr} if trained else {}
    for option in ('model', 'options', *model_options(), *own):
        given = getattr(settings, option)
        if given not in (None, {}, same.get(option)):
            raise ValueError(
                f'{spelt(option)} is set by {spelt_with("preset", name)}; leave it out'
            )
    settings = replace(settings, modalities=modalities)
    if not trained:
        return settings
    return complete_loss(replace(settings, lr=preset.lr, l2=preset.l2))


def _build_preset(settings: Settings, train: HeteroData) -> tuple[HeteroData, Recommender]:
    preset = presets()[str(settings.preset)]
    train = preset.transform(build_similar=bool(settings.modalities))(train)
    return train, preset.model(train)
