"""The arguments of a constructor as JSON, and back with their types checked."""

import inspect
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

__all__ = ['arguments_from_json', 'as_json']

SIZES = ('num_users', 'num_items', 'seed', 'cache_bytes', 'max_bytes')
"""Arguments that may be any integer. Those of users and items are compared with the weights."""
LARGEST = 2**20
MOST_LAYERS = 1000


def as_json(name: str, value: Any) -> Any:
    """Return the value of an argument in types that JSON has.

    Raises:
        ValueError: If JSON has no such value.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: as_json(f'{name}[{key!r}]', each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [as_json(name, each) for each in value]
    raise ValueError(
        f"'{name}' can't be written to config.json (got {type(value).__name__}); only numbers, "
        'strings, None, and lists and dictionaries of them can'
    )


def arguments_from_json(model: type, given: Any) -> dict[str, Any]:
    """Return the arguments of a model's constructor, with their types checked.

    Args:
        model: The model's class.
        given: What was read.

    Raises:
        ValueError: If they aren't such arguments, one has another type, or is too large.
    """
    if not isinstance(given, dict):
        raise ValueError(f"'arguments' must be an object (got {type(given).__name__})")
    parameters = inspect.signature(model).parameters
    unknown = sorted(set(given) - set(parameters))
    if unknown:
        raise ValueError(f'{model.__name__} has no arguments {unknown}')
    hints = get_type_hints(model.__init__)  # type: ignore[misc]
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in given
    ]
    if missing:
        raise ValueError(f'{model.__name__} needs the arguments {missing}')
    return {name: _checked(name, value, hints.get(name, Any)) for name, value in given.items()}


def _checked(name: str, value: Any, hint: Any) -> Any:
    """Return a value if it is of the type, a list as a tuple.

    Raises:
        ValueError: If it isn't, or is too large for what it counts.
    """
    if not _fits(value, hint):
        raise ValueError(f"the argument '{name}' must be {_shown(hint)} (got {value!r:.80})")
    _check_size(name, value)
    return tuple(value) if isinstance(value, list) else value


def _fits(value: Any, hint: Any) -> bool:
    origin, of = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in of)
    if hint in (None, NoneType):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(_fits(each, of[1]) for each in value.values())
    if origin is not None and issubclass(origin, Sequence):
        return isinstance(value, list) and all(_fits(each, of[0]) for each in value)
    return not isinstance(hint, type) or isinstance(value, hint)


def _check_size(name: str, value: Any) -> None:
    """Raise a :class:`ValueError` for numbers that no model has, as building it could take all.

    Sizes that only say how large a tensor is are compared with the tensors in the file.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            _check_size(f'{name}[{key!r}]', each)
    if not isinstance(value, int) or name in SIZES:
        return
    largest = MOST_LAYERS if name.endswith('layers') else LARGEST
    if abs(value) > largest:
        raise ValueError(f"the argument '{name}' must be at most {largest:,} (got {value})")


def _shown(hint: Any) -> str:
    return getattr(hint, '__name__', str(hint)) if get_origin(hint) is None else str(hint)
