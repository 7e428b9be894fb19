"""Checks of the inputs of encoders, and the warning about pictures that can't be read."""

import os
import warnings
from collections.abc import Sequence

from pyg_mmgef.encoders.protocol import PathLike

__all__ = ['check_sequence', 'is_blank', 'warn_unreadable']

_NUM_NAMED = 3


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
    if not unreadable:
        return
    named = ', '.join(f'{os.fspath(path)!r} ({why})' for path, why in unreadable[:_NUM_NAMED])
    more = f' and {len(unreadable) - _NUM_NAMED} more' if len(unreadable) > _NUM_NAMED else ''
    warnings.warn(
        f'{len(unreadable)} of {num_total} pictures could not be read and count as missing: '
        f'{named}{more}',
        UserWarning,
        stacklevel=stacklevel + 1,
    )
