"""Interactions and features from folders of Parquet files, each process with its share."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyg_mmgef.distributed._exchange import (
    Group,
    even_starts,
    owner_of,
    place_in,
    raise_together,
    send_rows,
    sum_over,
)

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
    """Interactions (user, item), by user, then by time if there is one, then by item. A user is
    numbered within :attr:`users`, an item over all items. Shape: ``[2, E]``."""
    time: Tensor | None
    """The time of each interaction, int64. Shape: ``[E]``."""


class FeatureShard(NamedTuple):
    """The features of a contiguous range of items."""

    items: range
    """The items of this process."""
    num_items: int
    """Number of items of all processes."""
    x: Tensor
    """Features, rows of zeros for items that no file has. Shape: ``[len(items), channels]``."""
    has: Tensor
    """Whether the files have the item. Shape: ``[len(items)]``, bool."""


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
        ValueError: If it holds no Parquet files, a file lacks a column, or a column isn't of
            integers, has empty fields, or ids that are negative or too large.
        ImportError: If pyarrow isn't installed.
    """
    device = torch.device(device)
    names = [user, item] + ([] if time is None else [time])
    parts = _parts_of(Path(folder), names, group)
    read, error = [torch.empty(0, dtype=torch.int64)] * len(names), None
    try:
        read = _read_integers(parts, names, {user: num_users, item: num_items})
    except ValueError as found:
        error = found
    raise_together(error, device, group)
    columns = [x.to(device) for x in read]
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
            or float64, which becomes float32.
        item: The column of items, integers from 0, in any order. (default: ``'item'``)
        num_items: Number of items; :obj:`None` means one more than the largest.
            (default: :obj:`None`)
        device: Device of the result; that of the process group's backend. (default: ``'cpu'``)
        group: The processes; :obj:`None` means all. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: As :func:`read_interactions`, or if lists have different lengths, numbers aren't
            finite, or an item has two rows.
        ImportError: If pyarrow isn't installed.
    """
    device = torch.device(device)
    parts = _parts_of(Path(folder), [item, column], group)
    ids, x, error = torch.empty(0, dtype=torch.int64), torch.empty(0, 1), None
    try:
        ids, x = _read_lists(parts, item, column, num_items)
    except ValueError as found:
        error = found
    raise_together(error, device, group)
    num_items = _number(ids.to(device), num_items, group)
    rank, size = place_in(group)
    starts = even_starts(num_items, size)
    ids, x = ids.to(device), _of_one_kind(x.to(device), column, group)
    (ids, x), _, _ = send_rows(owner_of(ids, starts), [ids, x], group)
    place, count = (ids - starts[rank]).unique(return_counts=True)
    twice = place[count > 1].tolist()
    if twice:
        error = ValueError(
            f'{folder}: {len(twice)} items have several rows in {item!r} (first: item '
            f'{twice[0] + starts[rank]}); keep one for each'
        )
    raise_together(error, device, group)
    out = x.new_zeros(starts[rank + 1] - starts[rank], x.size(1))
    out[ids - starts[rank]] = x
    has = torch.zeros(len(out), dtype=torch.bool, device=device)
    has[place] = True
    return FeatureShard(range(starts[rank], starts[rank + 1]), num_items, out, has)


class _Part(NamedTuple):
    path: Path
    row_group: int


def _parts_of(folder: Path, columns: Sequence[str], group: Group) -> list[_Part]:
    """Return the row groups that this process reads, after checking the columns of all files.

    All processes check the same, so they raise the same error.
    """
    from pyarrow.lib import ArrowException

    parquet = _parquet()
    folder = folder.expanduser()
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
        for number in range(metadata.num_row_groups):
            parts.append(_Part(path, number))
            num_rows.append(metadata.row_group(number).num_rows)
    rank, size = place_in(group)
    # A row group belongs to the process in whose share of the rows its middle lies.
    middle = np.cumsum(num_rows) - np.asarray(num_rows) / 2
    process = np.minimum(middle * size // max(1, sum(num_rows)), size - 1)
    return [part for part, reader in zip(parts, process, strict=True) if reader == rank]


def _read(part: _Part, columns: Sequence[str]) -> Any:
    """Return columns of a row group as an Arrow table."""
    from pyarrow.lib import ArrowException

    try:
        with _parquet().ParquetFile(part.path) as file:
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

    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise ValueError(f'{path}: column {name!r} must hold integers (got {kind})')
    if column.null_count:
        raise ValueError(f'{path}: column {name!r} has {column.null_count} empty fields')
    if not pa.types.is_integer(kind):
        column = column.cast(pa.timestamp('us', getattr(kind, 'tz', None)))
    return torch.from_numpy(column.cast(pa.int64()).to_numpy().copy())


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
        if rows[-1].shape[1:] != rows[0].shape[1:] and len(rows[-1]):
            raise ValueError(
                f'{path}: column {column!r} has lists of {rows[-1].size(1)} numbers, but earlier '
                f'files of {rows[0].size(1)}'
            )
    rows = [x for x in rows if len(x)]
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
    if column.null_count or len(lengths) > 1:
        found = f'{column.null_count} empty fields' if column.null_count else f'lengths {lengths}'
        raise ValueError(f'{path}: column {name!r} must hold lists of one length (got {found})')
    values = pc.list_flatten(column)
    if values.null_count:
        raise ValueError(f'{path}: column {name!r} has {values.null_count} empty numbers')
    x = torch.from_numpy(values.to_numpy().copy()).view(len(column), lengths[0] if lengths else 0)
    if not bool(torch.isfinite(x).all()):
        rows = int((~torch.isfinite(x)).any(dim=1).sum())
        raise ValueError(f'{path}: column {name!r} holds NaN or infinite values in {rows} rows')
    return x.float() if x.dtype == torch.float64 else x


def _of_one_kind(x: Tensor, column: str, group: Group) -> Tensor:
    """Return rows of the width and type that all processes have; one without rows has none."""
    kinds = torch.tensor([x.size(1), x.element_size()], dtype=torch.int64, device=x.device)
    most = sum_over(kinds.clone(), group, torch.distributed.ReduceOp.MAX)
    mine = most if len(x) == 0 else kinds
    if not bool(sum_over((mine != most).long(), group).sum() == 0):
        raise ValueError(
            f'column {column!r} has lists of different lengths or types (the longest have '
            f'{int(most[0])} numbers of {int(most[1])} bytes); write all files alike'
        )
    if len(x) == 0:
        kind = torch.float16 if int(most[1]) == 2 else torch.float32
        return x.new_zeros(0, int(most[0]), dtype=kind)
    return x


def _number(ids: Tensor, number: int | None, group: Group) -> int:
    """Return the number of ids: the one given, or one more than the largest of all processes."""
    if number is not None:
        return number
    largest = ids.amax() if ids.numel() > 0 else ids.new_tensor(-1)
    return int(sum_over(largest, group, torch.distributed.ReduceOp.MAX)) + 1


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            'a Parquet file needs pyarrow; install it with: pip install "pyg-mmgef[cli]"'
        ) from error
    return parquet
