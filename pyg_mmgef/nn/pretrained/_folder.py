"""A model in a folder: its constructor's arguments, its tensors, and what evaluation needs."""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save
from torch import Tensor

from pyg_mmgef import __version__
from pyg_mmgef.files import check_sha256, damaged, make_folder, write_atomically
from pyg_mmgef.nn.models._solved import SolvedRecommender
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts.content_map import ContentMap
from pyg_mmgef.nn.pretrained._arguments import arguments_from_json, as_json
from pyg_mmgef.nn.pretrained._model_card import model_card
from pyg_mmgef.nn.pretrained._weights import (
    check_shapes,
    flat_state,
    load_state,
    read_shapes,
    read_tensors,
)

__all__ = [
    'CONFIG',
    'WEIGHTS',
    'describe_model',
    'load_model',
    'read_config',
    'save_model',
    'write_config',
]

Model = TypeVar('Model', bound=Recommender)
CONFIG, WEIGHTS, CARD = 'config.json', 'model.safetensors', 'README.md'
FORMAT = 1
LARGEST_CONFIG = 2**20
LARGEST = sys.float_info.max
DTYPES = ('float16', 'bfloat16', 'float32', 'float64')
ADVICE = 'save the model again, or get the files anew'
SOLVED = 'solved:'
"""How the keys of what was solved begin."""


def save_model(model: Recommender, folder: Path, metrics: Mapping[str, float] | None) -> None:
    """Write a model's files; the configuration is the last of them."""
    solutions, digests = _solutions(model)
    tensors = {**flat_state(model), **{f'{SOLVED}{key}': x for key, x in solutions.items()}}
    weights = save(tensors, metadata={'format': 'pt'})
    config = {**describe_model(model), 'solved_from': digests}
    make_folder(folder)
    write_atomically(folder / WEIGHTS, weights)
    write_config(folder, config, hashlib.sha256(weights).hexdigest(), model.paper, metrics)


def describe_model(model: Recommender) -> dict[str, Any]:
    """Return what the configuration says of a model, but for its tensors.

    Raises:
        ValueError: If an argument of the constructor can't be saved.
    """
    arguments = {}
    for argument, value in model.arguments.items():
        arguments[argument] = as_json(argument, value)
    return {
        'library': 'pyg_mmgef',
        'format': FORMAT,
        'version': __version__,
        'model': type(model).__name__,
        'arguments': arguments,
        'dtype': str(model.dtype).removeprefix('torch.'),
        'cold_scale': as_json('cold_scale', model.cold_scale),
        'content_count': as_json('content_count', model.content_count),
        'content_map': _map_to_json(model.content_map),
        'solved_from': {},
    }


def write_config(
    folder: Path,
    config: Mapping[str, Any],
    sha256: str,
    paper: str,
    metrics: Mapping[str, float] | None,
) -> None:
    """Write the card, if there is none, and the configuration beside the tensors.

    Args:
        folder: The folder.
        config: What :func:`describe_model` returns.
        sha256: That of the tensors' file.
        paper: The address of the model's paper.
        metrics: Metrics by name, for the card.
    """
    if not (folder / CARD).exists():
        name, arguments = config['model'], config['arguments']
        card = model_card(name, __version__, paper, arguments, metrics)
        write_atomically(folder / CARD, card.encode())
    content = json.dumps({**config, 'sha256': sha256}, indent=2)
    write_atomically(folder / CONFIG, f'{content}\n'.encode())


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a saved model.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it isn't one, is damaged, or of a later version.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f'{str(folder)!r} is no saved model, it has no {CONFIG}; write one with save_pretrained'
        )
    if path.stat().st_size > LARGEST_CONFIG:
        raise damaged(path, f'it is larger than {LARGEST_CONFIG:,} bytes', ADVICE)
    try:
        config = json.loads(path.read_bytes(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error), ADVICE) from error
    if not isinstance(config, dict) or config.get('library') != 'pyg_mmgef':
        raise ValueError(f'{str(path)!r} is not of a model of pyg_mmgef; load it where it is from')
    if config.get('format') != FORMAT:
        raise ValueError(
            f'{str(path)!r} has the format {config.get("format")!r}, and this version of pyg_mmgef '
            f'reads format {FORMAT}; install the version that wrote it'
        )
    return config


