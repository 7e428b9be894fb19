"""Rows of users and items, found by ids as people give them."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from pyg_mmgef.datasets import IdMap

__all__ = ['as_edges', 'as_lists', 'rows_of']

MOST_COMPARED = 100_000


def rows_of(ids: IdMap, wanted: Any, end: str) -> Tensor:
    """Return the rows of users or items.

    Ids that are integers may also be given as text, as on a command line.

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
    are_integers = isinstance(ids.ids, Tensor)
    given = [wanted] if isinstance(wanted, str | int) else _listed(wanted)
    rows = []
    for own in given:
        row = known.get(own)
        if row is None and are_integers and isinstance(own, str) and own.lstrip('-').isdecimal():
            row = known.get(int(own))
        if row is None:
            raise ValueError(f'the dataset has no {end} {own!r}; {_advice(ids, str(own), end)}')
        rows.append(row)
    return torch.tensor(rows, dtype=torch.long)


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
