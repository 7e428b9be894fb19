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
    """Return the negatives as ``[B, N, channels]``, or ``[1, N, channels]`` where they are shared.

    Raise a :class:`ValueError` where they don't fit or are too few.
    """
    num_users, channels = user.shape
    rows = negative[:, None] if negative.dim() == 2 else negative
    if (
        rows.dim() != 3
        or rows.size(1) < at_least
        or rows.size(0) not in ((num_users,) if negative.dim() == 2 else (num_users, 1))
        or rows.size(2) != channels
    ):
        raise ValueError(
            f"'negative' must have shape {list(user.shape)}, [{num_users}, N, {channels}] or, "
            f'for all users the same, [1, N, {channels}], with N >= {at_least} '
            f'(got {list(negative.shape)})'
        )
    return rows


def negative_scores(user: Tensor, negative: Tensor) -> Tensor:
    """Return the inner products of each user with their negatives. Shape: ``[B, N]``."""
    if negative.size(0) == 1:
        return user @ negative[0].t()
    return (user[:, None] * negative).sum(dim=-1)
