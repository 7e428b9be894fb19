def choose(
    *,
    begin: int,
    end: int,
    slot: int,
    key: int,
    weight_before: int,
    seed: int,
    out: int,
    num_lists: int,
    replace: bool,
    num_threads: int,
) -> None:
    """Choose edges from lists, ascending in each where none is repeated.

    Args:
        begin: Address of ``num_lists`` int64, the first edge of each list.
        end: Address of int64, the edge after the last of each list.
        slot: Address of ``num_lists + 1`` int64, where the chosen edges of each list go.
        key: Address of int64 that are not negative; a list's random numbers depend on its key.
        weight_before: Address of int64, the sum of the weights before each edge of the graph and of
            all, or 0: all weigh the same.
        seed: A whole number below ``2**64``.
        out: Address of ``slot[-1]`` int64 to write edges to.
        num_lists: Number of lists.
        replace: An edge may be chosen repeatedly; else no list has more slots than edges.
        num_threads: Number of threads.
    """

def number(
    *,
    keys: int,
    table: int,
    numbers: int,
    nodes: int,
    progress: int,
    num_keys: int,
    capacity: int,
    num_nodes: int,
) -> None:
    """Number keys in the order in which they first appear, until the table is half full.

    Args:
        keys: Address of ``num_keys`` int64 that are not negative.
        table: Address of ``2 * capacity`` int64, which begin as -1.
        numbers: Address of ``num_keys`` int64 to write numbers to.
        nodes: Address of ``num_keys`` int64 to write new keys to.
        progress: Address of 2 int64 to write to how many keys have been numbered, and how many
            nodes the table then holds.
        num_keys: Number of keys.
        capacity: Slots of the table, a power of two.
        num_nodes: Number of nodes that the table holds.
    """
