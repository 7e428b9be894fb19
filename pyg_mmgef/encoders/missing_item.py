"""An item without a vector in a feature store, and the reason."""

from typing import NamedTuple

__all__ = ['MissingItem']


class MissingItem(NamedTuple):
    """An item without a vector, as :meth:`~pyg_mmgef.encoders.FeatureStore.report` lists it."""

    row: int
    """The item's row."""
    path: str | None
    """Absolute path of its picture; :obj:`None` for texts and items without a picture."""
    reason: str
    """The reason, in plain words."""
