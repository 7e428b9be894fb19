"""Reader of a table of interactions and a table of items, with an account of every row."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.tables._cells import (
    UNDECODED,
    id_cell,
    is_json,
    number_cell,
    text_cell,
    time_cell,
    time_of_text,
)
from pyg_mmgef.tables._engine import Connection, connect, literal
from pyg_mmgef.tables._meet import check_meeting
from pyg_mmgef.tables._numbering import DistinctIds, Side, number_ids
from pyg_mmgef.tables._texts import plain_text
from pyg_mmgef.tables.table import Account, Table, count, listed

__all__ = ['ItemRows', 'TablesRead', 'read_tables']

_INTERACTIONS, _ITEMS = 'interactions', 'listed_items'
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
        listed: The item table.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rating: NDArray[np.float32] | None
    time: NDArray[np.int64] | None
    user_ids: DistinctIds
    item_ids: DistinctIds
    report: dict[str, int]
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
    with connect() as connection:
        report = _read_interactions(connection, table, columns, event_weights)
        report |= _drop_other_times(connection, since, until)
        user_ids = number_ids(
            connection, 'users', [Side(_INTERACTIONS, 'user_id', where(table, columns['user']))]
        )
        sides = [Side(_INTERACTIONS, 'item_id', where(table, columns['item']))]
        item_report: dict[str, int] = {}
        if items is not None:
            item_report = _read_items(connection, items, item_id, texts)
            sides.append(Side(_ITEMS, 'item_id', where(items, item_id)))
        item_ids = number_ids(connection, 'items', sides)
        rows_of_items = None
        if items is not None:
            check_meeting(connection, sides)
            rows_of_items = _fetch_items(connection, items, texts, item_report)
        arrays = _fetch_interactions(connection)
        return TablesRead(
            arrays['user'],
            arrays['item'],
            arrays.get('rating'),
            arrays.get('time'),
            user_ids,
            item_ids,
            report,
            rows_of_items,
        )


def _read_interactions(
    connection: Connection,
    table: Table,
    columns: Mapping[str, str],
    event_weights: Mapping[str, float] | None,
) -> dict[str, int]:
    """Create the table of complete interactions, and return the number of those left out."""
    user, item = (id_cell(table, columns[end]) for end in ('user', 'item'))
    cells = {'user_id': user.id, 'item_id': item.id}
    refused = {'user': user.refused, 'item': item.refused}
    cells |= {f'{end}_refused': cell for end, cell in refused.items() if cell != 'NULL'}
    reasons = {'user_id': 'rows without a user id', 'item_id': 'rows without an item id'}
    if event_weights is not None:
        event = f'trim({text_cell(table, columns["event"])})'
        weights = ' '.join(
            f'WHEN {literal(kind)} THEN {float(weight)!r}' for kind, weight in event_weights.items()
        )
        cells |= {'event': event, 'rating': f'(CASE {event} {weights} END)::FLOAT'}
        reasons['rating'] = 'rows of other events'
    if 'rating' in columns:
        cells['rating'] = number_cell(table, columns['rating'])
        reasons['rating'] = 'rows without a valid rating'
    if 'time' in columns:
        cells['time'] = time_cell(table, columns['time'])
        reasons['time'] = 'rows without a valid time'
    account = table.read(connection, _INTERACTIONS, cells)
    for end in ('user', 'item'):
        if f'{end}_refused' in cells:
            _check_refused(connection, _INTERACTIONS, f'{end}_refused', where(table, columns[end]))
    report = _account(account, 'rows read', 'rows that could not be parsed')
    if event_weights is not None:
        _check_events(connection, event_weights, where(table, columns['event']))
    return report | _drop(connection, {f'{cell} IS NULL': name for cell, name in reasons.items()})


def _drop(connection: Connection, reasons: Mapping[str, str]) -> dict[str, int]:
    """Drop interactions by conditions, and return the number by the first that is met."""
    conditions = list(reasons)
    counts = ', '.join(
        f'count_if({" AND ".join([condition, *(f"NOT ({c})" for c in conditions[:index])])})'
        for index, condition in enumerate(conditions)
    )
    numbers = connection.execute(f'SELECT {counts} FROM {_INTERACTIONS}').fetchone()
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
    (tick,) = connection.execute(f'SELECT {time_of_text(literal(str(value)))}').fetchone()
    if tick is None:
        raise ValueError(f"'{name}' must be a number or a date such as 2024-12-31 (got {value!r})")
    try:
        float(value)
    except ValueError:
        (latest,) = connection.execute(f'SELECT max(abs(time)) FROM {_INTERACTIONS}').fetchone()
        tick *= next((unit for limit, unit in _TICKS if (latest or 0) < limit), 10**9)
    return tick


def _check_refused(connection: Connection, table: str, column: str, where: str) -> None:
    (value,) = connection.execute(f'SELECT any_value({column}) FROM {table}').fetchone()
    if value is not None:
        raise ValueError(
            f'{where} holds the id {value[:80]!r}, which is neither a string nor an integer, or a '
            'floating point number so large that it has lost digits; read the column as integers '
            'or strings'
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
    names = [row[0] for row in connection.execute(f'DESCRIBE {_INTERACTIONS}').fetchall()]
    values = [name for name in ('rating', 'time') if name in names]
    found = connection.execute(
        f'SELECT row.rowid AS place, users.row AS user, items.row AS item'
        f'{"".join(f", row.{name} AS {name}" for name in values)} '
        f'FROM {_INTERACTIONS} AS row JOIN users_0 AS users ON users.id = row.user_id '
        'JOIN items_0 AS items ON items.id = row.item_id'
    ).fetchnumpy()
    # A join keeps no order, but the places are distinct, so that they need no sorting.
    place = np.asarray(found.pop('place'))
    is_filled = np.zeros(int(place.max(initial=-1)) + 1, bool)
    is_filled[place] = True
    out = {}
    for name in ('user', 'item', *values):
        column = np.asarray(found.pop(name))
        ordered = np.empty(len(is_filled), column.dtype)
        ordered[place] = column
        out[name] = ordered if len(place) == len(is_filled) else ordered[is_filled]
    return out


def _read_items(
    connection: Connection, items: Table, item_id: str, texts: Sequence[str]
) -> dict[str, int]:
    """Create the table of the items that have an id, and return the number of the others."""
    item = id_cell(items, item_id)
    cells = {'item_id': item.id} | {f't{i}': text_cell(items, text) for i, text in enumerate(texts)}
    if item.refused != 'NULL':
        cells['item_refused'] = item.refused
    account = items.read(connection, _ITEMS, cells)
    if item.refused != 'NULL':
        _check_refused(connection, _ITEMS, 'item_refused', where(items, item_id))
    report = _account(account, 'item rows read', 'item rows that could not be parsed')
    report['item rows without an id'] = count(connection, _ITEMS, 'item_id IS NULL')
    return report


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


def where(table: Table, column: str) -> str:
    """Return how messages call a column."""
    return f'column {column!r} of {table.name}'
