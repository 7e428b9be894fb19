"""The Amazon review data of the McAuley lab, with texts, pictures and image features."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.datasets._amazon_files import (
    RELEASES,
    open_metadata,
    read_image_features,
)
from pyg_mmgef.datasets._download import check_digest, fetch
from pyg_mmgef.datasets.tables._processed import PreFilter, PreTransform
from pyg_mmgef.datasets.tables.interaction_tables import InteractionTables
from pyg_mmgef.tables import find_columns, open_table
from pyg_mmgef.validate import check_choice

__all__ = ['AmazonReviews']


class AmazonReviews(InteractionTables):
    r"""Reads a category of the Amazon reviews, from the files of release 2014, 2018 or 2023.

    ======= ============================= =============================== ==========================
    release reviews                       metadata                        category
    ======= ============================= =============================== ==========================
    2014    ``reviews_Baby_5.json.gz``    ``meta_Baby.json.gz``           ``Baby``
    2018    ``All_Beauty_5.json.gz``      ``meta_All_Beauty.json.gz``     ``All_Beauty``
    2023    ``Baby_Products.jsonl.gz``    ``meta_Baby_Products.jsonl.gz`` ``Baby_Products``
    ======= ============================= =============================== ==========================

    Unpacked files, without ``.gz``, work too. Those of 2014 and 2018 hold the 5-core of the
    reviews, those of 2023 all reviews; pass ``k_core=5`` for the same filter. The release of 2014
    has

    ================================ ======= ====== ============
    5-core category                  users   items  interactions
    ================================ ======= ====== ============
    ``Baby``                         19,445  7,050  160,792
    ``Sports_and_Outdoors``          35,598  18,357 296,337
    ``Clothing_Shoes_and_Jewelry``   39,387  23,033 278,677
    ``Electronics``                  192,403 63,001 1,689,188
    ================================ ======= ====== ============

    An item's text is its title, brand, categories and description, without HTML. Its picture is
    ``<asin>.jpg`` (or another common suffix) in :obj:`image_folder`; :attr:`image_urls` has the
    addresses from which you can download pictures. Only items with reviews are read. The graph is
    that of :class:`~pyg_mmgef.datasets.InteractionTables`, with ``rating`` and ``time`` (in
    seconds; in milliseconds for 2023).

    Needs pyarrow (``pip install "pyg-mmgef[cli]"``). Amazon's data are for research; see
    https://jmcauley.ucsd.edu/data/amazon and https://amazon-reviews-2023.github.io.

    Args:
        root: The folder with the files.
        category: The category, spelt as in the names of the files.
        release: ``'2014'``, ``'2018'`` or ``'2023'``. (default: ``'2014'``)
        image_folder: Folder of the pictures. (default: :obj:`None`)
        image_features: Whether to read the 4096-dimensional image features of release 2014 from
            ``image_features_<category>.b``, as ``x_image``. Only the items' rows are kept in
            memory. (default: :obj:`False`)
        min_rating: Ignore interactions rated below this. (default: :obj:`None`)
        k_core: Minimum number of interactions of each user and item. (default: ``0``)
        download: Whether to download missing files from the McAuley lab. The SHA-256 of a download
            is stored beside it and checked at every later use. (default: :obj:`False`)
        verbose: Whether to show the progress of downloads. (default: :obj:`False`)
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once and stored in ``root/processed``; see
            :class:`~pyg_mmgef.datasets.InteractionTables`. (default: :obj:`None`)
        pre_filter: Whether to keep the graph; it serves as a check. (default: :obj:`None`)
        force_reload: Process the graph again, even if it is stored. (default: :obj:`False`)

    Raises:
        FileNotFoundError: If a file is missing and ``download`` is false.
        ImportError: If pyarrow isn't installed.
        ValueError: If an argument is invalid, or a file is damaged or has changed since its
            download.
    """

    image_urls: list[str | None]
    """The address of each item's picture, :obj:`None` if the metadata have none."""

    _extra_columns: ClassVar[tuple[str, ...]] = ('image_url',)

    def __init__(
        self,
        root: str | os.PathLike[str],
        category: str,
        *,
        release: str = '2014',
        image_folder: str | os.PathLike[str] | None = None,
        image_features: bool = False,
        min_rating: float | None = None,
        k_core: int = 0,
        download: bool = False,
        verbose: bool = False,
        transform: Callable[[HeteroData], HeteroData] | None = None,
        pre_transform: PreTransform | None = None,
        pre_filter: PreFilter | None = None,
        force_reload: bool = False,
    ) -> None:
        check_choice('release', release, tuple(RELEASES))
        if not category.replace('_', '').isalnum():
            raise ValueError(
                f"'category' must be spelt as in the names of the files, such as "
                f"'Sports_and_Outdoors' (got {category!r})"
            )
        files = RELEASES[release]
        folder = Path(root).expanduser()
        urls = [files.reviews, files.metadata]
        if image_features:
            if files.image_features is None:
                raise ValueError(
                    f"'image_features' exist only for release '2014' (got {release!r})"
                )
            urls.append(files.image_features)
        paths = [_existing(folder, url.format(category), download, verbose) for url in urls]
        reviews = open_table(paths[0], argument='root')
        (item,) = find_columns(reviews, {'item': files.item}).values()
        reviewed = {str(item).strip() for item in reviews.distinct(item)}
        super().__init__(
            reviews,
            open_metadata(paths[1], files, reviewed),
            user=files.user,
            item=files.item,
            rating=files.rating,
            time=files.time,
            item_id='item',
            text=('title', 'brand', 'categories', 'description'),
            image_folder=image_folder,
            min_rating=min_rating,
            k_core=k_core,
            keep_cold=False,
            root=folder,
            transform=transform,
            pre_transform=pre_transform,
            pre_filter=pre_filter,
            force_reload=force_reload,
        )
        self.image_urls = self._fields['image_url']
        if image_features:
            self._add_image_features(paths[2])

    def _add_image_features(self, path: Path) -> None:
        found, rows = read_image_features(path, {str(i): r for r, i in enumerate(self.item_ids)})
        if not rows:
            raise ValueError(f"'{path.name}' has no features of any of the items")
        x = torch.zeros(len(self.item_ids), found.shape[1])
        has = torch.zeros(len(self.item_ids), dtype=torch.bool)
        x[rows], has[rows] = torch.from_numpy(found), True
        self.add_features('image', x, has)
        self.report['items without image features'] = int((~has).sum())


def _existing(folder: Path, url: str, download: bool, verbose: bool) -> Path:
    path = folder / url.rsplit('/', 1)[1]
    unpacked = path.with_suffix('') if path.suffix == '.gz' else path
    if not path.is_file() and unpacked.is_file():
        return unpacked
    if not path.is_file():
        if not download:
            raise FileNotFoundError(
                f"'root' has no {path.name!r} ({str(folder)!r}); get it from {url}, or pass "
                'download=True'
            )
        fetch(url, path, verbose)
    check_digest(path)
    return path
