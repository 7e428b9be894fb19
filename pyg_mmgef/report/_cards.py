"""What the page shows of a product: a picture, a title and a few fields."""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from pyg_mmgef._printable import shortened
from pyg_mmgef.catalog import Catalog
from pyg_mmgef.report._thumbnails import thumbnail

__all__ = ['Cards', 'Titles', 'category_of']

SIDE, SMALL = 144, 56
LONGEST_TITLE, LONGEST_VALUE, MOST_FIELDS = 80, 30, 3
MOST_CATEGORIES = 60
USUAL = ('category', 'genre', 'department', 'class', 'type', 'group', 'brand')
"""Parts of the names that columns of categories usually have, the most telling first."""
SAMPLE = 2000
"""As many products tell whether the values of a field are short."""


class Titles(Sequence[str]):
    """The titles of all products, each shortened when it is read.

    Args:
        catalog: The products.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def __len__(self) -> int:
        return len(self.catalog)

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[str]: ...

    def __getitem__(self, row: int | slice) -> str | Sequence[str]:
        if isinstance(row, slice):
            return [self[place] for place in range(*row.indices(len(self)))]
        title = self.catalog.titles[row] or str(self.catalog.ids[row])
        return shortened(title, LONGEST_TITLE)


class Cards:
    """Makes the cards of products, each picture once in each size.

    Args:
        catalog: The products.
        category: The field with the categories. (default: :obj:`None`)
    """

    def __init__(self, catalog: Catalog, category: str | None = None) -> None:
        self.catalog, self.titles = catalog, Titles(catalog)
        self.fields = _fields_to_show(catalog, category)
        self._pictures: dict[tuple[int, int], str | None] = {}

    def __call__(self, row: int, note: str = '') -> dict[str, Any]:
        """Return the card of a product.

        Args:
            row: The product's row.
            note: What to write below it. (default: ``''``)
        """
        id_ = str(self.catalog.ids[row])
        return {
            'title': self.titles[row],
            'id': id_ if self.catalog.titles[row] not in ('', id_) else '',
            'fields': self._values(row),
            'picture': self._picture(row, SIDE, False),
            'note': note,
            'hit': '',
            'reasons': [],
        }

    def small(self, row: int) -> dict[str, Any]:
        """Return the title and a small square picture of a product."""
        return {'title': self.titles[row], 'picture': self._picture(row, SMALL, True)}

    def _picture(self, row: int, side: int, is_square: bool) -> str | None:
        if (row, side) not in self._pictures:
            path = self.catalog.pictures[row]
            self._pictures[row, side] = thumbnail(path, side, is_square=is_square)
        return self._pictures[row, side]

    def _values(self, row: int) -> list[tuple[str, str]]:
        """Return the names and the values of the fields of a product that it has."""
        out = []
        for name, is_whole in self.fields.items():
            value = self.catalog.fields[name][row]
            if value is None or value != value:
                continue
            if isinstance(value, str):
                out.append(('', shortened(value, LONGEST_VALUE)))
            else:
                out.append((name, f'{value:.0f}' if is_whole else f'{value:.2f}'))
        return out


def category_of(catalog: Catalog, name: str | None = None) -> str | None:
    """Return the field with the categories of products.

    Args:
        catalog: The products.
        name: The field; :obj:`None` looks for one with few short texts, first among those that are
            called as such a column usually is. (default: :obj:`None`)

    Returns:
        The name, :obj:`None` if there is no such field.

    Raises:
        ValueError: If there is no field of the given name.
    """
    if name is not None:
        return catalog.field(name, 'category').name
    found = []
    for place, field in enumerate(map(catalog.field, catalog.fields)):
        if field.is_number or _is_title(catalog, field.name):
            continue
        known = field.distinct
        if not 2 <= len(known) <= min(MOST_CATEGORIES, len(catalog) // 2):
            continue
        if max(map(len, known)) > 2 * LONGEST_VALUE:
            continue
        word = field.name.lower()
        usual = next((i for i, part in enumerate(USUAL) if part in word), len(USUAL))
        found.append((usual, place, field.name))
    return min(found)[2] if found else None


def _fields_to_show(catalog: Catalog, category: str | None) -> dict[str, bool]:
    """Return the fields that cards show, and which of them hold whole numbers."""
    out = {}
    for name in dict.fromkeys([*([] if category is None else [category]), *catalog.fields]):
        values = catalog.fields[name][:SAMPLE]
        if values.dtype != object:
            known = values[~np.isnan(values)]
            if len(known):
                out[name] = bool((known == known.round()).all())
            continue
        lengths = [len(value) for value in values if value is not None]
        is_short = bool(lengths) and np.quantile(lengths, 0.9) <= LONGEST_VALUE
        if name == category or (is_short and not _is_title(catalog, name)):
            out[name] = False
    return dict(list(out.items())[:MOST_FIELDS])


def _is_title(catalog: Catalog, name: str) -> bool:
    """Return whether a field is the column of the titles."""
    pairs = zip(catalog.fields[name].tolist(), catalog.titles, strict=True)
    return all(value is None or value == title for value, title in pairs)
