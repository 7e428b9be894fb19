import inspect
from typing import Any

import torch

__all__ = ['arguments_of', 'describe']


def arguments_of(thing: object, **others: Any) -> dict[str, Any]:
    """Return the arguments of a thing's constructor by name.

    Args:
        thing: What keeps each argument of its constructor as the attribute of that name.
        **others: The values of the arguments that it keeps elsewhere.
    """
    names = inspect.signature(type(thing)).parameters
    return {name: others[name] if name in others else getattr(thing, name) for name in names}


def describe(thing: object, **others: Any) -> str:
    """Return the ``repr`` of a thing: its call, with all arguments that aren't defaults.

    So equal representations mean equal settings. PyG relies on that: it compares
    ``repr(pre_transform)`` with that of the processed files.

    Args:
        thing: What keeps each argument of its constructor as the attribute of that name.
        **others: The values of the arguments that it keeps elsewhere.
    """
    arguments, values = [], arguments_of(thing, **others)
    for name, parameter in inspect.signature(type(thing)).parameters.items():
        value = values[name]
        is_required = parameter.default is parameter.empty
        if is_required and parameter.kind is not parameter.KEYWORD_ONLY:
            arguments.append(_show(value))
        elif is_required or value != parameter.default:
            arguments.append(f'{name}={_show(value)}')
    return f'{type(thing).__name__}({", ".join(arguments)})'


def _show(value: Any) -> str:
    # The address in a generator's own representation differs from process to process.
    is_generator = isinstance(value, torch.Generator)
    return f'Generator(seed={value.initial_seed()})' if is_generator else repr(value)
