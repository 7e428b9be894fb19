"""How messages spell arguments: by their names, or by the options of the command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ['as_option', 'spelt', 'spelt_as_options', 'spelt_with']

_OPTIONS = {
    'interactions': 'INTERACTIONS',
    'event_weights': '--event-weight',
    'fields': '--field',
    'modalities': '--modality',
    'users': '--user',
    'folder': '--output',
    'metrics': '--metric',
    'options': '--set',
    'programs': '--program',
}
_SPELLING: ContextVar[Callable[[str], str]] = ContextVar('spelling', default=repr)


def spelt(argument: str) -> str:
    """Return an argument as messages spell it: ``'item_id'``, or ``--item-id``."""
    return _SPELLING.get()(argument)


def spelt_with(argument: str, value: object) -> str:
    """Return an argument with its value: ``split='random'``, or ``--split random``."""
    name = spelt(argument)
    return f'{argument}={value!r}' if name == repr(argument) else f'{name} {value}'


@contextmanager
def spelt_as_options(spelling: Callable[[str], str] | None = None) -> Iterator[None]:
    """Let messages name options of the command instead of arguments of Python.

    Args:
        spelling: Returns the option of an argument; :obj:`None` means :func:`as_option`.
            (default: :obj:`None`)
    """
    token = _SPELLING.set(spelling or as_option)
    try:
        yield
    finally:
        _SPELLING.reset(token)


def as_option(argument: str) -> str:
    """Return the option of the command that sets an argument."""
    return _OPTIONS.get(argument, f'--{argument.replace("_", "-")}')
