from typing import NamedTuple

__all__ = ['Part']


class Part(NamedTuple):
    """One term of a score."""

    kind: str
    """What it is, see :class:`~pyg_mmgef.explain.Explanation`."""
    score: float
    """What it adds to the score; negative if it speaks against the item."""
    item: int | None = None
    """The row of the item that it is due to: one of the user's, or a neighbour."""
    name: str | None = None
    """The modality or the item graph."""
