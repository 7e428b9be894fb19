"""Interactions and features from folders of Parquet files, each process with its share."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from pyg_mmgef.distributed._exchange import (
    Group,
    even_starts,
    owner_of,
    place_in,
    send_rows,
    sum_over,
)
from pyg_mmgef.distributed._together import check_equal, raise_together
from pyg_mmgef.files import import_arrow
from pyg_mmgef.validate import check_not_negative

__all__ = ['FeatureShard', 'InteractionShard', 'read_features', 'read_interactions']


class InteractionShard(NamedTuple):
    """All interactions of a contiguous range of users."""

    users: range
    """The users of this process."""
    num_users: int
    """Number of users of all processes."""
    num_items: int
    """Number of items."""
    edge_index: Tensor
    """Interactions (user, item), by user, then by time if there is one, then by item; repeated ones
    as often as the files have them. A user is numbered within :attr:`users`, an item over all
    items. Shape: ``[2, E]``."""
    time: Tensor | None
    """The time of each interaction, int64.

    Shape: ``[E]``.
    """


class FeatureShard(NamedTuple):
    """The features of a contiguous range of items."""

    items: range
    """The items of this process."""
    num_items: int
    """Number of items of all processes."""
    x: Tensor
    """Features, rows of zeros for items that no file has.

    Shape: ``[len(items), channels]``.
    """
    has: Tensor
    """Whether the files have the item.

    Shape: ``[len(items)]``, bool.
    """


def read_interactions(
    folder: str | os.PathLike[str],
    *,
    user: str = 'user',
    item: str = 'item',
    time: str | None = None,
    num_users: int | None = None,
    num_items: int | None = None,
    device: torch.device | str = 'cpu',
    group: Group = None,
) -> InteractionShard:
    """Read interactions from a folder of Parquet files, and give each process its users.

    Each process reads about as many rows as the others, in whole row groups. Then the interactions
    go to the process of their user: with ``P`` processes, process ``p`` has the users from
    ``num_users * p // P`` to ``num_users * (p + 1) // P``. Files may have any sizes and order; the
    result doesn't depend on how the rows are spread over them.

    Args:
        folder: The folder, as Spark, Dask, Ray and DuckDB write them: all files ``*.parquet`` in it
            and in folders inside it, but for hidden ones.
        user: The column of users, integers from 0. (default: ``'user'``)
        item: The column of items, integers from 0. (default: ``'item'``)
        time: The column of times, integers, or timestamps and dates, which become microseconds
            since 1970; :obj:`None` reads none. (default: :obj:`None`)
        num_users: Number of users; :obj:`None` means one more than the largest.
            (default: :obj:`None`)
        num_items: Number of items; :obj:`None` means one more than the largest.
            (default: :obj:`None`)
        device: Device of the result; that of the process group's backend. (default: ``'cpu'``)
        group: The processes; :obj:`None` means all. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no Parquet files, the processes see different files, a file lacks a
            column, or a column isn't of integers, has empty fields, or ids that are negative or too
            large.
        RuntimeError: If another process has found one of these.
        ImportError: If pyarrow isn't installed.
    """
    device = torch.device(device)
    names = [user, item] + ([] if time is None else [time])
    _check_numbers(num_users=num_users, num_items=num_items)
    parts = _parts_of(Path(folder), names, device, group)
    with raise_together(device, group):
        columns = _read_integers(parts, names, {user: num_users, item: num_items})
        columns = [x.to(device) for x in columns]
    num_users = _number(columns[0], num_users, group)
    num_items = _number(columns[1], num_items, group)
    rank, size = place_in(group)
    starts = even_starts(num_users, size)
    columns, _, _ = send_rows(owner_of(columns[0], starts), columns, group)
    order = columns[1].argsort(stable=True)
    for key in [*columns[2:], columns[0]]:
        order = order[key[order].argsort(stable=True)]
    columns = [x[order] for x in columns]
    return InteractionShard(
        range(starts[rank], starts[rank + 1]),
        num_users,
        num_items,
        torch.stack([columns[0] - starts[rank], columns[1]]),
        None if time is None else columns[2],
    )


def read_features(
    folder: str | os.PathLike[str],
    column: str,
    *,
    item: str = 'item',
    num_items: int | None = None,
    device: torch.device | str = 'cpu',
    group: Group = None,
) -> FeatureShard:
    """Read features of items from a folder of Parquet files, and give each process its items.

    Rows are read and sent as :func:`read_interactions` does it. While they are sent, a process
    holds its share twice.

    Args:
        folder: The folder, see :func:`read_interactions`.
        column: The column of features: lists of one length (fixed-size or not), float16, float32
            or float64, which becomes float32, as all do unless all are float16.
        item: The column of items, integers from 0, in any order. (default: ``'item'``)
        num_items: Number of items; :obj:`None` means one more than the largest.
            (default: :obj:`None`)
        device: Device of the result; that of the process group's backend. (default: ``'cpu'``)
        group: The processes; :obj:`None` means all. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: As :func:`read_interactions`, or if lists have different lengths, numbers aren't
            finite, or an item has two rows.
        RuntimeError: If another process has found one of these.
        ImportError: If pyarrow isn't installed.
    """
    device = torch.device(device)
    _check_numbers(num_items=num_items)
    parts = _parts_of(Path(folder), [item, column], device, group)
    with raise_together(device, group):
        ids, x = _read_lists(parts, item, column, num_items)
        ids, x = ids.to(device), x.to(device)
    num_items = _number(ids, num_items, group)
    rank, size = place_in(group)
    starts = even_starts(num_items, size)
    x = _of_one_kind(x, column, group)
    (ids, x), _, _ = send_rows(owner_of(ids, starts), [ids, x], group)
    place, count = (ids - starts[rank]).unique(return_counts=True)
    twice = place[count > 1]
    with raise_together(device, group):
        if len(twice) > 0:
            raise ValueError(
                f'{folder}: {len(twice)} items have several rows in {item!r} (first: item '
                f'{int(twice[0]) + starts[rank]}); keep one for each'
            )
    out = x.new_zeros(starts[rank + 1] - starts[rank], x.size(1))
    out[ids - starts[rank]] = x
    has = torch.zeros(len(out), dtype=torch.bool, device=device)
    has[place] = True
    return FeatureShard(range(starts[rank], starts[rank + 1]), num_items, out, has)


class _Part(NamedTuple):
    path: Path
    row_group: int


def _parts_of(
    folder: Path, columns: Sequence[str], device: torch.device, group: Group
) -> list[_Part]:
    """Return the row groups that this process reads, after checking the columns of all files."""
    with raise_together(device, group):
        parts, num_rows = _all_parts(folder.expanduser(), columns)
    names = ' '.join(
        f'{path.relative_to(folder.expanduser())} {row_group}' for path, row_group in parts
    )
    # Machines may have folders of the same name.
    check_equal(
        f'{folder} must be one folder, on storage that all processes share; the checksums of its '
        'files differ',
        crc32(names.encode()),
        device,
        group,
    )
    rank, size = place_in(group)
    # A row group belongs to the process in whose share of the rows its middle lies.
    middle = np.cumsum(num_rows) - np.asarray(num_rows) / 2
    process = np.minimum(middle * size // max(1, sum(num_rows)), size - 1)
    return [part for part, reader in zip(parts, process, strict=True) if reader == rank]


def _all_parts(folder: Path, columns: Sequence[str]) -> tuple[list[_Part], list[int]]:
    """Return the row groups of all files that have rows, and their numbers of rows."""
    from pyarrow.lib import ArrowException

    parquet = import_arrow('parquet')
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no folder {folder}')
    files = sorted(
        path
        for path in folder.rglob('*.parquet')
        if path.is_file()
        and not any(name.startswith(('.', '_')) for name in path.relative_to(folder).parts)
    )
    if not files:
        raise ValueError(f'{folder} holds no files *.parquet')
    parts, num_rows = [], []
    for path in files:
        try:
            metadata = parquet.read_metadata(path)
        except (ArrowException, OSError) as error:
            raise ValueError(f'{path} is not a whole Parquet file: {error}') from error
        found = metadata.schema.to_arrow_schema().names
        for name in columns:
            if name not in found:
                raise ValueError(f'{path} has no column {name!r} (found {", ".join(found)})')
        counts = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        parts += [_Part(path, number) for number, count in enumerate(counts) if count > 0]
        num_rows += [count for count in counts if count > 0]
    return parts, num_rows


def _read(part: _Part, columns: Sequence[str]) -> Any:
    """Return columns of a row group as an Arrow table."""
    from pyarrow.lib import ArrowException

    try:
        with import_arrow('parquet').ParquetFile(part.path) as file:
            return file.read_row_group(part.row_group, columns=list(columns))
    except (ArrowException, OSError) as error:
        raise ValueError(f'{part.path} is not a whole Parquet file: {error}') from error


def _read_integers(
    parts: Sequence[_Part], names: Sequence[str], limits: dict[str, int | None]
) -> list[Tensor]:
    """Return the columns of some parts; those in :obj:`limits` hold ids."""
    columns: list[list[Tensor]] = [[] for _ in names]
    for part in parts:
        path, table = part.path, _read(part, names)
        for name, column in zip(names, columns, strict=True):
            column.append(_integers(path, name, table[name]))
            if name in limits:
                _check_ids(path, name, column[-1], limits[name])
    return [torch.cat([torch.empty(0, dtype=torch.int64), *column]) for column in columns]


def _integers(path: Path, name: str, column: Any) -> Tensor:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise ValueError(f'{path}: column {name!r} must hold integers (got {kind})')
    if column.null_count:
        raise ValueError(f'{path}: column {name!r} has {column.null_count} empty fields')
    try:
        if not pa.types.is_integer(kind):
            # pandas writes nanoseconds, which are cut off.
            target = pa.timestamp('us', getattr(kind, 'tz', None))
            options = pc.CastOptions(target_type=target, allow_time_truncate=True)
            column = column.cast(options=options)
        column = column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ValueError(f'{path}: column {name!r} does not fit int64: {error}') from error
    return torch.from_numpy(column.to_numpy().copy())


def _check_ids(path: Path, name: str, ids: Tensor, limit: int | None) -> None:
    if ids.numel() == 0:
        return
    lowest, highest = map(int, torch.aminmax(ids))
    if lowest < 0:
        raise ValueError(f'{path}: column {name!r} has the negative id {lowest}; ids start at 0')
    if limit is not None and highest >= limit:
        raise ValueError(
            f'{path}: column {name!r} has the id {highest}; ids must lie in [0, {limit})'
        )


def _read_lists(
    parts: Sequence[_Part], item: str, column: str, num_items: int | None
) -> tuple[Tensor, Tensor]:
    ids, rows = [torch.empty(0, dtype=torch.int64)], []
    for part in parts:
        path, table = part.path, _read(part, [item, column])
        ids.append(_integers(path, item, table[item]))
        _check_ids(path, item, ids[-1], num_items)
        rows.append(_matrix(path, column, table[column]))
        if rows[-1].shape[1:] != rows[0].shape[1:]:
            raise ValueError(
                f'{path}: column {column!r} has lists of {rows[-1].size(1)} numbers, but earlier '
                f'files of {rows[0].size(1)}'
            )
    return torch.cat(ids), torch.cat(rows) if rows else torch.empty(0, 0)


def _matrix(path: Path, name: str, column: Any) -> Tensor:
    """Return a column of lists as a matrix."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not (is_list or pa.types.is_fixed_size_list(kind)) or not pa.types.is_floating(
        kind.value_type
    ):
        raise ValueError(f'{path}: column {name!r} must hold lists of floats (got {kind})')
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if column.null_count or len(lengths) > 1 or lengths[0] == 0:
        found = f'{column.null_count} empty fields' if column.null_count else f'lengths {lengths}'
        raise ValueError(f'{path}: column {name!r} must hold lists of one length (got {found})')
    values = pc.list_flatten(column)
    if values.null_count:
        raise ValueError(f'{path}: column {name!r} has {values.null_count} empty numbers')
    x = torch.from_numpy(values.to_numpy().copy()).view(len(column), lengths[0])
    if not bool(torch.isfinite(x).all()):
        rows = int((~torch.isfinite(x)).any(dim=1).sum())
        raise ValueError(f'{path}: column {name!r} holds NaN or infinite values in {rows} rows')
    return x.float() if x.dtype == torch.float64 else x


def _of_one_kind(x: Tensor, column: str, group: Group) -> Tensor:
    """Return rows of the width of all processes, as float32 unless all have float16."""
    mine = [x.size(1), x.element_size()] if len(x) > 0 else [0, 0]
    kinds = torch.tensor(mine, dtype=torch.int64, device=x.device)
    width, size = sum_over(kinds, group, torch.distributed.ReduceOp.MAX).tolist()
    shorter = torch.tensor(int(mine[0] not in (0, width)), device=x.device)
    if int(sum_over(shorter, group)) > 0:
        raise ValueError(
            f'column {column!r} has lists of different lengths (the longest have {width} '
            'numbers); write all files alike'
        )
    kind = torch.float16 if size == torch.float16.itemsize else torch.float32
    return x.to(kind) if len(x) > 0 else x.new_zeros(0, width, dtype=kind)


def _check_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None:
            check_not_negative(name, number, integer=True)


def _number(ids: Tensor, number: int | None, group: Group) -> int:
    """Return the number of ids: the one given, or one more than the largest of all processes."""
    if number is not None:
        return number
    largest = ids.amax() if ids.numel() > 0 else ids.new_tensor(-1)
    return int(sum_over(largest, group, torch.distributed.ReduceOp.MAX)) + 1
