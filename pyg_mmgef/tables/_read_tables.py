"""Reader of a table of interactions and a table of items, with an account of every row."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef._spelling import spelt
from pyg_mmgef.tables._cells import (
    UNDECODED,
    event_cell,
    id_cell,
    is_json,
    number_cell,
    text_cell,
    time_cell,
    time_of_text,
    where,
)
from pyg_mmgef.tables._engine import Connection, connect, literal, reading
from pyg_mmgef.tables._meet import check_meeting
from pyg_mmgef.tables._numbering import (
    DistinctIds,
    IdColumn,
    collect_ids,
    drop_unused,
    number_ids,
)
from pyg_mmgef.tables._texts import plain_text
from pyg_mmgef.tables.table import Account, Table, count, listed, one_row

__all__ = ['ItemRows', 'TablesRead', 'read_tables']

# A query of a database runs beside these tables, so its own tables must have other names.
_INTERACTIONS, _ITEMS = 'pyg_mmgef_interactions', 'pyg_mmgef_items'
_BATCH = 2**20  # rows
_LATEST = 2**62  # nanoseconds since 1970 fit, and so does int64
_TICKS = ((1e11, 1), (1e14, 10**3), (1e17, 10**6))
"""Times below these are seconds, milliseconds and microseconds; later ones are nanoseconds."""


class ItemRows(NamedTuple):
    """The rows of the item table that have an id.

    Args:
        item: The item of each row, as the rank of its id.
        texts: The text of each row, by column; :obj:`None` if it has none.
        report: Counts of the rows, by what became of them.
    """

    item: NDArray[np.int32]
    texts: dict[str, list[str | None]]
    report: dict[str, int]


class TablesRead(NamedTuple):
    """The complete interactions in the order of their table, and the distinct ids.

    Args:
        user: The user of each interaction, as the rank of its id.
        item: The item of each interaction.
        rating: The ratings, if a column or events give some.
        time: The times, if a column gives them.
        user_ids: The distinct ids of the users, sorted.
        item_ids: Those of the items of both tables.
        report: Counts of the rows, by what became of them.
        notes: What to look at: a row that could not be parsed, texts in another encoding.
        listed: The item table.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rating: NDArray[np.float32] | None
    time: NDArray[np.int64] | None
    user_ids: DistinctIds
    item_ids: DistinctIds
    report: dict[str, int]
    notes: list[str]
    listed: ItemRows | None


def read_tables(
    table: Table,
    columns: Mapping[str, str],
    *,
    event_weights: Mapping[str, float] | None = None,
    since: str | float | None = None,
    until: str | float | None = None,
    items: Table | None = None,
    item_id: str = '',
    texts: Sequence[str] = (),
) -> TablesRead:
    """Read tables of interactions and of items.

    Args:
        table: The interactions.
        columns: The columns to read: ``user``, ``item`` and optionally ``rating``, ``time`` and
            ``event``.
        event_weights: The rating that stands for each kind of event; rows of others are left out.
            (default: :obj:`None`)
        since: The first time that counts, a number or a date. (default: :obj:`None`)
        until: The time from which on none counts. (default: :obj:`None`)
        items: The items. (default: :obj:`None`)
        item_id: Column of their ids. (default: ``''``)
        texts: Columns of their texts. (default: ``()``)

    Raises:
        ValueError: If a table can't be read, a column holds values of the wrong kind, or the ids of
            both tables don't meet.
    """
    # Memory or disk may end after the table was read.
    with connect() as connection, reading(table.name, ours=False):
        notes: list[str] = []
        report, ends = _read_interactions(
            connection, table, columns, event_weights, since, until, notes
        )
        item_columns = [ends['item']]
        item_report: dict[str, int] = {}
        if items is not None:
            listed_id, item_report = _read_items(connection, items, item_id, texts, notes)
            item_columns.append(listed_id)
        user_ids = number_ids(connection, 'users', [ends['user']])
        item_ids = number_ids(connection, 'items', item_columns)
        rows_of_items = None
        if items is not None:
            check_meeting(connection, item_columns, items, item_id)
            rows_of_items = _fetch_items(connection, items, texts, item_report)
            if rows_of_items.report['texts with invalid characters']:
                notes.append(
                    f'texts of {items.name} hold characters that its encoding lacks; name the '
                    f'right one with {spelt("encoding")}'
                )
        arrays = _fetch_interactions(connection)
        return TablesRead(
            arrays['user'],
            arrays['item'],
            arrays.get('rating'),
            arrays.get('time'),
            user_ids,
            item_ids,
            report,
            notes,
            rows_of_items,
        )


