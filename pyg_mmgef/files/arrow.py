"""pyarrow, which reads and writes Parquet and isn't installed with the library alone."""

import importlib
from types import ModuleType

__all__ = ['import_arrow']


def import_arrow(part: str = '') -> ModuleType:
    """Return ``pyarrow``, or a part of it such as ``'parquet'``.

    Args:
        part: The part. (default: ``''``)

    Raises:
        ImportError: If it isn't installed; the message says how to install it.
    """
    try:
        return importlib.import_module(f'pyarrow.{part}' if part else 'pyarrow')
    except ImportError as error:
        raise ImportError(
            'a Parquet file needs pyarrow; install it with: pip install "pyg-mmgef[cli]"'
        ) from error
