"""Import of pyarrow, an optional dependency."""

import importlib
from types import ModuleType

__all__ = ['arrow']


def arrow(part: str = '') -> ModuleType:
    """Return ``pyarrow``, or a part of it such as ``'csv'``.

    Raises:
        ImportError: If pyarrow isn't installed.
    """
    try:
        return importlib.import_module(f'pyarrow.{part}' if part else 'pyarrow')
    except ImportError as error:
        raise ImportError(
            'reading tables needs pyarrow; install it with: pip install "pyg-mmgef[cli]"'
        ) from error
