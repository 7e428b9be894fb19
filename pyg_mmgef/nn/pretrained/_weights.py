"""The tensors of a model as one flat dictionary, learned graphs and solutions among them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Module

from pyg_mmgef.files import damaged

__all__ = ['check_shapes', 'flat_state', 'load_state', 'read_shapes', 'read_tensors']

EXTRA = '_extra_state'
"""How :meth:`torch.nn.Module.state_dict` ends the key of what is no parameter."""


def flat_state(model: Module) -> dict[str, Tensor]:
    """Return the state of a model, with a key for each tensor in dictionaries of extra state.

    Raises:
        ValueError: If the state holds something else.
    """
    out = {}
    for key, value in _flat(model.state_dict()):
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            raise ValueError(
                f'the state {key!r} of the model is no dense tensor (got {type(value).__name__}), '
                'and safetensors holds nothing else'
            )
        out[key] = value.detach().cpu().contiguous()
    return out


def _flat(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in state.items():
        if key.endswith(EXTRA) and isinstance(value, Mapping):
            yield from ((f'{key}.{name}', each) for name, each in value.items())
        else:
            yield key, value


def read_shapes(path: Path, advice: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in a file, without reading them.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        with safe_open(str(path), 'pt') as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise damaged(path, str(error), advice) from error


def read_tensors(path: Path, advice: str) -> dict[str, Tensor]:
    """Return the tensors in a file.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        return load_file(str(path))
    except SafetensorError as error:
        raise damaged(path, str(error), advice) from error


def check_shapes(model: Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise a :class:`ValueError` unless a file has the tensors of the model.

    Args:
        model: The model, which may be on the meta device.
        shapes: The shapes of the tensors in the file, without those of solutions.
    """
    state = model.state_dict()
    extra = tuple(f'{key}.' for key in state if key.endswith(EXTRA))
    expected = {key: tuple(x.shape) for key, x in state.items() if isinstance(x, Tensor)}
    found = {key: shape for key, shape in shapes.items() if not key.startswith(extra)}
    missing, unknown = sorted(expected.keys() - found), sorted(found.keys() - expected)
    if missing or unknown:
        raise ValueError(
            f'the weights are those of another model: {missing[:3]} missing, {unknown[:3]} unknown'
        )
    for key, shape in expected.items():
        if found[key] != shape:
            raise ValueError(
                f'the weights {key!r} have the shape {list(found[key])}, but the arguments say '
                f'{list(shape)}'
            )


def load_state(model: Module, tensors: Mapping[str, Tensor]) -> None:
    """Load tensors whose shapes were checked into a model.

    Raises:
        ValueError: If the extra state isn't that of the model.
    """
    state: dict[str, Any] = {}
    for key in model.state_dict():
        if key.endswith(EXTRA):
            start = f'{key}.'
            state[key] = {
                name.removeprefix(start): value
                for name, value in tensors.items()
                if name.startswith(start)
            }
        else:
            state[key] = tensors[key]
    try:
        model.load_state_dict(state)
    except (KeyError, RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'the learned graphs are not those of the model ({reason})') from error
