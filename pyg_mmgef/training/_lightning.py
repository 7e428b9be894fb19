"""Import of Lightning, which every module of this package needs."""

import contextlib

from pyg_mmgef.encoders.torchvision_compat import import_torchvision

try:
    # Lightning imports torchvision if it is installed, which may fail beside a CPU build of torch.
    with contextlib.suppress(ImportError):
        import_torchvision()
    import lightning.pytorch  # noqa: F401
except ImportError as error:
    raise ImportError(
        'pyg_mmgef.training needs Lightning; install it with: pip install "pyg-mmgef[cli]"'
    ) from error
