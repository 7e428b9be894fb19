"""The columns that the names and first rows of tables suggest."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from itertools import product
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

from pyg_mmgef.tables._names import (
    UNNAMED,
    id_rank,
    is_event,
    is_rule_field,
    item_rank,
    joined,
    rating_rank,
    text_rank,
    time_rank,
    user_rank,
)
from pyg_mmgef.tables._picture_folder import IMAGE_SUFFIXES
from pyg_mmgef.tables._picture_names import picture_names

__all__ = ['TableSample', 'event_kinds', 'is_url', 'suggest_columns', 'suggest_fields']

Columns: TypeAlias = tuple[str, ...]

_MISSING = frozenset(['', 'nan', 'none', 'null', '<na>', 'nat', '[]'])
_DATE = re.compile(  # As DuckDB reads them.
    r'\d{4}([-/])(0?[1-9]|1[0-2])\1(0?[1-9]|[12]\d|3[01])'
    r'([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?(Z|UTC|[+-]\d{2}(:?\d{2})?))?)?'
)
_WITHOUT_BLANKS = re.compile('[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]')
"""Letters of scripts without blanks between words; each counts as a word."""

_MOST = 0.9  # of the cells that aren't missing
_MOST_KINDS = 12  # of events
_FREE_TEXT = 6  # words in a cell, on average
_LONGEST_ID, _LONGEST_FIELD = 80, 20  # characters


class TableSample(NamedTuple):
    """The columns of a table with their types, and its first rows as Python values."""

    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]


def suggest_columns(
    interactions: TableSample,
    items: TableSample | None = None,
    given: Mapping[str, Columns] | None = None,
) -> dict[str, Columns]:
    """Return the columns that fit each purpose best.

    Names are compared in small letters and without what RecBole appends (``user_id:token``). A
    column must also hold what it is to be used for. Times and ratings are suggested only if each
    row has a valid one, since rows without are skipped when they are read.

    Args:
        interactions: The table of interactions.
        items: The table of items. (default: :obj:`None`)
        given: The columns that are known, by purpose, or none where none is wanted. Nothing is
            suggested for these. (default: :obj:`None`)

    Returns:
        The columns for ``'user'``, ``'item'``, ``'time'`` and ``'rating'`` and, if there is a table
        of items, for ``'item_id'``, ``'text'`` and ``'image'``. A single column is a suggestion;
        several fit equally well, except that those for ``'text'`` belong together, in their order.

    Example:
        >>> rows = [{'CustomerID': 17850, 'StockCode': '85123A', 'InvoiceDate': '2010-12-01'}]
        >>> suggest_columns(TableSample({name: 'VARCHAR' for name in rows[0]}, rows))
        {'user': ('CustomerID',), 'item': ('StockCode',), 'time': ('InvoiceDate',), 'rating': ()}
    """
    given = given or {}
    known = dict(given)
    for purpose, rank in _RANKS.items():
        known.setdefault(purpose, _best(interactions, rank))
    if items is not None:
        item_ids = known.get('item_id', _distinct(items))
        pairs = _matching(interactions, known['item'], items, item_ids)
        known['item'] = _unique(item for item, _ in pairs) or known['item']
        known['item_id'] = _unique(item_id for _, item_id in pairs)
        free = [column for column in items.columns if column not in known['item_id']]
        known.setdefault('image', tuple(c for c in free if _mostly(items, c, _is_picture)))
        known.setdefault('text', _texts(items, [c for c in free if c not in known['image']]))
    return {purpose: columns for purpose, columns in known.items() if purpose not in given}


def event_kinds(interactions: TableSample) -> tuple[str, tuple[str, ...]] | None:
    """Return a column that is named after kinds of events, and what it holds, most often first.

    Args:
        interactions: The table of interactions.
    """
    for column in interactions.columns:
        cells = [str(cell).strip() for cell in _present(_cells(interactions, column))]
        kinds = Counter(cells)
        if is_event(column) and 1 < len(kinds) <= _MOST_KINDS:
            return column, tuple(kind for kind, _ in kinds.most_common())
    return None


def suggest_fields(items: TableSample) -> Columns:
    """Return the columns of the items that business rules ask for: prices, stocks, yes and no.

    Args:
        items: The table of items.
    """
    return tuple(
        column
        for column in items.columns
        if is_rule_field(column) and _mostly(items, column, _is_short)
    )


def is_url(cell: Any) -> bool:
    """Return whether a cell is an address in the web."""
    return isinstance(cell, str) and cell.startswith(('http://', 'https://'))


def _best(sample: TableSample, rank: Callable[[str, list[Any]], int | None]) -> Columns:
    ranks = {column: rank(column, _cells(sample, column)) for column in sample.columns}
    best = min((value for value in ranks.values() if value is not None), default=-1)
    return tuple(column for column, value in ranks.items() if value == best)


def _rank_user(column: str, cells: list[Any]) -> int | None:
    return user_rank(column) if _are_ids(cells) else None


def _rank_item(column: str, cells: list[Any]) -> int | None:
    return item_rank(column) if _are_ids(cells) else None


def _rank_time(column: str, cells: list[Any]) -> int | None:
    rank = time_rank(column)
    if rank == UNNAMED:
        return rank if cells and all(map(_is_date, cells)) else None
    return rank if all(_is_number(cell) or _is_date(cell) for cell in cells) else None


def _rank_rating(column: str, cells: list[Any]) -> int | None:
    return rating_rank(column) if all(map(_is_number, cells)) else None


_RANKS = {'user': _rank_user, 'item': _rank_item, 'time': _rank_time, 'rating': _rank_rating}


def _matching(
    interactions: TableSample, columns: Columns, items: TableSample, item_ids: Columns
) -> list[tuple[str, str]]:
    """Return the pairs of columns, one per table, that seem to hold the same ids.

    Those with one name, else those that share the most values, else those named like an id.
    """
    pairs = list(product(columns, item_ids))
    if namesakes := [pair for pair in pairs if joined(pair[0]) == joined(pair[1])]:
        return namesakes
    ids = {column: _ids(interactions, column) for column in columns}
    ids_of_items = {column: _ids(items, column) for column in item_ids}
    shared = {(a, b): len(ids[a] & ids_of_items[b]) for a, b in pairs}
    most = max(shared.values(), default=0)
    likely = [pair for pair in pairs if 2 * shared[pair] >= most]
    ranks = {pair: id_rank(pair[1]) for pair in likely}
    named = [rank for rank in ranks.values() if rank is not None]
    if named:
        return [pair for pair in likely if ranks[pair] == min(named)]
    return likely if most else []


def _distinct(sample: TableSample) -> Columns:
    """Return the columns that could hold the ids of the rows: hardly any value repeats."""
    found = []
    for column in sample.columns:
        cells = _cells(sample, column)
        if _are_ids(cells) and len(_ids(sample, column)) >= _MOST * len(_present(cells)):
            found.append(column)
    return tuple(found)


def _texts(sample: TableSample, columns: Sequence[str]) -> Columns:
    """Return the columns named like a text, in their order, then the longest other free text."""
    textual = [column for column in columns if _mostly(sample, column, _is_text)]
    places = {column: text_rank(column) for column in textual}
    named = sorted((c for c in textual if places[c] is not None), key=lambda c: places[c] or 0)
    lengths = {column: _mean_words(sample, column) for column in textual if column not in named}
    longest = max(lengths, key=lambda column: lengths[column], default=None)
    if longest is not None and lengths[longest] >= _FREE_TEXT:
        named.append(longest)
    return tuple(named)


def _mean_words(sample: TableSample, column: str) -> float:
    cells = list(map(str, _present(_cells(sample, column))))
    words = sum(len(cell.split()) + len(_WITHOUT_BLANKS.findall(cell)) for cell in cells)
    return words / max(len(cells), 1)


def _mostly(sample: TableSample, column: str, holds: Callable[[Any], bool]) -> bool:
    cells = _present(_cells(sample, column))
    return bool(cells) and sum(map(holds, cells)) >= _MOST * len(cells)


def _cells(sample: TableSample, column: str) -> list[Any]:
    return [row[column] for row in sample.rows]


def _present(cells: Iterable[Any]) -> list[Any]:
    return [c for c in cells if c is not None and str(c).strip().lower() not in _MISSING]


def _ids(sample: TableSample, column: str) -> set[str]:
    """Return the ids as text; '3.0' is what pandas writes for 3 in a column with gaps."""
    cells = _present(_cells(sample, column))
    return {re.sub(r'(\d)\.0+$', r'\1', str(cell).strip()) for cell in cells}


def _are_ids(cells: list[Any]) -> bool:
    """Return whether cells could be ids, of which some may be missing."""
    present = _present(cells)
    return all(map(_is_id, present)) and (bool(present) or not cells)


def _is_id(cell: Any) -> bool:
    if isinstance(cell, (bool, date, list, tuple, dict)):
        return False
    if isinstance(cell, Real):
        return float(cell).is_integer()
    return len(str(cell)) <= _LONGEST_ID


def _is_number(cell: Any) -> bool:
    if isinstance(cell, bool):
        return False
    try:
        return math.isfinite(float(cell))
    except (TypeError, ValueError):
        return False


def _is_short(cell: Any) -> bool:
    is_text = isinstance(cell, str) and len(cell) <= _LONGEST_FIELD
    return is_text or isinstance(cell, bool) or _is_number(cell)


def _is_date(cell: Any) -> bool:
    if isinstance(cell, date):
        return True
    return isinstance(cell, str) and _DATE.fullmatch(cell.strip()) is not None


def _is_picture(cell: Any) -> bool:
    paths = [re.split('[?#]', name)[0] if is_url(name) else name for name in picture_names(cell)]
    return bool(paths) and all(path.lower().endswith(IMAGE_SUFFIXES) for path in paths)


def _is_text(cell: Any) -> bool:
    if isinstance(cell, (list, tuple)):
        return all(map(_is_text, cell))
    has_letters = isinstance(cell, str) and any(map(str.isalpha, cell))
    return has_letters and not is_url(cell) and not _is_date(cell)


def _unique(columns: Iterable[str]) -> Columns:
    return tuple(dict.fromkeys(columns))
