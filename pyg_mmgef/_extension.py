"""Loading of the compiled extensions, and checks of the tensors whose addresses they get."""

import contextlib
import ctypes
import logging
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

__all__ = ['address', 'load_extension', 'loaded_extensions']

EXTENSIONS = (
    'pyg_mmgef.graph._paths',
    'pyg_mmgef.loader._neighbors',
    'pyg_mmgef.search._tiles',
    'pyg_mmgef.sparse._products',
)

log = logging.getLogger(__name__)


@cache
def load_extension(name: str) -> ModuleType | None:
    """Import a compiled extension, or return :obj:`None` if it can't be; torch then does its work.

    A missing extension is fine. One that can't be loaded, such as a file of another platform in a
    shared folder, is logged once as a warning.

    Args:
        name: Full name of the module, such as ``'pyg_mmgef.search._tiles'``.
    """
    try:
        return _import_with_openmp(name)
    except ImportError as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == name):
            log.warning(
                "%s can't be loaded (%s); torch computes the same, several times slower. Delete "
                'the file, or compile it for this platform: pip install --force-reinstall '
                '--no-deps pyg-mmgef',
                error.path or name,
                error,
            )
        return None


def _import_with_openmp(name: str) -> ModuleType:
    """Import an extension whose OpenMP runtime is the one that torch has loaded.

    Most builds of torch let everyone use its symbols. For one that does not, the runtime of the
    system's name, which is then torch's own, is opened for everyone.
    """
    try:
        return import_module(name)
    except ImportError as error:
        if 'GOMP_' not in str(error):
            raise
    with contextlib.suppress(OSError):
        ctypes.CDLL('libgomp.so.1', ctypes.RTLD_GLOBAL)
    return import_module(name)


def loaded_extensions() -> dict[str, bool]:
    """Return whether each extension is in use, by its name."""
    return {name: load_extension(name) is not None for name in EXTENSIONS}


def address(name: str, tensor: Tensor, dtype: torch.dtype, *shape: int) -> int:
    """Return the address of a tensor's memory, after checking its type, shape and layout.

    Args:
        name: The argument's name, for the error message.
        tensor: A contiguous tensor on the CPU.
        dtype: The type that it must have.
        shape: The shape that it must have.

    Raises:
        ValueError: If the tensor is anything else.
    """
    if (
        tensor.dtype != dtype
        or tensor.shape != shape
        or not tensor.is_cpu
        or not tensor.is_contiguous()
    ):
        raise ValueError(
            f"'{name}' must be contiguous, {dtype}, of shape {list(shape)}, on the CPU (got "
            f'{tensor.dtype}, {list(tensor.shape)}, strides {list(tensor.stride())}, on '
            f'{tensor.device})'
        )
    return tensor.data_ptr()
