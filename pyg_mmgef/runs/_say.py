"""What long work says while it goes on."""

from collections.abc import Callable
from typing import TypeAlias

__all__ = ['Say', 'say_if']

Say: TypeAlias = Callable[[str], None]
"""Called with each line to print."""


def say_if(verbose: bool) -> Say:
    """Return what prints lines, or what doesn't."""
    return print if verbose else _silent


def _silent(line: str) -> None:
    """Print nothing."""
