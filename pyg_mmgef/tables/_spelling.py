"""How messages spell arguments: by their names, or on the command line by its options."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ['spelt', 'spelt_as_options']

_SPELLING: ContextVar[Callable[[str], str]] = ContextVar('spelling', default=repr)


def spelt(argument: str) -> str:
    """Return an argument as messages spell it: ``'item_id'``, or ``--item-id``."""
    return _SPELLING.get()(argument)


@contextmanager
def spelt_as_options() -> Iterator[None]:
    """Let messages name the options of the command instead of arguments of Python."""
    token = _SPELLING.set(_as_option)
    try:
        yield
    finally:
        _SPELLING.reset(token)


def _as_option(argument: str) -> str:
    if argument == 'interactions':
        return argument.upper()
    return f'--{argument.replace("_", "-")}'
