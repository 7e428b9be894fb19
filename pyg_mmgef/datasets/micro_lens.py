"""The MicroLens data sets of short videos, with titles and covers."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch_geometric.data import HeteroData

from pyg_mmgef.datasets._folders import existing_folder, names_in
from pyg_mmgef.datasets.tables._processed import PreFilter, PreTransform
from pyg_mmgef.datasets.tables.interaction_tables import InteractionTables
from pyg_mmgef.tables import Table, open_table
from pyg_mmgef.tables._arrow_table import Record, RecordTable
from pyg_mmgef.tables._files import unpacked
from pyg_mmgef.tables._text_table import TextTable

__all__ = ['MicroLens']

_PAIR = ('user', 'item', 'timestamp')


class MicroLens(InteractionTables):
    r"""Reads MicroLens in all sizes, see https://github.com/westlake-repl/MicroLens.

    ========== ========= ======= ============ =====================================================
    size       users     videos  interactions titles
    ========== ========= ======= ============ =====================================================
    ``'50k'``  50,000    19,220  359,708      ``MicroLens-50k_titles.csv``
    ``'100k'`` 100,000   19,738  719,405      ``MicroLens-100k_title_en.csv``, without a header
    ``'1M'``   1,000,000 91,402  9,095,620    ``MicroLens-1M_title.csv``, in Chinese, no header
    ========== ========= ======= ============ =====================================================

    Interactions are those of ``MicroLens-<size>_pairs.csv``: a user, a video and a time in
    milliseconds. Without that file, ``MicroLens-<size>_pairs.tsv`` is read, which has the videos of
    a user in a line, the first one first; ``time`` is then the place in that order, from 0 on. A
    video's text is its title, and its cover is ``MicroLens-<size>_covers/<id>.jpg``. Likes, views,
    comments, sounds and videos aren't read.

    The graph is that of :class:`~pyg_mmgef.datasets.InteractionTables`, with ``time``. Nothing is
    downloaded, and nothing is written without a :obj:`pre_transform` or :obj:`pre_filter`. Needs
    duckdb and pyarrow (``pip install "pyg-mmgef[cli]"``).

    Args:
        root: The folder with the files.
        size: The size, spelt as in the names of the files; :obj:`None` means the one of which the
            folder has interactions. (default: :obj:`None`)
        items: Another table of the videos, with more text; a path or a table as in
            :class:`~pyg_mmgef.datasets.InteractionTables`. (default: :obj:`None`)
        item_id: Column of the video ids in that table. (default: ``'item'``)
        text: Columns that make up a video's text. (default: ``'title'``)
        cover_folder: Folder of the covers; :obj:`None` means the one above if ``root`` has it.
            (default: :obj:`None`)
        since: The first time that counts, such as ``'2022-01-01'``. (default: :obj:`None`)
        until: The time from which on none counts. (default: :obj:`None`)
        k_core: Minimum number of interactions of each user and video. (default: ``0``)
        keep_cold: Whether to keep videos without interactions. (default: :obj:`True`)
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once and stored in ``root/processed``; see
            :class:`~pyg_mmgef.datasets.InteractionTables`. (default: :obj:`None`)
        pre_filter: Whether to keep the graph; it serves as a check. (default: :obj:`None`)
        force_reload: Process the graph again, even if it is stored. (default: :obj:`False`)

    Raises:
        FileNotFoundError: If the folder or its files are missing.
        ImportError: If duckdb or pyarrow isn't installed.
        ValueError: If the folder has several sizes and none is named, or a file has another format.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        size: str | None = None,
        *,
        items: Any = None,
        item_id: str = 'item',
        text: str | Sequence[str] = 'title',
        cover_folder: str | os.PathLike[str] | None = None,
        since: str | float | None = None,
        until: str | float | None = None,
        k_core: int = 0,
        keep_cold: bool = True,
        transform: Callable[[HeteroData], HeteroData] | None = None,
        pre_transform: PreTransform | None = None,
        pre_filter: PreFilter | None = None,
        force_reload: bool = False,
    ) -> None:
        folder = existing_folder(root)
        size = _found_size(folder, size)
        pairs = _open_pairs(folder, size)
        user, item, time = list(pairs.columns)[:3]
        covers = folder / f'MicroLens-{size}_covers'
        if cover_folder is None and covers.is_dir():
            cover_folder = covers
        super().__init__(
            pairs,
            _open_titles(folder, size) if items is None else items,
            user=user,
            item=item,
            time=time,
            item_id='item' if items is None else item_id,
            text=text,
            image_folder=cover_folder,
            since=since,
            until=until,
            k_core=k_core,
            keep_cold=keep_cold,
            root=folder,
            transform=transform,
            pre_transform=pre_transform,
            pre_filter=pre_filter,
            force_reload=force_reload,
        )


