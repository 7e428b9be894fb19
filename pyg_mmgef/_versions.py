import os
import platform
from importlib import metadata
from typing import Any

__all__ = ['show_versions', 'versions']

PACKAGES = (
    'torch',
    'torch-geometric',
    'numpy',
    'scipy',
    'faiss-cpu',
    'faiss-gpu',
    'torch-sparse',
    'lightning',
    'open_clip_torch',
    'sentence-transformers',
    'pyarrow',
)


def versions() -> dict[str, Any]:
    """Return facts about the machine and the installation, for a bug report.

    Returns:
        The versions of Python, this package and those it uses (:obj:`None` where one is not
        installed), the platform, the numbers of threads, what the processor can do, the devices,
        and for each compiled extension ``'in use'`` or why it is not.
    """
    import torch

    import pyg_mmgef
    from pyg_mmgef._extension import EXTENSIONS

    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return {
        'pyg_mmgef': pyg_mmgef.__version__,
        'python': platform.python_version(),
        'platform': platform.platform(),
        **{package: _version_of(package) for package in PACKAGES},
        'threads': torch.get_num_threads(),
        'processors': os.cpu_count(),
        'processor features': torch.backends.cpu.get_cpu_capability(),
        'devices': ['cpu', *(torch.cuda.get_device_name(number) for number in cuda)],
        **{name: _state_of(name) for name in EXTENSIONS},
    }


def show_versions() -> None:
    """Print :func:`versions`, one per line."""
    for name, value in versions().items():
        print(f'{name}: {"not installed" if value is None else value}')


def _version_of(package: str) -> str | None:
    # Not imported: the libraries of one package may conflict with those of another.
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _state_of(extension: str) -> str:
    from importlib import import_module

    from pyg_mmgef._extension import load_extension

    if load_extension(extension) is not None:
        return 'in use'
    try:
        import_module(extension)
    except ModuleNotFoundError as error:
        if error.name == extension:
            return 'absent: not compiled, torch does its work'
        return f'broken: {error}'
    except ImportError as error:
        return f'broken: {error}'
    return 'absent when the package was loaded'
