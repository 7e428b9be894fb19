"""The MovieLens data sets, with texts and posters of the movies."""

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch_geometric.data import HeteroData

from pyg_mmgef.datasets._folders import existing_folder, names_in
from pyg_mmgef.datasets.tables._processed import PreFilter, PreTransform
from pyg_mmgef.datasets.tables.interaction_tables import InteractionTables
from pyg_mmgef.tables import Table, open_table
from pyg_mmgef.tables._arrow_table import Record, RecordTable

__all__ = ['MovieLens']

_GENRES = (
    *('', 'Action', 'Adventure', 'Animation', "Children's", 'Comedy', 'Crime', 'Documentary'),
    *('Drama', 'Fantasy', 'Film-Noir', 'Horror', 'Musical', 'Mystery', 'Romance', 'Sci-Fi'),
    *('Thriller', 'War', 'Western'),
)
"""Genres in the order of the flags of ``u.item``; the first flag means an unknown genre."""


class MovieLens(InteractionTables):
    r"""Reads MovieLens in all sizes, see https://grouplens.org/datasets/movielens.

    The size follows from the files in the folder:

    ====================================== ========================================================
    ``u.data``, ``u.item``                 100K: 943 users, 1,682 movies, 100,000 ratings
    ``ratings.dat``, ``movies.dat``        1M (6,040 users, 1,000,209 ratings) and 10M
    ``ratings.csv``, ``movies.csv``        20M and later, and the small "latest" one
    ====================================== ========================================================

    A movie's text is its title and its genres. The graph is that of
    :class:`~pyg_mmgef.datasets.InteractionTables`, with ``rating`` and ``time``. Nothing is
    downloaded, and nothing is written without a :obj:`pre_transform` or :obj:`pre_filter`. Needs
    pyarrow (``pip install "pyg-mmgef[cli]"``).

    Args:
        root: The folder with the files.
        items: Another table of the movies with more text, whose ids are those of MovieLens; a path
            or a table as in :class:`~pyg_mmgef.datasets.InteractionTables`. (default: :obj:`None`)
        item_id: Column of the movie ids in that table. (default: ``'item_id'``)
        text: Columns that make up a movie's text. (default: ``('title', 'genres')``)
        poster_folder: Folder of pictures named after the movie's id, ``<id>.jpg`` or another common
            suffix. (default: :obj:`None`)
        min_rating: Ignore interactions rated below this. (default: :obj:`None`)
        k_core: Minimum number of interactions of each user and movie. (default: ``0``)
        keep_cold: Whether to keep movies without ratings. (default: :obj:`True`)
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once and stored in ``root/processed``; see
            :class:`~pyg_mmgef.datasets.InteractionTables`. (default: :obj:`None`)
        pre_filter: Whether to keep the graph; it serves as a check. (default: :obj:`None`)
        force_reload: Process the graph again, even if it is stored. (default: :obj:`False`)

    Raises:
        FileNotFoundError: If the folder or its files are missing.
        ImportError: If pyarrow isn't installed.
        ValueError: If a file has another format.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        items: Any = None,
        item_id: str = 'item_id',
        text: str | Sequence[str] = ('title', 'genres'),
        poster_folder: str | os.PathLike[str] | None = None,
        min_rating: float | None = None,
        k_core: int = 0,
        keep_cold: bool = True,
        transform: Callable[[HeteroData], HeteroData] | None = None,
        pre_transform: PreTransform | None = None,
        pre_filter: PreFilter | None = None,
        force_reload: bool = False,
    ) -> None:
        folder = existing_folder(root)
        ratings, movies = _open_ratings(folder)
        super().__init__(
            ratings,
            movies if items is None else items,
            user='userId',
            item='movieId',
            rating='rating',
            time='timestamp',
            item_id='movieId' if items is None else item_id,
            text=text,
            image_folder=poster_folder,
            min_rating=min_rating,
            k_core=k_core,
            keep_cold=keep_cold,
            root=folder,
            transform=transform,
            pre_transform=pre_transform,
            pre_filter=pre_filter,
            force_reload=force_reload,
        )


def _open_ratings(folder: Path) -> tuple[Table, Table]:
    """Return the tables of ratings and of movies, with the column names of the CSV files."""
    layouts = {
        ('u.data', 'u.item'): ('\t', _movie_of_100k),
        ('ratings.dat', 'movies.dat'): ('::', _movie_of_1m),
    }
    for (ratings, movies), (delimiter, parse) in layouts.items():
        if (folder / ratings).is_file() and (folder / movies).is_file():
            names = ('userId', 'movieId', 'rating', 'timestamp')
            table = open_table(
                folder / ratings, delimiter=delimiter, quote='', columns=names, argument='root'
            )
            return table, _open_movies(folder / movies, parse)
    if (folder / 'ratings.csv').is_file() and (folder / 'movies.csv').is_file():
        movies_csv = _open_movies(folder / 'movies.csv', _movie_of_20m)
        return open_table(folder / 'ratings.csv', argument='root'), movies_csv
    raise FileNotFoundError(
        "'root' must hold u.data and u.item, ratings.dat and movies.dat, or ratings.csv and "
        f'movies.csv; it holds {names_in(folder)}'
    )


def _open_movies(path: Path, parse: Callable[[str], Record | None]) -> Table:
    content = path.read_bytes()
    try:
        text = content.decode('utf-8-sig')  # 10M and later
    except UnicodeDecodeError:
        text = content.decode('latin-1')  # 100K and 1M
    lines = [line for line in text.replace('\r\n', '\n').split('\n') if line.strip()]
    columns = ('movieId', 'title', 'genres')
    if path.suffix == '.csv':
        lines = lines[1:]  # without the header
    return RecordTable(f"'{path.name}'", columns, lambda: map(parse, lines), folder=path.parent)


def _movie_of_100k(line: str) -> Record | None:
    cells = line.split('|')
    if len(cells) != 5 + len(_GENRES):
        return None
    genres = [name for name, flag in zip(_GENRES, cells[5:], strict=True) if name and flag == '1']
    title = '' if cells[1] == 'unknown' else cells[1]
    return {'movieId': cells[0], 'title': title, 'genres': genres}


def _movie_of_1m(line: str) -> Record | None:
    return _movie(line.split('::'))


def _movie_of_20m(line: str) -> Record | None:
    return _movie(next(csv.reader([line])))


def _movie(cells: list[str]) -> Record | None:
    if len(cells) != 3:
        return None
    genres = [] if cells[2].startswith('(no genres') else cells[2].split('|')
    return {'movieId': cells[0], 'title': cells[1], 'genres': genres}