def _found_size(folder: Path, size: str | None) -> str:
    """Return the size of which a folder has interactions."""
    files = [*folder.glob('MicroLens-*_pairs.csv'), *folder.glob('MicroLens-*_pairs.tsv')]
    sizes = sorted({path.stem.removeprefix('MicroLens-').removesuffix('_pairs') for path in files})
    if size is None and len(sizes) > 1:
        raise ValueError(f"'root' has several sizes, {sizes}; name one with 'size'")
    if size not in [None, *sizes] or not sizes:
        raise FileNotFoundError(
            f"'root' must hold 'MicroLens-{size or '<size>'}_pairs.csv' or "
            f"'MicroLens-{size or '<size>'}_pairs.tsv'; it holds "
            f'{names_in(folder)}'
        )
    return size or sizes[0]


def _open_pairs(folder: Path, size: str) -> Table:
    """Open the interactions, whose first columns are a user, a video and a time."""
    path = folder / f'MicroLens-{size}_pairs.csv'
    if not path.is_file():
        return _open_sequences(path.with_suffix('.tsv'))
    table = open_table(path, argument='root')
    if isinstance(table, TextTable) and table.seems_headless:
        return open_table(path, columns=_PAIR, argument='root')
    if len(table.columns) < len(_PAIR):
        raise ValueError(
            f'{table.name} must have the columns {list(_PAIR)} (it has {list(table.columns)})'
        )
    return table


def _open_sequences(path: Path) -> Table:
    def records() -> Iterator[Record | None]:
        for line in _lines(path):
            user, tab, items = line.partition('\t')
            if not tab:
                yield None
            for place, item in enumerate(items.split()):
                yield dict(zip(_PAIR, (user, item, place), strict=True))

    return RecordTable(f'{path.name!r}', _PAIR, records, folder=path.parent)


def _open_titles(folder: Path, size: str) -> Table:
    """Open the titles: an id, a comma and a title in each line, of which few are quoted."""
    paths = sorted(folder.glob(f'MicroLens-{size}_title*.csv'))
    if len(paths) != 1:
        raise FileNotFoundError(
            f"'root' must hold one file of titles, such as 'MicroLens-{size}_titles.csv' "
            f"(found {[path.name for path in paths]}); pass another table with 'items'"
        )
    (path,) = paths

    def records() -> Iterator[Record | None]:
        for number, line in enumerate(_lines(path)):
            item, _, title = (cell.strip() for cell in line.partition(','))
            if title.startswith('"') and title.endswith('"'):
                title = title[1:-1].replace('""', '"')
            if item.isdecimal():
                yield {'item': item, 'title': title}
            elif number > 0:  # the first line may be a header
                yield None

    return RecordTable(f'{path.name!r}', ('item', 'title'), records, folder=folder)


def _lines(path: Path) -> Iterator[str]:
    with unpacked(path) as file:
        for line in file:
            text = line.decode('utf-8-sig', 'replace').strip()
            if text:
                yield text
