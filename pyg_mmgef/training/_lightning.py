"""Makes sure that Lightning can be imported; every module of this package relies on it."""

import contextlib

from pyg_mmgef.encoders.torchvision_compat import import_torchvision

try:
    # Lightning imports torchvision where it is installed, and with it its trap beside a CPU build.
    with contextlib.suppress(ImportError):
        import_torchvision()
    import lightning.pytorch  # noqa: F401
except ImportError as error:
    raise ImportError(
        'pyg_mmgef.training needs Lightning; install it with: pip install "pyg-mmgef[train]"'
    ) from error
