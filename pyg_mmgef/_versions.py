import importlib
import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ['show_versions', 'versions']

PACKAGES = 'torch', 'torch-geometric', 'numpy', 'scipy', 'faiss-cpu', 'lightning'
EXTENSIONS = 'pyg_mmgef.search._tiles', 'pyg_mmgef.graph._paths', 'pyg_mmgef.sparse._products'


def versions() -> dict[str, str]:
    """Return the versions of this package and of those it uses, threads and extensions in use."""
    import torch

    from pyg_mmgef import __version__

    return {
        'pyg_mmgef': __version__,
        'python': platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        'threads': str(torch.get_num_threads()),
        **{name: 'in use' if _is_loaded(name) else 'not in use' for name in EXTENSIONS},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return 'not installed'


def _is_loaded(extension: str) -> bool:
    try:
        importlib.import_module(extension)
    except ImportError:
        return False
    return True


def show_versions() -> None:
    """Print :func:`versions`, one a line."""
    for name, value in versions().items():
        print(f'{name}: {value}')
