"""The files of the three releases of the Amazon reviews: names, addresses and parsing."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyg_mmgef.tables import Table
from pyg_mmgef.tables._arrow_table import Record, RecordTable
from pyg_mmgef.tables._files import unpacked

__all__ = ['RELEASES', 'Release', 'open_metadata', 'read_image_features']

_STANFORD = 'https://snap.stanford.edu/data/amazon/productGraph'
_UCSD = 'https://mcauleylab.ucsd.edu/public_datasets/data'
_NUM_CHANNELS = 4096
FIELDS = ('item', 'title', 'brand', 'categories', 'description', 'image_url')


class Release(NamedTuple):
    """Addresses of the files of a release and names of its columns; ``{}`` is the category."""

    reviews: str
    metadata: str
    image_features: str | None
    user: str
    item: str
    rating: str
    time: str
    parse: Callable[[str], Any]
    fields: dict[str, str]


RELEASES = {
    '2014': Release(
        f'{_STANFORD}/categoryFiles/reviews_{{}}_5.json.gz',
        f'{_STANFORD}/categoryFiles/meta_{{}}.json.gz',
        f'{_STANFORD}/image_features/categoryFiles/image_features_{{}}.b',
        *('reviewerID', 'asin', 'overall', 'unixReviewTime'),
        ast.literal_eval,  # the lines are Python's dictionaries, not JSON
        {'brand': 'brand', 'categories': 'categories'},
    ),
    '2018': Release(
        f'{_UCSD}/amazon_v2/categoryFilesSmall/{{}}_5.json.gz',
        f'{_UCSD}/amazon_v2/metaFiles2/meta_{{}}.json.gz',
        None,
        *('reviewerID', 'asin', 'overall', 'unixReviewTime'),
        json.loads,
        {'brand': 'brand', 'categories': 'category'},
    ),
    '2023': Release(
        f'{_UCSD}/amazon_2023/raw/review_categories/{{}}.jsonl.gz',
        f'{_UCSD}/amazon_2023/raw/meta_categories/meta_{{}}.jsonl.gz',
        None,
        *('user_id', 'parent_asin', 'rating', 'timestamp'),
        json.loads,
        {'brand': 'store', 'categories': 'categories'},
    ),
}


def open_metadata(path: Path, release: Release, wanted: set[str]) -> Table:
    """Open the metadata of some items; lines of others aren't parsed."""
    key = re.compile(rf"""['"]{release.item}['"]\s*:\s*['"]([^'"]+)['"]""")

    def records() -> Iterator[Record | None]:
        with unpacked(path) as file:
            for line in file:
                if not line.strip():
                    continue
                text = line.decode('utf-8', 'replace')
                found = key.search(text)
                if found is None or found[1].strip() in wanted:
                    yield _parse(text, release)

    return RecordTable(f"'{path.name}'", FIELDS, records)


def read_image_features(
    path: Path, wanted: dict[str, int]
) -> tuple[NDArray[np.float32], list[int]]:
    """Read the features of some items from the file of a category.

    Args:
        path: The file, records of a ten-byte id and 4096 little-endian float32 numbers.
        wanted: The row of each item by its id.

    Returns:
        The features of the items found, of shape ``[n, 4096]``, and their rows in order.

    Raises:
        ValueError: If the file doesn't end with a whole record.
    """
    record = np.dtype([('id', 'S10'), ('x', '<f4', _NUM_CHANNELS)])
    size = path.stat().st_size
    if size == 0 or size % record.itemsize:
        raise ValueError(
            f"'{path.name}' has {size} bytes, which isn't a multiple of the {record.itemsize} of "
            'an item; the file is incomplete or no file of image features'
        )
    records = np.memmap(path, record, mode='r')
    place: dict[int, int] = {}
    for index, raw in enumerate(records['id'].tolist()):
        row = wanted.get(raw.decode('ascii', 'replace').strip())
        if row is not None:
            place.setdefault(row, index)
    rows = sorted(place)
    out = np.empty((len(rows), _NUM_CHANNELS), np.float32)
    for index, row in enumerate(rows):
        out[index] = records['x'][place[row]]
    return out, rows


def _parse(line: str, release: Release) -> Record | None:
    try:
        raw = release.parse(line.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if not isinstance(raw, dict):
        return None
    record = {field: _plain(raw.get(name)) for field, name in release.fields.items()}
    title = raw.get('title')
    if isinstance(title, str) and 'getTime' in title:
        title = None  # a script of the web page instead of a title, which the release of 2018 has
    return record | {
        'item': raw.get(release.item),
        'title': _plain(title),
        'description': _plain(raw.get('description')),
        'image_url': _image_url(raw),
    }


def _plain(value: Any) -> Any:
    """Return a text, or nested lists of texts, and :obj:`None` for anything else."""
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value if isinstance(value, str) else None


def _image_url(raw: Record) -> str | None:
    found: Any = raw.get('imUrl')
    for name in ('imageURLHighRes', 'imageURL', 'image', 'images'):
        value = raw.get(name)
        if found is None and isinstance(value, list) and value:
            main = [v for v in value if isinstance(v, dict) and v.get('variant') == 'MAIN']
            found = main[0] if main else value[0]
    if isinstance(found, dict):
        found = found.get('hi_res') or found.get('large') or found.get('thumb')
    return found if isinstance(found, str) else None
