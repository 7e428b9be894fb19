"""What the processes of a group send each other: tensors alone, nothing is pickled.

Each function works without a process group, as a world of one process.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    'Group',
    'check_own',
    'counts_of',
    'even_starts',
    'fetch_rows',
    'gather',
    'gather_rows',
    'owner_of',
    'place_in',
    'return_rows',
    'send_rows',
    'starts_of',
    'sum_over',
    'visit',
]

ROUND_BYTES = 2**26  # Sent by a process at a time.
DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.int32, torch.int64),
)
Group = dist.ProcessGroup | None
"""The processes that work together; :obj:`None` means all of them."""


def place_in(group: Group) -> tuple[int, int]:
    """Return the rank of this process in the group, and the number of processes."""
    if not dist.is_available() or not dist.is_initialized():
        return 0, 1
    return dist.get_rank(group), dist.get_world_size(group)


def even_starts(num_rows: int, num_parts: int) -> list[int]:
    """Return where each of contiguous ranges of nearly the same size begins, and the end."""
    return [num_rows * part // num_parts for part in range(num_parts + 1)]


def starts_of(num_rows: int, device: torch.device, group: Group) -> list[int]:
    """Return where the rows of each process begin, in the order of ranks, and the end."""
    count = torch.tensor([num_rows], dtype=torch.int64, device=device)
    return [0, *gather(count, group).view(-1).cumsum(0).tolist()]


def check_own(name: str, destination: Tensor, items: range) -> None:
    """Raise a :class:`ValueError` unless edges end in items of this process.

    Args:
        name: The edges, for the message.
        destination: Where they end, numbered over all items.
        items: The items of this process.
    """
    other = (destination < items.start) | (destination >= items.stop)
    if bool(other.any()):
        raise ValueError(
            f"'{name}' must end in items of this process, {items.start} to {items.stop - 1} "
            f'(got an edge into item {int(destination[other][0])})'
        )


def counts_of(rows: Tensor, group: Group) -> list[int]:
    """Return the number of rows of each process, after checking that they have one type and width.

    Args:
        rows: The rows of this process. Shape: ``[n, ...]``.
        group: The processes.

    Raises:
        ValueError: If they differ; in all processes.
    """
    width, kind = math.prod(rows.shape[1:]), DTYPES.index(rows.dtype)
    mine = torch.tensor([len(rows), width, kind], dtype=torch.int64, device=rows.device)
    counts, widths, kinds = gather(mine, group).t().tolist()
    for process, found in enumerate(zip(widths, kinds, strict=True)):
        if found != (widths[0], kinds[0]):
            raise ValueError(
                'rows must have one width and type in all processes (got '
                f'{widths[0]} numbers of {DTYPES[kinds[0]]} in process 0, {found[0]} of '
                f'{DTYPES[found[1]]} in process {process})'
            )
    return counts


def gather(x: Tensor, group: Group) -> Tensor:
    """Return the tensors of all processes, of one shape, in the order of ranks."""
    size = place_in(group)[1]
    if size == 1:
        return x[None]
    out = [torch.empty_like(x) for _ in range(size)]
    dist.all_gather(out, x, group=group)
    return torch.stack(out)


def gather_rows(rows: Tensor, group: Group) -> Tensor:
    """Return the rows of all processes, in the order of ranks."""
    parts = {owner: part for owner, _, part in visit(rows, group)}
    return torch.cat([rows[:0], *(parts[number] for number in range(len(parts)))])


def owner_of(ids: Tensor, starts: Sequence[int]) -> Tensor:
    """Return the process that holds each row, given where the rows of each begin."""
    inner = torch.tensor(starts[1:-1], dtype=torch.int64, device=ids.device)
    return torch.searchsorted(inner, ids, right=True)


def sum_over(x: Tensor, group: Group, op: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
    """Return the sum (or another reduction) over the processes; :obj:`x` is overwritten."""
    if place_in(group)[1] > 1:
        dist.all_reduce(x, op=op, group=group)
    return x


def send_rows(
    owner: Tensor, columns: Sequence[Tensor], group: Group, rows: Tensor | None = None
) -> tuple[list[Tensor], Tensor, list[int]]:
    """Send each row to a process.

    Args:
        owner: The process that each row goes to. Shape: ``[N]``.
        columns: What is sent of each row. Shape of each: ``[N, ...]``.
        group: The processes.
        rows: The rows of the columns to send, which then may have more; :obj:`None` means all.
            Shape: ``[N]``. (default: :obj:`None`)

    Returns:
        The received rows, those of lower ranks first and in the order that each had them; and what
        :func:`return_rows` needs to send answers back: the order in which the rows were sent, and
        how many came from each process.
    """
    size = place_in(group)[1]
    if size == 1:
        order = torch.arange(len(owner), dtype=torch.int64, device=owner.device)
        return [x if rows is None else x[rows] for x in columns], order, [len(owner)]
    order = owner.argsort(stable=True)
    place = order if rows is None else rows[order]
    counts = owner.bincount(minlength=size)
    theirs = torch.empty_like(counts)
    dist.all_to_all_single(theirs, counts, group=group)
    sent, received = counts.tolist(), theirs.tolist()
    return [_exchange(x, place, sent, received, group) for x in columns], order, received


def return_rows(
    columns: Sequence[Tensor], order: Tensor, received: list[int], group: Group
) -> list[Tensor]:
    """Send a row back for each row that :func:`send_rows` received, in the first order again."""
    owner = torch.arange(len(received), dtype=torch.int64, device=order.device)
    owner = owner.repeat_interleave(torch.tensor(received, device=order.device))
    answers, _, _ = send_rows(owner, columns, group)
    out = [torch.empty_like(x) for x in answers]
    for x, answer in zip(out, answers, strict=True):
        x[order] = answer
    return out


def fetch_rows(rows: Tensor, ids: Tensor, starts: Sequence[int], group: Group) -> Tensor:
    """Return some rows of a matrix of which each process holds a contiguous range.

    Args:
        rows: The rows of this process. Shape: ``[n, ...]``.
        ids: The rows to return, numbered over all processes. Shape: ``[N]``.
        starts: Where the rows of each process begin, and the end.
        group: The processes.
    """
    rank = place_in(group)[0]
    distinct, place = ids.unique(return_inverse=True)
    (asked,), order, received = send_rows(owner_of(distinct, starts), [distinct], group)
    (found,) = return_rows([rows[asked - starts[rank]]], order, received, group)
    return found[place]


def visit(
    rows: Tensor, group: Group, piece: int | None = None
) -> Iterator[tuple[int, int, Tensor]]:
    """Yield the rows of all processes, which travel in a ring.

    While a process works on rows, it passes them on and receives the next ones, so it holds its own
    and those of two others. All processes must read to the end.

    Args:
        rows: The rows of this process; all must have one type and width. Shape: ``[n, ...]``.
        group: The processes.
        piece: Rows of a process that travel at a time; :obj:`None` means all.
            (default: :obj:`None`)

    Yields:
        The process, the number of its rows before these, and the rows.

    Raises:
        ValueError: If the rows of processes have different widths or types.
    """
    rank, size = place_in(group)
    all_counts = counts_of(rows, group)
    piece = max(all_counts) if piece is None else piece
    for first in range(0, max(all_counts), max(1, piece)):
        counts = [min(max(count - first, 0), piece) for count in all_counts]
        visiting = rows[first : first + piece].contiguous()
        for step in range(size):
            following = (rank - step - 1) % size
            coming = rows.new_empty(counts[following], *rows.shape[1:])
            works = _pass_on(visiting, coming, step, group) if step + 1 < size else []
            yield (rank - step) % size, first, visiting
            for work in works:
                work.wait()
            visiting = coming


def _pass_on(rows: Tensor, coming: Tensor, step: int, group: Group) -> list[dist.Work]:
    """Begin to send rows to the next process, and to receive those of the one before."""
    rank, size = place_in(group)
    # A tag keeps the steps apart: a fast process may be one ahead.
    operations = [
        dist.P2POp(what, _bytes(x), group=group, tag=step, group_peer=peer)
        for what, x, peer in (
            (dist.isend, rows, (rank + 1) % size),
            (dist.irecv, coming, (rank - 1) % size),
        )
        if x.numel() > 0
    ]
    return dist.batch_isend_irecv(operations) if operations else []


def _exchange(
    x: Tensor, order: Tensor, sent: list[int], received: list[int], group: Group
) -> Tensor:
    """Send rows in an order that sorts them by the process that they go to.

    They are sent in rounds, so that no second copy of all is held.
    """
    out = x.new_empty(sum(received), *x.shape[1:])
    width = x.element_size() * math.prod(x.shape[1:])
    piece = max(1, ROUND_BYTES // max(1, width * len(sent)))
    most = sum_over(torch.tensor(max(sent), device=x.device), group, dist.ReduceOp.MAX)
    from_place, to_place = ([0, *accumulate(counts)] for counts in (sent, received))
    for first in range(0, int(most), piece):
        going, coming = (
            [min(max(count - first, 0), piece) for count in counts] for counts in (sent, received)
        )
        rows = torch.cat(
            [
                order[start + first : start + first + count]
                for start, count in zip(from_place, going, strict=False)
            ]
        )
        part = x.new_empty(sum(coming), *x.shape[1:])
        dist.all_to_all_single(
            _bytes(part),
            _bytes(x[rows]),
            [count * width for count in coming],
            [count * width for count in going],
            group=group,
        )
        for start, rows_of_one in zip(to_place, part.split(coming), strict=False):
            out[start + first : start + first + len(rows_of_one)] = rows_of_one
    return out


def _bytes(x: Tensor) -> Tensor:
    """Return the memory of a tensor as bytes, which every backend sends."""
    return x.contiguous().view(-1).view(torch.uint8)
