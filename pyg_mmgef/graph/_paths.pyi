def best(
    *,
    item_start: int,
    user: int,
    user_start: int,
    item: int,
    num_users_of: int,
    num_items: int,
    ranking: int,
    averaged: bool,
    min_count: int,
    start: int,
    stop: int,
    slot: int,
    source: int,
    shared: int,
    degree: int,
) -> None:
    """Write the best neighbours of the items from ``start`` to ``stop``.

    Args:
        item_start: Address of ``num_items + 1`` int64, where the users of each item begin.
        user: Address of int32, the users of all items.
        user_start: Address of int64, where the items of each user begin.
        item: Address of int32, the items of all users.
        num_users_of: Address of ``num_items`` float32, the number of users of each item.
        num_items: Number of items.
        ranking: 0 by shared users, 1 by Jaccard index, 2 by lift, 3 by cosine.
        averaged: Divide each path by the number of items of its user.
        min_count: Users that two items must share.
        start: The first item.
        stop: The item after the last.
        slot: Address of ``stop - start + 1`` int64, where the neighbours of each item go.
        source: Address of int64 to write neighbours to.
        shared: Address of float64 to write shared users to.
        degree: Address of ``stop - start`` int64 to write numbers of neighbours to.
    """