def _read_interactions(
    connection: Connection,
    table: Table,
    columns: Mapping[str, str],
    event_weights: Mapping[str, float] | None,
    since: str | float | None,
    until: str | float | None,
    notes: list[str],
) -> tuple[dict[str, int], dict[str, IdColumn]]:
    """Create the table of complete interactions, and return the number of those left out."""
    ids = {end: id_cell(table, columns[end]) for end in ('user', 'item')}
    ends = {
        end: IdColumn(_INTERACTIONS, f'{end}_id', cell.is_text, where(table, columns[end]))
        for end, cell in ids.items()
    }
    cells = {f'{end}_id': cell.id for end, cell in ids.items()}
    reasons = {
        'user_id IS NULL': 'rows without a user id',
        'item_id IS NULL': 'rows without an item id',
    }
    if event_weights is not None:
        cells['event'] = event = event_cell(table, columns['event'])
        weights = ' '.join(
            f'WHEN {literal(kind)} THEN {float(weight)!r}' for kind, weight in event_weights.items()
        )
        cells['rating'] = f'(CASE {event} {weights} END)::FLOAT'
        reasons['rating IS NULL'] = 'rows of other events'
    if 'rating' in columns:
        cells['rating'] = number_cell(table, columns['rating'])
        reasons['coalesce(NOT isfinite(rating), true)'] = 'rows without a valid rating'
    if 'time' in columns:
        cells['time'] = time_cell(table, columns['time'])
        reasons[f'coalesce(abs(time::HUGEINT) > {_LATEST}, true)'] = 'rows without a valid time'
    refused = {f'{end}_refused': cell.refused for end, cell in ids.items() if cell.refused}
    account = table.read(connection, _INTERACTIONS, {**cells, **refused})
    for end, column in ends.items():
        if f'{end}_refused' in refused:
            _check_refused(connection, column, f'{end}_refused')
        collect_ids(connection, column)
    if event_weights is not None:
        _check_events(connection, event_weights, where(table, columns['event']))
    report = _account(account, 'rows read', 'rows that could not be parsed')
    notes += _notes(account, table)
    left_out = _drop(connection, reasons)
    left_out |= _drop_other_times(connection, since, until)
    if any(left_out.values()):
        for column in ends.values():
            drop_unused(connection, column)
    return report | left_out, ends


def _drop(connection: Connection, reasons: Mapping[str, str]) -> dict[str, int]:
    """Drop interactions by conditions, and return the number by the first that is met."""
    conditions = list(reasons)
    counts = ', '.join(
        f'count_if({" AND ".join([condition, *(f"NOT ({c})" for c in conditions[:index])])})'
        for index, condition in enumerate(conditions)
    )
    numbers = one_row(connection, f'SELECT {counts} FROM {_INTERACTIONS}')
    if any(numbers):
        connection.execute(f'DELETE FROM {_INTERACTIONS} WHERE {" OR ".join(conditions)}')
    return dict(zip(reasons.values(), numbers, strict=True))


def _drop_other_times(
    connection: Connection, since: str | float | None, until: str | float | None
) -> dict[str, int]:
    reasons = {}
    if since is not None:
        reasons[f'time < {_tick(connection, "since", since)}'] = 'rows before since'
    if until is not None:
        reasons[f'time >= {_tick(connection, "until", until)}'] = 'rows from until on'
    return _drop(connection, reasons) if reasons else {}


def _tick(connection: Connection, name: str, value: str | float) -> int:
    """Return a limit in the unit of the table's times."""
    (tick,) = one_row(connection, f'SELECT {time_of_text(literal(str(value)))}')
    if tick is None:
        raise ValueError(
            f'{spelt(name)} must be a number or a date such as 2024-12-31 (got {value!r})'
        )
    try:
        float(value)
    except ValueError:
        (latest,) = one_row(connection, f'SELECT max(abs(time)) FROM {_INTERACTIONS}')
        tick *= next((unit for limit, unit in _TICKS if (latest or 0) < limit), 10**9)
    return tick


def _check_refused(connection: Connection, column: IdColumn, refused: str) -> None:
    (value,) = one_row(connection, f'SELECT any_value({refused}) FROM {column.table}')
    if value is not None:
        raise ValueError(
            f'{column.where} holds the id {value[:80]!r}, which is neither a string nor an integer,'
            ' or a floating point number so large that it has lost digits; read the column as '
            'integers or strings'
        )


