"""A data set from your own tables of interactions and items."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Dataset, HeteroData

from pyg_mmgef._spelling import spelt
from pyg_mmgef.catalog import Catalog
from pyg_mmgef.datasets.tables._fields import field_values, number_note
from pyg_mmgef.datasets.tables._graph import build_graph, kept_ids
from pyg_mmgef.datasets.tables._item_table import align
from pyg_mmgef.datasets.tables._pictures import find_pictures, picture_folder
from pyg_mmgef.datasets.tables._processed import PreFilter, PreTransform, processed_graph
from pyg_mmgef.datasets.tables._rows import InteractionRows, filter_rows
from pyg_mmgef.datasets.tables._texts import clean_texts, join_texts
from pyg_mmgef.datasets.tables.id_map import IdMap, Ids
from pyg_mmgef.tables import Table, find_columns, open_table
from pyg_mmgef.tables._read_tables import read_tables
from pyg_mmgef.validate import check_choice, check_finite, check_positive

__all__ = ['InteractionTables']


class InteractionTables(Dataset):
    r"""Reads a graph from your own tables of interactions and items.

    .. code-block:: python

        dataset = InteractionTables(
            'orders.parquet', 'products.csv',
            user='customer', item='sku', time='ordered_at', text=('title', 'description'),
            image_folder='photos', k_core=5,
        )
        dataset.add_features('text', *encoder.encode_texts(dataset.item_texts))
        train, val, test = SplitInteractions()(dataset[0])

    A table is a path, an Arrow table, a pandas data frame, or another object with Arrow's
    ``__arrow_c_stream__`` (Polars, DuckDB). A file's suffix gives its kind: Parquet, JSON Lines, or
    text with a row a line, such as CSV and RecBole's ``.inter`` and ``.item``, in which ``user_id``
    finds the column ``user_id:token``; a pattern or a folder names several files of one kind. For
    other separators, quotes or encodings, files without a header, and queries of a database open
    the table with :func:`~pyg_mmgef.tables.open_table`. DuckDB reads all of them, and keeps on disk
    what exceeds the memory.

    The data set has one graph. Its ``edge_index`` holds the interactions in the order of the table,
    with ``time`` (int64) and ``rating`` (float32) if these columns are named.

    **Ids** may be strings or integers. The row of a user or an item is the rank of its id, whatever
    the order of the table: by value if all ids are integers of up to 18 digits (as numbers or as
    text), else by code points. :attr:`user_ids` and :attr:`item_ids` map between ids and rows;
    ``data['user'].id`` and ``data['item'].id`` hold the ids unless they are ``0 ... n-1``. Blanks
    around an id are removed.

    **Items** of the table ``items`` without interactions are kept as cold items. Items that only
    the interactions have get no text and no picture. Of several rows with one id the first is used.

    **Rows that can't be used** are skipped, and :attr:`report` counts them by reason, each once:

    * the row has more or fewer fields than the header, or isn't JSON;
    * an id is empty, blank, not in the encoding of the file, or a word for a missing value
      (``nan``, ``None``, ``null``, ``<NA>``);
    * the rating isn't a finite number (``true`` is 1), or the time neither a number nor an ISO 8601
      date, if these columns are named;
    * its event has no weight, or its time lies outside of the range, if these are asked for.

    Errors are a missing column, a file that can't be decompressed or ends inside a quoted value,
    quotes that join whole rows, ids that have lost digits, two tables whose item ids hardly meet,
    and a table without a usable row.

    **Texts** lose their HTML. **Pictures** are found by their path relative to the folder, or by
    their name, if a single file below the folder has it. A name that leads out of the folder, also
    over a link, that no file or several files have, or that is an address (unless
    ``download_images`` is set), gives no picture, and the report counts it by reason. If there is
    no picture for any item, that is an error.

    Filters come in this order: ``duplicates``, ``min_rating``, ``k_core``.

    Needs duckdb and pyarrow (``pip install "pyg-mmgef[cli]"``). Nothing is written without a
    :obj:`pre_transform` or :obj:`pre_filter`.

    Args:
        interactions: The table of interactions.
        items: The table of items. (default: :obj:`None`)
        user: Column of the users' ids. (default: ``'user_id'``)
        item: Column of the items' ids. (default: ``'item_id'``)
        rating: Column of ratings. (default: :obj:`None`)
        time: Column of times. Numbers are kept, dates become seconds since 1970.
            (default: :obj:`None`)
        event: Column of the kinds of events, such as ``'view'``. (default: :obj:`None`)
        event_weights: The rating that each kind of event stands for; rows of other events are left
            out. (default: :obj:`None`)
        since: The first time that counts: a number, or a date such as ``'2024-12-31'``, which is
            compared with times in seconds to nanoseconds by their size. (default: :obj:`None`)
        until: The time from which on none counts. (default: :obj:`None`)
        item_id: Column of the ids in ``items``; :obj:`None` means the name given as ``item``.
            (default: :obj:`None`)
        text: Column or columns of ``items`` that are joined to an item's text. (default: ``()``)
        fields: Column or columns of ``items`` that the :attr:`catalog` keeps beside the texts, such
            as ``('price', 'in_stock')``, for business rules. A column becomes float64 if all its
            cells are numbers, which may have a currency, else texts. (default: ``()``)
        image: Column of ``items`` with names of picture files: a name, a list of names, or names
            between ``|``, ``;`` or ``,``. (default: :obj:`None`)
        image_folder: Folder of the pictures, which may lie in subfolders. Without ``image``,
            pictures are named after the item's id (``<id>.jpg`` or another common suffix,
            ``<id>_1.jpg``, or ``<id>/1.jpg``); with it, :obj:`None` means the folder of the file
            ``items``. (default: :obj:`None`)
        images: Whether :attr:`item_pictures` holds an item's ``'first'`` picture, or all, whose
            ``'mean'`` a :class:`~pyg_mmgef.encoders.FeatureStore` computes. (default: ``'first'``)
        download_images: Whether to download pictures that ``image`` names by address (``http`` or
            ``https``) into ``image_folder``. Those that are there aren't downloaded again.
            (default: :obj:`False`)
        verbose: Whether to show the progress of the download. (default: :obj:`False`)
        min_rating: Ignore interactions rated below this. (default: :obj:`None`)
        k_core: Minimum number of interactions of each user and item; those with fewer are removed
            repeatedly. Items that had no interactions before are kept. (default: ``0``)
        duplicates: Which row of a repeated user-item pair is kept: ``'last'`` (the latest, or
            without times the last row), ``'first'`` (the first row) or ``'max'`` (the best rating,
            then the latest). :obj:`None` means ``'max'`` with ``event``, so that a later view
            doesn't take the place of a purchase, else ``'last'``. (default: :obj:`None`)
        keep_cold: Whether to keep items of ``items`` without interactions. (default: :obj:`True`)
        root: Folder in whose subfolder ``processed`` the graph is stored that
            :obj:`pre_transform` returns; :obj:`None` keeps it in memory only.
            (default: :obj:`None`)
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, at the first access after features were added, and
            stored. A stored graph of another transform (another ``repr``) is used with a warning,
            as in PyG; other tables, options or features are processed again. (default: :obj:`None`)
        pre_filter: Whether to keep the graph; since there is only one, it serves as a check.
            (default: :obj:`None`)
        force_reload: Process the graph again, even if it is stored. (default: :obj:`False`)

    Raises:
        FileNotFoundError: If a file is missing.
        ImportError: If duckdb or pyarrow isn't installed.
        ValueError: If arguments contradict each other or the tables, or no interaction is left; at
            the first access, if :obj:`pre_filter` refuses the graph or a stored one is damaged.

    Example:
        >>> import pyarrow as pa
        >>> orders = pa.table({'user_id': ['anna', 'bert', 'anna'], 'item_id': [7, 5, 5]})
        >>> dataset = InteractionTables(orders)
        >>> dataset
        InteractionTables(num_users=2, num_items=2, num_interactions=3)
        >>> dataset[0]['user', 'interacts', 'item'].edge_index
        tensor([[0, 1, 0],
                [1, 0, 0]])
        >>> dataset.item_ids.to_ids(torch.tensor([1]))
        [7]
    """

    user_ids: IdMap
    """The users' ids in the order of their rows."""
    item_ids: IdMap
    """The items' ids in the order of their rows."""
    item_fields: dict[str, list[str | None]]
    """The text of each item in each of the columns ``text``, :obj:`None` if it has none."""
    item_texts: list[str | None]
    """The joined text of each item, :obj:`None` if it has none."""
    item_images: list[Path | None]
    """The path of each item's first picture, :obj:`None` if it has none."""
    item_pictures: list[Sequence[Path]]
    """The paths of each item's pictures: one at most, or with ``images='mean'`` all."""
    report: dict[str, int]
    """Counts of the rows, users and items that were read, skipped and kept, by reason."""

    notes: list[str]
    """What to look at in the tables, such as a row that could not be parsed."""

    _extra_columns: ClassVar[tuple[str, ...]] = ()
    """Further columns of the items that a subclass keeps."""

    def __init__(
        self,
        interactions: Any,
        items: Any = None,
        *,
        user: str = 'user_id',
        item: str = 'item_id',
        rating: str | None = None,
        time: str | None = None,
        item_id: str | None = None,
        text: str | Sequence[str] = (),
        fields: str | Sequence[str] = (),
        image: str | None = None,
        image_folder: str | os.PathLike[str] | None = None,
        images: str = 'first',
        download_images: bool = False,
        verbose: bool = False,
        min_rating: float | None = None,
        k_core: int = 0,
        event: str | None = None,
        event_weights: Mapping[str, float] | None = None,
        since: str | float | None = None,
        until: str | float | None = None,
        duplicates: str | None = None,
        keep_cold: bool = True,
        root: str | os.PathLike[str] | None = None,
        transform: Callable[[HeteroData], HeteroData] | None = None,
        pre_transform: PreTransform | None = None,
        pre_filter: PreFilter | None = None,
        force_reload: bool = False,
    ) -> None:
        self._folder = None if root is None else Path(root).expanduser()
        folder_name = None if self._folder is None else str(self._folder)
        super().__init__(
            folder_name, transform, pre_transform, pre_filter, force_reload=force_reload
        )
        text = (text,) if isinstance(text, str) else tuple(text)
        fields = (fields,) if isinstance(fields, str) else tuple(fields)
        named = {'user': user, 'item': item, 'rating': rating, 'time': time, 'event': event}
        has_range = since is not None or until is not None
        _check_arguments(
            items, named, event_weights, has_range, text + fields, image, min_rating, duplicates
        )
        if k_core != 0:
            check_positive('k_core', k_core)
        if download_images and (image is None or image_folder is None):
            raise ValueError(
                f'{spelt("download_images")} needs {spelt("image")}, the column of the addresses, '
                f'and {spelt("image_folder")}, the folder to write the pictures to'
            )
        table = open_table(interactions, argument='interactions')
        columns = find_columns(table, {k: name for k, name in named.items() if name is not None})
        item_table = None if items is None else open_table(items, argument='items')
        item_columns = {}
        if item_table is not None:
            wanted = {'item_id': item if item_id is None else item_id}
            wanted |= {f'text {i}': name for i, name in enumerate(text)}
            wanted |= {f'fields {i}': name for i, name in enumerate(fields)}
            wanted |= {} if image is None else {'image': image}
            item_columns = find_columns(item_table, wanted)
        items_folder = None if item_table is None else item_table.folder
        folder = picture_folder(image_folder, image, items_folder, create=download_images)
        texts = [column for role, column in item_columns.items() if role != 'item_id']
        read = read_tables(
            table,
            columns,
            event_weights=event_weights,
            since=since,
            until=until,
            items=item_table,
            item_id=item_columns.get('item_id', ''),
            texts=[*dict.fromkeys([*texts, *self._extra_columns])],
        )
        all_users, all_items = read.user_ids, read.item_ids
        rows, removed, filtered = filter_rows(
            InteractionRows(read.user, read.item, read.rating, read.time),
            len(all_users),
            len(all_items),
            duplicates or ('max' if event else 'last'),
            min_rating,
            k_core,
        )
        report = read.report | filtered | {'interactions': len(rows.user)}
        if len(rows.user) == 0:
            raise ValueError(
                f'no interaction of {table.name} is left: {_worded(report)}'
                f'{_first_row(table, columns)}'
            )
        listed = read.listed

        interacts_with = np.bincount(rows.item, minlength=len(all_items)) > 0
        in_table = np.zeros(len(all_items), bool)
        if listed is not None:
            in_table[listed.item] = True
        stays = interacts_with | (in_table & ~removed) if keep_cold else interacts_with
        has_interactions = np.bincount(rows.user, minlength=len(all_users)) > 0
        user_row, self.user_ids = kept_ids(all_users, has_interactions)
        item_row, self.item_ids = kept_ids(all_items, stays)
        report |= {'users': len(self.user_ids), 'items': len(self.item_ids)}
        self._fields: dict[str, list[str | None]] = {}
        if listed is not None:
            row_of_listed = item_row[listed.item]
            for column, cells in listed.texts.items():
                self._fields[column] = align(cells, row_of_listed, len(self.item_ids))
            num_repeated = int((row_of_listed >= 0).sum()) - int((stays & in_table).sum())
            report |= listed.report | {'repeated item rows': num_repeated}
            report['items without interactions'] = int((stays & ~interacts_with).sum())
            report['items that the item table lacks'] = int((stays & ~in_table).sum())
        text_columns = [item_columns[f'text {i}'] for i in range(len(text))]
        self.item_fields = {column: clean_texts(self._fields[column]) for column in text_columns}
        self.item_texts = join_texts(self.item_fields, len(self.item_ids))
        if text:
            report['items without a text'] = sum(t is None for t in self.item_texts)
        self.item_pictures = [()] * len(self.item_ids)
        if folder is not None:
            found = find_pictures(
                None if image is None else self._fields[item_columns['image']],
                list(self.item_ids),
                folder,
                images,
                download=download_images,
                verbose=verbose,
            )
            self.item_pictures = list(found.paths)
            report |= found.report
        self.item_images = [paths[0] if paths else None for paths in self.item_pictures]
        self.report, self.notes = report, read.notes
        self._kept: dict[str, Any] = {}
        if item_table is not None:
            kept = [item_columns[f'fields {i}'] for i in range(len(fields))]
            self._keep_fields(item_table, text_columns, kept)
        self._data = build_graph(rows, user_row, item_row, self.user_ids, self.item_ids)
        self._processed: HeteroData | None = None

    def len(self) -> int:
        """Return the number of graphs, which is one."""
        return 1

    def get(self, idx: int) -> HeteroData:
        """Return a shallow copy of the graph, which the first call transforms or reads."""
        if self._processed is None:
            self._processed = processed_graph(
                copy.copy(self._data),
                self._folder,
                self.pre_transform,
                self.pre_filter,
                force_reload=self.force_reload,
            )
        return copy.copy(self._processed)

    def add_features(
        self,
        modality: str,
        x: Tensor,
        has: Tensor | None = None,
        *,
        ids: Ids | None = None,
    ) -> 'InteractionTables':
        """Add item features to the graph, as ``x_<modality>`` and ``has_<modality>``.

        Args:
            modality: Name of the modality, such as ``'image'``.
            x: One row per item, such as an encoder's output for :attr:`item_texts`, or one row per
                id. Shape: ``[num_items, channels]`` or ``[len(ids), channels]``.
            has: Mask of the rows that have features; :obj:`None` means all rows that aren't zero.
                (default: :obj:`None`)
            ids: The ids of the rows of ``x``; :obj:`None` if the rows are those of the items. Items
                without a row lack the modality, and ids of no item are ignored.
                (default: :obj:`None`)

        Returns:
            The data set itself.

        Raises:
            ValueError: If shapes or types are wrong, features aren't finite, or no id is known.
        """
        if not modality.isidentifier():
            raise ValueError(
                f"'modality' must be made of letters, digits and underscores (got {modality!r})"
            )
        num_rows = len(self.item_ids) if ids is None else len(ids)
        if x.dim() != 2 or len(x) != num_rows or not x.is_floating_point():
            raise ValueError(
                f"'x' must be floating point of shape [{num_rows}, channels] (got "
                f'{list(x.shape)}, {x.dtype})'
            )
        has = (x != 0).any(dim=1) if has is None else has
        if has.dtype != torch.bool or has.shape != x.shape[:1]:
            raise ValueError(
                f"'has' must be torch.bool of shape [{num_rows}] (got {list(has.shape)}, "
                f'{has.dtype})'
            )
        x = torch.where(has[:, None], x, 0).float()
        check_finite('x', x)
        if ids is not None:
            x, has = self._by_id(x, has, ids)
        self._data['item'][f'x_{modality}'] = x
        self._data['item'][f'has_{modality}'] = has
        self._processed = None
        return self

    def _keep_fields(
        self, table: Table, text_columns: Sequence[str], columns: Sequence[str]
    ) -> None:
        for column in dict.fromkeys([*text_columns, *columns]):
            self._kept[column] = field_values(
                self._fields[column], table.decimal, self.item_fields.get(column)
            )
        for column in columns:
            note = number_note(self._fields[column], table.decimal)
            if note:
                self.notes.append(
                    f'column {column!r} of {table.name} {note}; it is kept as texts, of which no '
                    'range can be asked'
                )

    @cached_property
    def catalog(self) -> Catalog:
        """What is known of the items.

        The title of an item is its text in the first of the columns ``text``, or its id. The
        fields are the columns ``text`` and ``fields``.
        """
        ids = list(self.item_ids)
        titles = next(iter(self.item_fields.values()), [None] * len(ids))
        return Catalog(
            ids,
            [str(i) if title is None else title for i, title in zip(ids, titles, strict=True)],
            self.item_texts,
            self.item_images,
            self._kept,
        )

    def save_ids(self, folder: str | os.PathLike[str]) -> None:
        """Write ``user_ids.jsonl`` and ``item_ids.jsonl``, which :meth:`IdMap.load` reads.

        Args:
            folder: The folder; it is created if it doesn't exist.
        """
        path = Path(folder).expanduser()
        path.mkdir(parents=True, exist_ok=True)
        self.user_ids.save(path / 'user_ids.jsonl')
        self.item_ids.save(path / 'item_ids.jsonl')

    def _by_id(self, x: Tensor, has: Tensor, ids: Ids) -> tuple[Tensor, Tensor]:
        given = IdMap(ids)  # refuses repeated ids
        known = {i: row for row, i in enumerate(given)}
        pairs = [(row, known[i]) for row, i in enumerate(self.item_ids) if i in known]
        if not pairs:
            raise ValueError(
                f"none of the {len(given)} 'ids' (such as {next(iter(given), None)!r}) is an id of "
                f'an item (such as {self.item_ids[0]!r})'
            )
        rows, given_rows = torch.tensor(pairs).t()
        out = x.new_zeros(len(self.item_ids), x.size(1))
        out[rows] = x[given_rows]
        out_has = torch.zeros(len(self.item_ids), dtype=torch.bool)
        out_has[rows] = has[given_rows]
        return out, out_has

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_users={len(self.user_ids)}, '
            f'num_items={len(self.item_ids)}, num_interactions={self.report["interactions"]})'
        )


