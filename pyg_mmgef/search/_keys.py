"""A score and an id in one integer, so that sorting integers ranks scores and breaks ties by id."""

import torch
from torch import Tensor

__all__ = ['from_keys', 'to_keys']


def to_keys(score: Tensor, ids: Tensor) -> Tensor:
    """Return keys that are larger for a higher score and, among equal scores, for the lower id.

    The upper half is the score's bits as an integer of the same order, the lower half the id's bits
    inverted: ``entry_of`` in ``_extension.h``.

    Args:
        score: Finite or infinite float32 scores; :math:`-0.0` ranks below :math:`0.0`.
        ids: Ids in ``[0, 2**31)``, int64, of the same shape.
    """
    bits = _ordered(score.view(torch.int32)).long()
    return bits.bitwise_left_shift_(32).bitwise_or_(ids.bitwise_xor(0xFFFFFFFF))


def from_keys(key: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores and ids of :func:`to_keys`."""
    bits = key.bitwise_right_shift(32).int()
    return _ordered(bits).view(torch.float32), key.bitwise_and(0xFFFFFFFF).bitwise_xor_(0xFFFFFFFF)


def _ordered(bits: Tensor) -> Tensor:
    """Return the bits of floats as integers of the same order, and the other way round."""
    return bits.bitwise_right_shift(31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits)
