NO_LIMIT: int

def offer(
    score: int,
    itemsize: int,
    num_rows: int,
    num_columns: int,
    row: int,
    column: int,
    entry: int,
    count: int,
    limit: int,
    busy: int,
    width: int,
    capacity: int,
    exclude_self: bool,
    both: bool,
    /,
) -> None: ...
def best(
    entry: int,
    count: int,
    width: int,
    capacity: int,
    start: int,
    stop: int,
    score: int,
    column: int,
    /,
) -> None: ...
