"""Checks of the inputs of encoders, and the warning about pictures that can't be read."""

import os
import warnings
from collections.abc import Sequence

from pyg_mmgef.encoders.protocol import PathLike

__all__ = ['check_sequence', 'is_blank', 'warn_unreadable']

_NUM_NAMED = 3


def check_sequence(name: str, value: object) -> None:
    """Refuse a lone string, which is a sequence too, but of single characters."""
    if isinstance(value, (str, bytes, os.PathLike)):
        raise ValueError(
            f"'{name}' must be a sequence with one entry per item (got the single value "
            f'{value!r}); wrap it in a list'
        )


def is_blank(text: str | None) -> bool:
    """Whether a text is missing: :obj:`None`, empty, or white space only."""
    return text is None or not text.strip()


def warn_unreadable(
    unreadable: Sequence[tuple[PathLike, str]], num_total: int, *, stacklevel: int
) -> None:
    """Warn once about pictures that could not be read, on behalf of the encoder's caller.

    Args:
        unreadable: The path and the reason of each.
        num_total: Number of pictures, with the readable ones.
        stacklevel: Which caller the warning is about, ``2`` for the direct one.
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