def _check_arguments(
    items: Any,
    columns: Mapping[str, str | None],
    event_weights: Mapping[str, float] | None,
    needs_time: bool,
    of_items: tuple[str, ...],
    image: str | None,
    min_rating: float | None,
    duplicates: str | None,
) -> None:
    if duplicates is not None:
        check_choice('duplicates', duplicates, ('last', 'first', 'max'))
    for name, needs in (
        ('min_rating', min_rating is not None),
        ('duplicates', duplicates == 'max'),
    ):
        if needs and columns['rating'] is None and columns['event'] is None:
            raise ValueError(
                f'{spelt(name)} needs ratings; name their column with {spelt("rating")}'
            )
    if (columns['event'] is None) != (not event_weights):
        raise ValueError(
            f'{spelt("event")} names a column and {spelt("event_weights")} says what its values '
            'count for; give both, or none'
        )
    for kind, weight in (event_weights or {}).items():
        if not abs(weight) <= np.finfo(np.float32).max:
            raise ValueError(f'{spelt("event_weights")} must be finite (got {weight} for {kind!r})')
    if columns['event'] is not None and columns['rating'] is not None:
        raise ValueError(
            f'{spelt("event")} and {spelt("rating")} both give ratings; give one of them'
        )
    if needs_time and columns['time'] is None:
        raise ValueError(
            f'{spelt("since")} and {spelt("until")} need times; name their column with '
            f'{spelt("time")}'
        )
    if items is None and (of_items or image is not None):
        raise ValueError(
            f'{spelt("text")}, {spelt("fields")} and {spelt("image")} are columns of '
            f'{spelt("items")}, which is missing; give the table'
        )


def _worded(report: dict[str, int]) -> str:
    (first, *_) = report
    return ', '.join(
        f'{name}: {number}' for name, number in report.items() if number or name == first
    )


def _first_row(table: Table, columns: Mapping[str, str]) -> str:
    cells = [
        f'{role} {str(row[column])[:40]!r}'
        for row in table.sample(1)
        for role, column in columns.items()
    ]
    return f'; its first row has {", ".join(cells)}' if cells else ''