def _refuse(constant: str) -> float:
    raise ValueError(f'{constant} is no number of JSON')


def load_model(model: type[Model], folder: Path, config: Mapping[str, Any]) -> Model:
    """Build a model of a class from the files in a folder.

    Nothing is built before the arguments fit the tensors in the file, so a wrong size costs no
    memory.

    Raises:
        ValueError: If the files are damaged or don't fit each other or the class.
    """
    try:
        return _load(model, folder, config)
    except ValueError as error:
        if str(folder) in str(error):
            raise
        raise ValueError(f'{str(folder)!r} cannot be loaded: {error}') from error


def _load(model: type[Model], folder: Path, config: Mapping[str, Any]) -> Model:
    arguments = arguments_from_json(model, config.get('arguments'))
    weights = folder / WEIGHTS
    check_sha256(weights, str(config.get('sha256')), ADVICE)
    dtype = config.get('dtype')
    if dtype not in DTYPES:
        raise ValueError(f"'dtype' must be one of {', '.join(DTYPES)} (got {dtype!r})")
    shapes = read_shapes(weights, ADVICE)
    shapes = {key: shape for key, shape in shapes.items() if not key.startswith(SOLVED)}
    with torch.random.fork_rng(devices=[]):
        with torch.device('meta'):
            check_shapes(_built(model, arguments), shapes)
        out = _built(model, arguments).to(getattr(torch, dtype))
    tensors = read_tensors(weights, ADVICE)
    solved: dict[str, Tensor] = {}
    for key in [key for key in tensors if key.startswith(SOLVED)]:
        solved[key.removeprefix(SOLVED)] = tensors.pop(key)
    load_state(out, tensors)
    _give_solutions(out, solved, config.get('solved_from'))
    out.cold_scale = _number(config, 'cold_scale')
    out.content_count = _number(config, 'content_count')
    _set_map(out, config.get('content_map'))
    return out.eval()


def _built(model: type[Model], arguments: Mapping[str, Any]) -> Model:
    try:
        return model(**arguments)
    except (AttributeError, KeyError, OverflowError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'{model.__name__} has no such arguments ({reason})') from error


def _solving(model: Recommender) -> dict[str, SolvedRecommender]:
    """Return the model and the models inside of it that are solved, by their names as modules."""
    modules = dict(model.named_modules())
    return {name: each for name, each in modules.items() if isinstance(each, SolvedRecommender)}


def _solutions(model: Recommender) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of all solutions, and the digests of what they were computed from."""
    tensors, digests = {}, {}
    for name, module in _solving(model).items():
        packed = module.packed_solution()
        if packed is not None:
            digests[name] = packed[0]
            for key, x in packed[1].items():
                tensors[f'{name}.{key}'] = x.detach().cpu().contiguous()
    return tensors, digests


def _give_solutions(model: Recommender, tensors: Mapping[str, Tensor], digests: Any) -> None:
    solving = _solving(model)
    if not isinstance(digests, dict) or not set(digests) <= set(solving):
        raise ValueError(f"'solved_from' must name parts of the model (got {digests!r:.80})")
    for name, digest in digests.items():
        start = f'{name}.'
        parts = {k.removeprefix(start): x for k, x in tensors.items() if k.startswith(start)}
        solving[name].give_solution(str(digest), parts)


def _number(config: Mapping[str, Any], name: str) -> float:
    value = config.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LARGEST:
        raise ValueError(f"'{name}' must be finite and not negative (got {value!r:.80})")
    return float(value)


def _map_to_json(content_map: ContentMap | None) -> dict[str, Any] | None:
    if content_map is None:
        return None
    if type(content_map) is not ContentMap:
        raise ValueError(
            f"'content_map' must be a ContentMap or None to be saved (got "
            f'{type(content_map).__name__})'
        )
    return {'strengths': list(content_map.strengths)}


def _set_map(model: Recommender, given: Any) -> None:
    """Set the content map, unless it is the one that the constructor has made."""
    if given is None:
        model.content_map = None
        return
    strengths = given.get('strengths') if isinstance(given, dict) else None
    if not isinstance(strengths, list):
        raise ValueError(f"'content_map' must be null or have 'strengths' (got {given!r:.80})")
    if model.content_map is None or list(model.content_map.strengths) != strengths:
        model.content_map = ContentMap(strengths)