def _check_events(connection: Connection, event_weights: Mapping[str, float], where: str) -> None:
    kinds = connection.execute(
        f'SELECT event FROM {_INTERACTIONS} GROUP BY event ORDER BY count(*) DESC LIMIT 20'
    ).fetchall()
    found = [kind for (kind,) in kinds if kind is not None]
    if not set(found) & set(event_weights):
        raise ValueError(
            f'{where} holds none of the events {list(event_weights)}, but {listed(found)}'
        )


def _fetch_interactions(connection: Connection) -> dict[str, NDArray[Any]]:
    """Return the columns of the interactions in the order of their table."""
    kinds = {'rating': np.float32, 'time': np.int64}
    names = [row[0] for row in connection.execute(f'DESCRIBE {_INTERACTIONS}').fetchall()]
    values = [name for name in kinds if name in names]
    (size,) = one_row(connection, f'SELECT coalesce(max(rowid) + 1, 0) FROM {_INTERACTIONS}')
    out: dict[str, NDArray[Any]] = {end: np.full(size, -1, np.int32) for end in ('user', 'item')}
    out |= {name: np.zeros(size, kinds[name]) for name in values}
    batches = connection.sql(
        'SELECT row.rowid AS place, users.row AS user, items.row AS item'
        f'{"".join(f", row.{name} AS {name}" for name in values)} '
        f'FROM {_INTERACTIONS} AS row JOIN users_0 AS users ON users.id = row.user_id '
        'JOIN items_0 AS items ON items.id = row.item_id'
    ).to_arrow_reader(_BATCH)
    for batch in batches:
        # A join keeps no order, but each row has a place of its own.
        place = batch['place'].to_numpy()
        for name, column in out.items():
            column[place] = batch[name].to_numpy()
    is_row = out['user'] >= 0
    return out if is_row.all() else {name: column[is_row] for name, column in out.items()}


def _read_items(
    connection: Connection, items: Table, item_id: str, texts: Sequence[str], notes: list[str]
) -> tuple[IdColumn, dict[str, int]]:
    """Create the table of the items, and return its column of ids and an account of its rows."""
    item = id_cell(items, item_id)
    cells = {'item_id': item.id} | {f't{i}': text_cell(items, text) for i, text in enumerate(texts)}
    refused = {'item_refused': item.refused} if item.refused else {}
    account = items.read(connection, _ITEMS, {**cells, **refused})
    column = IdColumn(_ITEMS, 'item_id', item.is_text, where(items, item_id))
    if refused:
        _check_refused(connection, column, 'item_refused')
    collect_ids(connection, column)
    report = _account(account, 'item rows read', 'item rows that could not be parsed')
    notes += _notes(account, items)
    report['item rows without an id'] = count(connection, _ITEMS, 'item_id IS NULL')
    return column, report


def _fetch_items(
    connection: Connection, items: Table, texts: Sequence[str], report: dict[str, int]
) -> ItemRows:
    columns = ''.join(f', {_ITEMS}.t{i}' for i in range(len(texts)))
    rows = connection.execute(
        f'SELECT items.row{columns} FROM {_ITEMS} JOIN items_1 AS items ON items.id = item_id '
        f'ORDER BY {_ITEMS}.rowid'
    ).fetchall()
    item, *cells = zip(*rows, strict=True) if rows else [()] * (len(texts) + 1)
    num_damaged = sum(UNDECODED in cell for column in cells for cell in column if cell)
    out = {
        text: [plain_text(cell, is_json=is_json(items, text)) for cell in column]
        for text, column in zip(texts, cells, strict=True)
    }
    report = report | {'texts with invalid characters': num_damaged}
    return ItemRows(np.array(item, np.int32), out, report)


def _account(account: Account, read: str, malformed: str) -> dict[str, int]:
    report = {read: account.num_read, malformed: account.num_malformed}
    if account.num_inner_lines:
        report[f'line breaks within quotes of {"items" if "item" in read else "rows"}'] = (
            account.num_inner_lines
        )
    return report


def _notes(account: Account, table: Table) -> list[str]:
    if not account.num_malformed:
        return []
    hint = ''
    if '\\"' in account.malformed:
        hint = f"; if backslashes stand before quotes within quotes, pass {spelt('escape')} '\\'"
    return [
        f'rows of {table.name} could not be parsed ({account.num_malformed:,}), such as '
        f'{account.malformed[:80]!r}{hint}'
    ]
