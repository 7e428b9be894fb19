"""Rows of users and items, found by ids as people give them."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from pyg_mmgef.datasets import IdMap

__all__ = ['alike', 'as_edges', 'as_lists', 'row_of', 'rows_of']

MOST_COMPARED = 100_000
_INTEGER = re.compile('0|-?[1-9][0-9]{0,17}')  # As tables have it.
_NUMBER = re.compile(r'[+-]?[0-9]{1,18}([.]0*)?')


def rows_of(ids: IdMap, wanted: Any, end: str) -> Tensor:
    """Return the rows of users or items.

    Ids that are integers may also be given as text, as on a command line, and the other way round.

    Args:
        ids: The ids of all users or items.
        wanted: An id, or several in a sequence, an array, a tensor or a column of a data frame.
        end: ``'user'`` or ``'item'``, for the message.

    Returns:
        Shape: ``[N]``.

    Raises:
        ValueError: If an id is unknown; the message has similar ones.
    """
    known = ids._row_of
    given = [wanted] if isinstance(wanted, str | int) else _listed(wanted)
    rows = []
    for own in given:
        row = known.get(own)
        if row is None and isinstance(own, int):
            row = known.get(str(own))
        elif row is None and isinstance(own, str) and own.lstrip('-').isdecimal():
            row = known.get(int(own))
        if row is None:
            raise ValueError(f'the dataset has no {end} {own!r}; {_advice(ids, str(own), end)}')
        rows.append(row)
    return torch.tensor(rows, dtype=torch.long)


def row_of(ids: IdMap, wanted: Any, end: str) -> int:
    """Return the row of one user or item, as :func:`rows_of` finds it.

    Raises:
        ValueError: If the id is unknown, or it is not one id.
    """
    rows = rows_of(ids, wanted, end)
    if rows.numel() != 1:
        raise ValueError(f'expected the id of one {end}, got {rows.numel()}; ask for one at a time')
    return int(rows)


def alike(known: IdMap, new: IdMap, end: str) -> tuple[list[Any], list[Any]]:
    """Return the ids of two sources, in which the same one is written alike.

    Where one has integers and the other has text, 17 and ``'17'`` are the same. As in tables that
    are read together, all are integers if all are written like that, and else text. Text that is
    known stays text.

    Args:
        known: The ids that are known.
        new: Those that come.
        end: ``'user'`` or ``'item'``, for the message.

    Raises:
        ValueError: If text writes an integer of the other source in another way, as ``'017'``.
    """
    both = list(known), list(new)
    if not (both[0] and both[1]) or isinstance(both[0][0], type(both[1][0])):
        return both
    texts = [str(own) for own in known], [str(own) for own in new]
    written, integers = texts if isinstance(both[0][0], str) else texts[::-1]
    of_integers = set(integers)
    for text in written:
        if _NUMBER.fullmatch(text) and not _INTEGER.fullmatch(text):
            number = str(int(text.partition('.')[0]))
            if number in of_integers:
                raise ValueError(
                    f'{text!r} and {number}, of the dataset and of what is new, may be the same '
                    f'{end}; write the ids alike in both'
                )
    if isinstance(both[0][0], int) and all(map(_INTEGER.fullmatch, written)):
        return both[0], [int(own) for own in texts[1]]
    return texts


def as_lists(liked: Any) -> list[Any]:
    """Return lists of ids, given one such list or several."""
    given = [liked] if isinstance(liked, str | int) else _listed(liked)
    if given and not isinstance(given[0], str | int):
        return given
    return [given]


def as_edges(histories: Sequence[Tensor]) -> Tensor:
    """Return the pairs of the number of a history and an item. Shape: ``[2, E]``."""
    number = torch.arange(len(histories))
    count = torch.tensor([rows.numel() for rows in histories], dtype=torch.long)
    items = torch.cat([*histories, number[:0]])
    return torch.stack([number.repeat_interleave(count), items])


def _listed(wanted: Iterable[Any]) -> list[Any]:
    plain = wanted.tolist() if hasattr(wanted, 'tolist') else list(wanted)  # Arrays, columns.
    return plain if isinstance(plain, list) else [plain]


def _advice(ids: IdMap, wanted: str, end: str) -> str:
    if len(ids) <= MOST_COMPARED:
        names = {str(own).casefold(): str(own) for own in ids}
        near = get_close_matches(wanted.casefold(), names, n=3, cutoff=0.8)
        if near:
            return f'did you mean {" or ".join(repr(names[name]) for name in near)}?'
    examples = ', '.join(repr(str(ids[row])) for row in range(min(3, len(ids))))
    return f'it has {len(ids)} {end}s, such as {examples}'
