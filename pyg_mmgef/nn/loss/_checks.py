from torch import Tensor


def check_pairs(user: Tensor, item: Tensor) -> None:
    """Raise a :class:`ValueError` unless both have one shape ``[B, channels]`` with B >= 1."""
    if user.dim() != 2 or user.shape != item.shape:
        raise ValueError(
            f"'user' and 'item' must both have shape [B, channels] (got {list(user.shape)} "
            f'and {list(item.shape)})'
        )
    if user.size(0) == 0:
        raise ValueError("'user' holds no triplet; the mean over an empty batch is undefined")


def checked_negatives(negative: Tensor, user: Tensor, at_least: int) -> Tensor:
    """Return the negatives as ``[B, N, channels]``; raise where they don't fit or are too few."""
    num_users, channels = user.shape
    rows = negative[:, None] if negative.dim() == 2 else negative
    if (
        rows.dim() != 3
        or rows.size(1) < at_least
        or (rows.size(0), rows.size(2)) != (num_users, channels)
    ):
        raise ValueError(
            f"'negative' must have shape {list(user.shape)} or [{num_users}, N, "
            f'{channels}] with N >= {at_least} (got {list(negative.shape)})'
        )
    return rows
