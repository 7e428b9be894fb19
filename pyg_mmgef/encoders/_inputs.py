"""Checks of the inputs of encoders, and warnings about those without a vector."""

import os
import warnings
from collections.abc import Sequence

from pyg_mmgef.encoders.protocol import PathLike

__all__ = ['check_sequence', 'is_blank', 'warn_unknown', 'warn_unreadable']

_NUM_NAMED = 3
_LONGEST_NAMED = 40


def check_sequence(name: str, value: object) -> None:
    """Raise a :class:`ValueError` for a single string or path, which is a sequence as well."""
    if isinstance(value, (str, bytes, os.PathLike)):
        raise ValueError(
            f"'{name}' must be a sequence with one entry per item (got the single value "
            f'{value!r}); wrap it in a list'
        )


def is_blank(text: str | None) -> bool:
    """Return whether a text is missing: :obj:`None`, empty or only white space."""
    return text is None or not text.strip()


def warn_unreadable(
    unreadable: Sequence[tuple[PathLike, str]], num_total: int, *, stacklevel: int
) -> None:
    """Warn once about all pictures that could not be read.

    Args:
        unreadable: Path and reason for each of them.
        num_total: Number of all pictures.
        stacklevel: The caller that the warning points to, ``2`` for the direct one.
    """
    named = [f'{os.fspath(path)!r} ({why})' for path, why in unreadable[:_NUM_NAMED]]
    message = f'{len(unreadable)} of {num_total} pictures could not be read and count as missing'
    _warn(message, named, len(unreadable), stacklevel)


def warn_unknown(unknown: Sequence[str | None], num_total: int, *, stacklevel: int) -> None:
    """Warn once about all texts in which an encoder finds no word.

    Args:
        unknown: The texts.
        num_total: Number of all texts that aren't blank.
        stacklevel: The caller that the warning points to, ``2`` for the direct one.
    """
    named = [repr((text or '')[:_LONGEST_NAMED]) for text in unknown[:_NUM_NAMED]]
    message = (
        f'{len(unknown)} of {num_total} texts have no word that the encoder knows and count as '
        'missing'
    )
    _warn(message, named, len(unknown), stacklevel)


def _warn(message: str, named: list[str], num_all: int, stacklevel: int) -> None:
    if not named:
        return
    more = f' and {num_all - len(named)} more' if num_all > len(named) else ''
    warnings.warn(f'{message}: {", ".join(named)}{more}', UserWarning, stacklevel=stacklevel + 2)
