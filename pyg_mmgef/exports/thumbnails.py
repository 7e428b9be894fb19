"""Small pictures of items, for pages that show many of them."""

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pyg_mmgef.encoders._pictures import (
    UnreadablePictureError,
    load_pictures,
    pillow_is_quiet,
    require_pillow,
)
from pyg_mmgef.files import write_atomically
from pyg_mmgef.validate import check_positive

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ['write_thumbnails']

QUALITY = 85  # Of JPEG, where 95 is the most that is of use.
AHEAD = 64  # Pictures that each thread may be ahead of the writing.


def write_thumbnails(
    pictures: Sequence[str | None],
    folder: Path,
    *,
    size: int = 224,
    num_workers: int | None = None,
    verbose: bool = False,
) -> dict[int, str]:
    """Write a small JPEG of each picture, ``<row>.jpg``, and return their SHA-256 by row.

    A picture is upright, transparent pixels are white, and its short side is as long as asked for,
    unless it is shorter. Missing and unreadable pictures are left out.

    Args:
        pictures: The path of each item's picture, :obj:`None` where there is none.
        folder: The folder, which must exist.
        size: Pixels of the short side. (default: ``224``)
        num_workers: Threads that read pictures; :obj:`None` means one for each processor.
            (default: :obj:`None`)
        verbose: Show a progress bar. (default: :obj:`False`)

    Raises:
        ValueError: If :obj:`size` isn't positive.
        ImportError: If Pillow isn't installed.
    """
    check_positive('size', size)
    require_pillow()
    rows = [row for row, path in enumerate(pictures) if path is not None]
    paths = [path for path in pictures if path is not None]
    workers = (os.cpu_count() or 1) if num_workers is None else num_workers
    out = {}
    with pillow_is_quiet():
        loaded = load_pictures(paths, lambda image: _jpeg(image, size), workers, AHEAD * workers)
        bar = tqdm(loaded, 'thumbnails', len(paths), disable=not verbose)
        for row, content in zip(rows, bar, strict=True):
            if not isinstance(content, UnreadablePictureError):
                write_atomically(folder / f'{row}.jpg', content, sync=False)
                out[row] = hashlib.sha256(content).hexdigest()
    return out


def _jpeg(image: 'Image', size: int) -> bytes:
    from PIL.Image import Resampling

    scale = min(1.0, size / min(image.size))
    width, height = (max(1, round(scale * side)) for side in image.size)
    buffer = io.BytesIO()
    small = image.resize((width, height), Resampling.LANCZOS, reducing_gap=3.0)
    small.save(buffer, 'JPEG', quality=QUALITY, optimize=True)
    return buffer.getvalue()
