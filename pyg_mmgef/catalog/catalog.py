import json
import os
from collections.abc import Iterable, Mapping, Sequence, Sized
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyg_mmgef._spelling import spelt
from pyg_mmgef.catalog._field import Field
from pyg_mmgef.files import open_atomically
from pyg_mmgef.tables._arrow_table import arrow
from pyg_mmgef.tables.find_columns import close_match
from pyg_mmgef.tables.table import listed

__all__ = ['Catalog']

Values: TypeAlias = NDArray[Any] | Sequence[str | float | None]
_OWN_COLUMNS = ('id', 'title', 'text', 'picture')
_FORMAT = b'pyg_mmgef.catalog'


class Catalog:
    """What a shop knows of its items: ids, titles, texts, pictures and fields such as a price.

    Row ``i`` of everything is item ``i`` of a model. A catalog isn't changed once it is made.

    Args:
        ids: The distinct ids of the items, all integers or all strings.
        titles: A title of each item. (default: the ids)
        texts: A text of each item, :obj:`None` where there is none. (default: none)
        pictures: The path of each item's picture, :obj:`None` where there is none. (default: none)
        fields: Further columns by their names: numbers, which become float64 with NaN for missing
            ones, booleans, which become ``0`` and ``1``, or strings with :obj:`None` for missing
            ones. (default: none)

    Raises:
        ValueError: If ids repeat or are of two types, or a column has another number of rows.

    Example:
        >>> catalog = Catalog(
        ...     ['L1', 'L2', 'R1'],
        ...     titles=['Desk lamp', 'Floor lamp', 'Rug'],
        ...     fields={'category': ['Lamps', 'Lamps', 'Rugs'], 'price': [20, 45, None]},
        ... )
        >>> catalog
        Catalog(3 items, fields=['category', 'price'])
        >>> catalog.rows_of(['R1', 'L1'])
        array([2, 0])
        >>> catalog.fields['price']
        array([20., 45., nan])
    """

    ids: list[Any]
    """The ids in the order of the rows, all :obj:`int` or all :obj:`str`."""
    titles: list[str]
    """The title of each item."""
    texts: list[str | None]
    """The text of each item."""
    pictures: list[str | None]
    """The path of each item's picture."""
    fields: dict[str, NDArray[Any]]
    """The further columns: float64 with NaN, or objects that are strings or :obj:`None`."""

    def __init__(
        self,
        ids: Iterable[int | str],
        titles: Sequence[str] | None = None,
        texts: Sequence[str | None] | None = None,
        pictures: Sequence[str | os.PathLike[str] | None] | None = None,
        fields: Mapping[str, Values] | None = None,
    ) -> None:
        self.ids = _checked_ids(ids)
        num_items = len(self.ids)
        self.titles = [str(i) for i in self.ids] if titles is None else list(titles)
        self.texts = [None] * num_items if texts is None else list(texts)
        self.pictures = [
            None if path is None else os.fspath(path) for path in pictures or [None] * num_items
        ]
        self.fields = {name: _as_field(name, column) for name, column in (fields or {}).items()}
        columns: dict[str, Sized] = {'titles': self.titles, 'texts': self.texts}
        for name, column in {**columns, 'pictures': self.pictures, **self.fields}.items():
            if len(column) != num_items:
                raise ValueError(f'{name!r} has {len(column)} rows for {num_items} items')

    def rows_of(self, ids: Iterable[Any], argument: str = 'ids') -> NDArray[np.int64]:
        """Return the rows of items.

        Args:
            ids: Their ids. As ids on a command line are texts, ``'7'`` finds the item ``7``, and
                ``7`` the item ``'7'``.
            argument: Name of the argument, for the message. (default: ``'ids'``)

        Returns:
            The rows. Shape: ``[len(ids)]``.

        Raises:
            ValueError: If an id is unknown.
        """
        wanted = list(ids)
        rows = [self._row_of.get(str(i), -1) for i in wanted]
        unknown = [i for i, row in zip(wanted, rows, strict=True) if row < 0]
        if unknown:
            match = close_match(str(unknown[0]), self._row_of) or (
                f'; it has {listed(self._row_of, 3)}' if self.ids else ''
            )
            more = f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''
            raise ValueError(
                f'{spelt(argument)} names the item {str(unknown[0])[:80]!r}{more}, which the '
                f'catalog of {len(self)} items lacks{match}'
            )
        return np.array(rows, np.int64)

    def field(self, name: str, argument: str = 'name') -> Field:
        """Return a field with what is looked up in it.

        Args:
            name: Its name.
            argument: Where the name comes from, for the message. (default: ``'name'``)

        Raises:
            ValueError: If there is no such field.
        """
        if name not in self.fields:
            known = f'it has {listed(self.fields)}' if self.fields else 'it has no fields'
            raise ValueError(
                f'{spelt(argument)} names the field {str(name)[:80]!r}, which the catalog lacks'
                f'{close_match(str(name), self.fields)}; {known}'
            )
        return self._looked_up.setdefault(name, Field(name, self.fields[name]))

    def select(self, rows: ArrayLike) -> 'Catalog':
        """Return a catalog of some of the items.

        Args:
            rows: The rows, or a mask over all rows.
        """
        chosen = np.asarray(rows)
        kept = np.arange(len(self))[chosen if chosen.size else []].tolist()
        return Catalog(
            [self.ids[row] for row in kept],
            [self.titles[row] for row in kept],
            [self.texts[row] for row in kept],
            [self.pictures[row] for row in kept],
            {name: column[kept] for name, column in self.fields.items()},
        )

    def append(self, other: 'Catalog') -> 'Catalog':
        """Return a catalog with further items behind these; fields that one lacks are missing.

        Args:
            other: The further items.

        Raises:
            ValueError: If an id is in both, or a field holds numbers in one and texts in the other.
        """
        fields = {}
        for name in dict.fromkeys([*self.fields, *other.fields]):
            own = self.fields.get(name, np.full(len(self), np.nan))
            new = other.fields.get(name, np.full(len(other), np.nan))
            fields[name] = _joined(name, own, new)
        return Catalog(
            self.ids + other.ids,
            self.titles + other.titles,
            self.texts + other.texts,
            self.pictures + other.pictures,
            fields,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a Parquet file: the columns ``id``, ``title``, ``text``, ``picture``, the fields.

        Args:
            path: The file.
        """
        pa = arrow()
        own = (self.ids, self.titles, self.texts, self.pictures)
        kinds = (pa.int64() if self.ids and isinstance(self.ids[0], int) else pa.string(),)
        columns = {
            name: pa.array(column, kind)
            for name, column, kind in zip(
                _OWN_COLUMNS, own, (*kinds, *[pa.string()] * 3), strict=True
            )
        }
        for name, values in self.fields.items():
            kind = pa.string() if values.dtype == object else pa.float64()
            columns[_column_of(name)] = pa.array(values, kind, from_pandas=True)
        table = pa.table(columns).replace_schema_metadata(
            {_FORMAT: json.dumps({'format': 1, 'fields': list(self.fields)})}
        )
        with open_atomically(Path(path).expanduser()) as file:
            arrow('parquet').write_table(table, file, write_page_checksum=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> 'Catalog':
        """Read the file that :meth:`save` wrote.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it isn't such a file, or is damaged.
        """
        path = Path(path).expanduser()
        pa, content = arrow(), path.read_bytes()
        try:
            table = arrow('parquet').read_table(
                pa.BufferReader(content), page_checksum_verification=True
            )
            own = [table[name].to_pylist() for name in _OWN_COLUMNS]
            names = json.loads((table.schema.metadata or {})[_FORMAT])['fields']
            fields = {}
            for name in names:
                column = table[_column_of(name)]
                is_text = pa.types.is_string(column.type)
                fields[name] = _as_field(
                    name, column.to_pylist() if is_text else column.to_numpy(zero_copy_only=False)
                )
            return cls(own[0], own[1], own[2], own[3], fields)
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'{str(path)!r} is not a catalog ({_first_line(error)}); write it again'
            ) from error

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {str(i): row for row, i in enumerate(self.ids)}

    @cached_property
    def _looked_up(self) -> dict[str, Field]:
        return {}

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Catalog)
            and (self.ids, self.titles, self.texts, self.pictures)
            == (other.ids, other.titles, other.texts, other.pictures)
            and list(self.fields) == list(other.fields)
            and all(_are_equal(own, other.fields[name]) for name, own in self.fields.items())
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({len(self)} items, fields={list(self.fields)})'


def _checked_ids(ids: Iterable[Any]) -> list[Any]:
    plain = [i.item() if isinstance(i, np.generic) else i for i in ids]
    kinds = {type(i) for i in plain}
    if kinds and kinds not in ({int}, {str}):
        found = ', '.join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"'ids' must be all integers or all strings (got {found})")
    if len(set(plain)) != len(plain):
        raise ValueError(f"'ids' holds {len(plain)} ids, but only {len(set(plain))} distinct ones")
    return plain


def _as_field(name: str, column: Values) -> NDArray[Any]:
    if isinstance(column, (list, tuple)):
        # As an array, a 1 beside texts would become '1'.
        cells = np.fromiter(column, object, len(column))
    else:
        cells = np.asarray(column)
    if cells.ndim == 1 and cells.dtype.kind in 'biuf':
        return cells.astype(np.float64)
    values = [None if _is_nan(value) else value for value in cells.reshape(-1).tolist()]
    kinds = {type(value) for value in values} - {type(None)} if cells.ndim == 1 else {np.ndarray}
    if kinds <= {bool, int, float}:
        return np.array(values, np.float64)
    if not kinds <= {str}:
        raise ValueError(
            f'the field {name!r} must be a column of numbers, or of strings and None (got '
            f'{", ".join(sorted(kind.__name__ for kind in kinds))})'
        )
    return np.fromiter(values, object, len(values))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def _joined(name: str, own: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """Return the values of a field behind each other; columns without any fit both kinds."""
    if own.dtype != new.dtype:
        if not _is_missing(own).all() and not _is_missing(new).all():
            kinds = ['texts' if part.dtype == object else 'numbers' for part in (own, new)]
            raise ValueError(
                f'the field {name!r} holds {kinds[0]}, but {kinds[1]} for the new items'
            )
        kept = new if _is_missing(own).all() else own
        missing = None if kept.dtype == object else np.nan
        own, new = (
            part if part is kept else np.full(len(part), missing, kept.dtype) for part in (own, new)
        )
    return np.concatenate([own, new])


def _is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    return values == np.array(None) if values.dtype == object else np.isnan(values)


def _column_of(field: str) -> str:
    """Return the column of a field, which may be called as one of our own columns."""
    return f'field {field}' if field in _OWN_COLUMNS else field


def _are_equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.dtype != other.dtype:
        return False
    return np.array_equal(one, other, equal_nan=one.dtype != object)


def _first_line(error: Exception) -> str:
    return str(error).partition('\n')[0]
