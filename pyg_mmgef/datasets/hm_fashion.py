"""The purchases of H&M's competition on Kaggle, with texts and pictures of the articles."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch_geometric.data import HeteroData

from pyg_mmgef.datasets._folders import existing_folder, names_in
from pyg_mmgef.datasets.tables._processed import PreFilter, PreTransform
from pyg_mmgef.datasets.tables.interaction_tables import InteractionTables
from pyg_mmgef.tables import Table, find_columns, open_table
from pyg_mmgef.tables._engine import Connection
from pyg_mmgef.tables.table import Account

__all__ = ['HMFashion']

_ID, _PICTURE = 'article_id', 'picture'


class HMFashion(InteractionTables):
    r"""Reads "H&M Personalized Fashion Recommendations" of Kaggle.

    See https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations. These
    files are read, as CSV (``.csv``, also ``.csv.gz``) or as Parquet (``.parquet``, which comes
    first if a folder has both):

    ================================= =============================================================
    ``transactions_train.csv``        31,788,324 purchases by 1,362,281 customers: the columns
                                      ``t_dat``, ``customer_id`` and ``article_id``
    ``articles.csv``                  105,542 articles: ``article_id`` and the texts
    ``images/066/0663713001.jpg``     an article's picture, in a folder that is named after the
                                      first three digits of its id
    ================================= =============================================================

    Article ids are strings of ten digits, as in the competition's submissions; zeros at their
    beginning that a program has lost are put back. Prices, sales channels and ``customers.csv``
    aren't read. Of several purchases of an article by a customer the last is kept. The graph is
    that of :class:`~pyg_mmgef.datasets.InteractionTables`, with ``time``, which is the day in
    seconds since 1970. Nothing is downloaded, and nothing is written without a
    :obj:`pre_transform` or :obj:`pre_filter`. Needs duckdb and pyarrow
    (``pip install "pyg-mmgef[cli]"``).

    Args:
        root: The folder with the files.
        text: Columns of the articles that make up their text. (default: ``('prod_name',
            'product_type_name', 'graphical_appearance_name', 'colour_group_name',
            'department_name', 'detail_desc')``)
        image_folder: Folder of the pictures, laid out like ``images``; :obj:`None` means ``images``
            if ``root`` has it. (default: :obj:`None`)
        since: The first day that counts, such as ``'2020-06-22'``. (default: :obj:`None`)
        until: The day from which on none counts. (default: :obj:`None`)
        k_core: Minimum number of articles of each customer and of customers of each article.
            (default: ``0``)
        keep_cold: Whether to keep articles without purchases. (default: :obj:`True`)
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once and stored in ``root/processed``; see
            :class:`~pyg_mmgef.datasets.InteractionTables`. (default: :obj:`None`)
        pre_filter: Whether to keep the graph; it serves as a check. (default: :obj:`None`)
        force_reload: Process the graph again, even if it is stored. (default: :obj:`False`)

    Raises:
        FileNotFoundError: If the folder or its files are missing.
        ImportError: If duckdb or pyarrow isn't installed.
        ValueError: If a file has another format, or no purchase is left.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        text: str | Sequence[str] = (
            'prod_name',
            'product_type_name',
            'graphical_appearance_name',
            'colour_group_name',
            'department_name',
            'detail_desc',
        ),
        image_folder: str | os.PathLike[str] | None = None,
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
        if image_folder is None and (folder / 'images').is_dir():
            image_folder = folder / 'images'
        super().__init__(
            _open(folder, 'transactions_train'),
            _open(folder, 'articles'),
            user='customer_id',
            item=_ID,
            time='t_dat',
            text=text,
            image=None if image_folder is None else _PICTURE,
            image_folder=image_folder,
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


class _ArticleTable(Table):
    """A table with article ids of ten digits, and the names of their pictures."""

    def __init__(self, table: Table) -> None:
        find_columns(table, {'item': _ID})
        columns = {**table.columns, _ID: 'VARCHAR', _PICTURE: 'VARCHAR'}
        super().__init__(table.name, columns, folder=table.folder)
        self._table = table

    def cell(self, column: str) -> str:
        """Return the SQL of a column's cell."""
        if column not in (_ID, _PICTURE):
            return self._table.cell(column)
        cell = self._table.cell(_ID)
        if self._table.columns[_ID] != 'VARCHAR':
            cell = f'TRY_CAST({cell} AS BIGINT)::VARCHAR'
        number = f'trim({cell})'
        is_short = f"regexp_full_match({number}, '[0-9]{{1,9}}')"
        article = f"CASE WHEN {is_short} THEN lpad({number}, 10, '0') ELSE {number} END"
        return article if column == _ID else f"left({article}, 3) || '/' || {article} || '.jpg'"

    @contextmanager
    def _opened(self, connection: Connection) -> Iterator[str]:
        with self._table._opened(connection) as rows_of:
            yield rows_of

    def _read(self, connection: Connection, into: str, cells: Mapping[str, str]) -> Account:
        return self._table._read(connection, into, cells)


def _open(folder: Path, name: str) -> Table:
    for suffix in ('.parquet', '.csv', '.csv.gz'):
        path = folder / f'{name}{suffix}'
        if path.is_file():
            return _ArticleTable(open_table(path, argument='root'))
    raise FileNotFoundError(
        f"'root' must hold '{name}.csv' or '{name}.parquet'; it holds {names_in(folder)}"
    )
