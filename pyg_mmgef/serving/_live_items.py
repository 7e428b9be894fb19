from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.catalog import Catalog, ContentWeights
from pyg_mmgef.serving._ids import Id, own_id
from pyg_mmgef.serving._item_changes import ItemChange
from pyg_mmgef.serving.export_folder import ExportFolder

__all__ = ['LiveItems']


class _ChangingCatalog(Catalog):
    """A catalog whose items change one by one, without copies of the others.

    Args:
        catalog: The items to begin with. Their columns are copied.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.ids, self.titles = list(catalog.ids), list(catalog.titles)
        self.texts, self.pictures = list(catalog.texts), list(catalog.pictures)
        self.fields = {name: column.copy() for name, column in catalog.fields.items()}

    @property
    def are_numbers(self) -> bool:
        """Whether the ids are numbers."""
        return bool(self.ids) and isinstance(self.ids[0], int)

    def row_of(self, item: Id) -> int | None:
        """Return the row of an id, or :obj:`None` if there is none."""
        return self._row_of.get(str(item))

    def rows_of(self, ids: Iterable[Any], argument: str = 'ids') -> NDArray[np.int64]:
        """Return the rows of items, without a search for similar ids, which takes long."""
        rows = []
        for item in ids:
            row = self.row_of(item)
            if row is None:
                raise ValueError(
                    f'{argument!r} names the item {str(item)[:80]!r}, which is unknown'
                )
            rows.append(row)
        return np.array(rows, np.int64)

    def add(self, item: Id) -> int:
        """Add an item of which nothing is known, and return its row."""
        row = len(self.ids)
        self._row_of[str(item)] = row
        self.ids.append(item)
        self.titles.append(str(item))
        self.texts.append(None)
        self.pictures.append(None)
        for name, column in self.fields.items():
            self.fields[name] = np.append(column, np.array([_missing(column.dtype)], column.dtype))
        return row

    def put(self, row: int, values: Mapping[str, Any]) -> None:
        """Set an item to its ``title``, ``text``, ``picture`` and ``fields``; None is missing."""
        title = values.get('title')
        self.titles[row] = str(self.ids[row]) if title is None else title
        self.texts[row], self.pictures[row] = values.get('text'), values.get('picture')
        given = values.get('fields', {})
        for name, value in given.items():
            if name not in self.fields and value is not None:
                dtype = object if isinstance(value, str) else np.float64
                self.fields[name] = np.full(len(self), _missing(dtype), dtype)
        for name, column in self.fields.items():
            value = given.get(name)
            column[row] = _missing(column.dtype) if value is None else value
        self._looked_up.clear()


def _missing(dtype: Any) -> float | None:
    return None if np.dtype(dtype).kind == 'O' else np.nan


class LiveItems:
    """The items of an export with the changes that came since; one thread alone uses it.

    Args:
        export: The export.
    """

    def __init__(self, export: ExportFolder) -> None:
        self._export = export
        self.catalog = _ChangingCatalog(export.catalog)
        """All items: those of the export, and behind them the added ones."""
        self.is_there = np.ones(len(self.catalog), bool)
        """Mask of the items that aren't retired and have a vector. Shape: ``[num_items]``."""
        self.added = np.zeros((0, export.channels), np.float32)
        """The vectors of the added items, in the order of their rows."""
        width = 1 if export.history is None else export.history.bias.size
        self.history = np.zeros((0, width), np.float32)
        """What the added items add to the fold-in of a user, zero where nothing says it."""
        self.popularity = np.array(export.popularity)
        """Number of train interactions; added items have none. Shape: ``[num_items]``."""
        self.number = 0
        """The number of the last change."""
        self.norms = np.linalg.norm(export.item_vectors, axis=1)
        """The lengths of the vectors. Shape: ``[num_items]``."""

    @property
    def are_all_there(self) -> bool:
        """Whether no item is retired or without a vector."""
        return bool(self.is_there.all())

    def vectors(self, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Return the vectors of some items. Shape: ``[len(rows), channels]``."""
        first = self._export.num_items
        if not len(self.added):
            return self._export.item_vectors[rows]
        old = rows < first
        out = np.empty((len(rows), self.added.shape[1]), np.float32)
        out[old] = self._export.item_vectors[rows[old]]
        out[~old] = self.added[rows[~old] - first]
        return out

    def row_of(self, item: Id) -> int | None:
        """Return the row of an item that isn't retired, or :obj:`None` if there is none."""
        row = self.catalog.row_of(item)
        return row if row is not None and self.is_there[row] else None

    def picture_of(self, row: int) -> Path | None:
        """Return the thumbnail of an item, or :obj:`None` if the export has none."""
        return self._export.pictures.get(row)

    def apply(self, changes: list[ItemChange]) -> None:
        """Apply changes, in their order."""
        for change in changes:
            self._apply(change)
            self.number = change.number

    def _apply(self, change: ItemChange) -> None:
        item = own_id(change.item, self.catalog.are_numbers) if len(self.catalog) else change.item
        if item is None:
            return
        row = self.catalog.row_of(item)
        if row is None and not change.is_added:
            return  # The export lacks an item of an earlier one.
        is_old = row is not None and row < self._export.num_items
        if row is None:
            row = self.catalog.add(item)
            self.is_there = np.append(self.is_there, False)
            self.popularity = np.append(self.popularity, np.float32(0))
            self.norms = np.append(self.norms, np.float32(0))
            self.added, self.history = (
                np.pad(vectors, ((0, 1), (0, 0))) for vectors in (self.added, self.history)
            )
        self.catalog.put(row, self._values_of(row, change))
        if is_old:
            self.is_there[row] = not change.is_retired
            return
        vector = self._embedded(change, self._export.content)
        if vector is None:
            vector = self._given(change)
        history = self._embedded(change, self._export.history)
        place = row - self._export.num_items
        self.history[place] = 0 if history is None else history
        self.added[place] = 0 if vector is None else vector
        self.norms[row] = np.linalg.norm(self.added[place])
        self.is_there[row] = vector is not None and not change.is_retired

    def _embedded(
        self, change: ItemChange, weights: ContentWeights | None
    ) -> NDArray[np.float32] | None:
        """Return what is made of the features of an added item, if they fit the export."""
        if change.features is None or weights is None:
            return None
        try:
            return weights.embed({name: [row] for name, row in change.features.items()})[0]
        except ValueError:  # The features of another model.
            return None

    def _given(self, change: ItemChange) -> NDArray[np.float32] | None:
        """Return the vector that an item was added with, if it fits the export."""
        vector = change.vector
        return vector if vector is not None and len(vector) == self.added.shape[1] else None

    def _values_of(self, row: int, change: ItemChange) -> dict[str, Any]:
        """Return what is known of an item: what was set of it, and the rest from the export.

        A field whose type is another in this export is that of the export.
        """
        own: dict[str, Any] = {}
        if row < self._export.num_items:
            catalog = self._export.catalog
            own = {'title': catalog.titles[row], 'text': catalog.texts[row]}
            own['picture'] = catalog.pictures[row]
            own['fields'] = {name: column[row] for name, column in catalog.fields.items()}
        fields = {
            name: value
            for name, value in change.values.get('fields', {}).items()
            if value is None or self.fits(name, value)
        }
        return {**own, **change.values, 'fields': {**own.get('fields', {}), **fields}}

    def fits(self, field: str, value: Any) -> bool:
        """Return whether a value is of the type that a field has."""
        column = self.catalog.fields.get(field)
        return column is None or (column.dtype == object) == isinstance(value, str)
