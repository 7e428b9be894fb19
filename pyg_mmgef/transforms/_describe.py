import inspect
from typing import Any

import torch
from torch_geometric.transforms import BaseTransform

__all__ = ['describe']


def describe(transform: BaseTransform) -> str:
    """Return the ``repr`` of a transform: its call, with all arguments that aren't defaults.

    PyG compares ``repr(pre_transform)`` with that of the processed files, so equal
    representations must mean equal transforms.

    Args:
        transform: A transform that keeps each argument as the attribute of its name.
    """
    parameters = inspect.signature(type(transform)).parameters.values()
    arguments = [
        f'{parameter.name}={_show(value)}'
        for parameter in parameters
        if (value := getattr(transform, parameter.name)) != parameter.default
    ]
    return f'{type(transform).__name__}({", ".join(arguments)})'


def _show(value: Any) -> str:
    # The address in a generator's own representation differs from process to process.
    is_generator = isinstance(value, torch.Generator)
    return f'Generator(seed={value.initial_seed()})' if is_generator else repr(value)
