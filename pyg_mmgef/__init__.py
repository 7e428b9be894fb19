"""Multimodal recommendation on PyTorch Geometric."""

from typing import TYPE_CHECKING, Any

from pyg_mmgef._versions import show_versions, versions

if TYPE_CHECKING:
    from pyg_mmgef.runs.fit import fit
    from pyg_mmgef.runs.run import Run

__version__ = '0.2.0'

__all__ = ['Run', '__version__', 'fit', 'show_versions', 'versions']


def __getattr__(name: str) -> Any:
    """Import :func:`fit` and :class:`Run` when they are first used, since torch takes seconds."""
    if name not in ('Run', 'fit'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from pyg_mmgef import runs

    return getattr(runs, name)
