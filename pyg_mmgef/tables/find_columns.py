"""Columns by their names."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice

from pyg_mmgef._spelling import spelt
from pyg_mmgef.tables._text_table import TextTable
from pyg_mmgef.tables.table import Table, listed

__all__ = ['close_match', 'find_columns']

_MOST_COMPARED = 10_000


def find_columns(table: Table, names: Mapping[str, str]) -> dict[str, str]:
    """Return the columns with some names; ``user_id`` also finds RecBole's ``user_id:token``.

    Args:
        table: The table.
        names: The names, by what the caller uses the columns for.

    Raises:
        ValueError: If the table lacks columns, all of which it lists, or has several of a name.
    """
    found = {role: _matches(table, name) for role, name in names.items()}
    shared = names.get('user'), names.get('item')
    if shared[0] == shared[1] is not None:
        raise ValueError(
            f'{spelt("user")} and {spelt("item")} both name the column {shared[0]!r} of '
            f'{table.name}; it has the columns {listed(table.columns)}'
        )
    problems = [
        f'{spelt(role.split()[0])} names the column {names[role]!r}, '
        + ('which does not exist' if not columns else f'of which there are {len(columns)}')
        + ('' if columns else _hint(table, role.split()[0], names[role]))
        for role, columns in found.items()
        if len(columns) != 1
    ]
    headless = isinstance(table, TextTable) and table.seems_headless
    if not problems and not headless:
        return {role: columns[0] for role, columns in found.items()}
    hint = ''
    if headless:
        hint = (
            '; its first row looks like values instead of names: if the file has no header, name '
            f'its columns with {spelt("columns")}'
        )
    elif len(table.columns) == 1 and isinstance(table, TextTable):
        hint = f'; if that is a whole line, name the column separator with {spelt("delimiter")}'
    raise ValueError(
        f'{"; ".join(problems) or "names are missing"} in {table.name}, which has the columns '
        f'{listed(table.columns)}{hint}'
    )


def _matches(table: Table, name: str) -> list[str]:
    exact = [column for column in table.columns if column == name]
    repeated = [c for c in table.columns if re.fullmatch(rf'{re.escape(name)} \(\d+\)', c)]
    return (
        exact + repeated
        if exact
        else [column for column in table.columns if column.strip().split(':')[0] == name]
    )


def close_match(name: str, known: Iterable[str]) -> str:
    """Return a question about the name that was probably meant, empty if none is close.

    More than 10,000 names aren't compared, as that takes longer than a person or a server waits.
    """
    by_small = {other.lower(): other for other in islice(known, _MOST_COMPARED + 1)}
    if len(by_small) > _MOST_COMPARED:
        return ''
    close = get_close_matches(name.lower(), by_small, n=1)
    return f' (did you mean {by_small[close[0]]!r}?)' if close else ''


def _hint(table: Table, argument: str, name: str) -> str:
    names = [column.strip().split(':')[0] for column in table.columns]
    parts = [part.strip() for part in name.split(',')]
    if len(parts) > 1 and set(parts) <= set(names):
        each = ' '.join(f'{spelt(argument)} {part}' for part in parts)
        return f' (did you mean {each if spelt(argument).startswith("-") else tuple(parts)}?)'
    return close_match(name, names)
