"""Reading of pictures as upright RGB, with a plain reason for each that can't be read."""

import os
import re
import stat
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from pyg_mmgef.encoders._inputs import check_sequence, warn_unreadable
from pyg_mmgef.encoders.protocol import PathLike

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    'UnreadablePictureError',
    'check_regular_file',
    'decode_picture',
    'encode_pictures',
    'is_animation',
    'load_pictures',
    'pillow_is_quiet',
    'read_picture',
    'require_pillow',
    'why_not_opened',
]

Loaded = TypeVar('Loaded')

_FORMATS = ('JPEG', 'MPO', 'PNG', 'WEBP', 'GIF', 'BMP', 'TIFF', 'AVIF', 'HEIF')
"""Formats that are read if Pillow can: AVIF with its newer versions, HEIF if pillow-heif is
registered. Others, such as EPS, never reach Pillow, which would start another program for it."""

_ALPHA_MODES = ('RGBA', 'LA', 'PA', 'RGBa', 'La')
_MAX_ASPECT_RATIO = 200
_MAX_PIXELS = 2**26  # Pillow needs four bytes for each, and a copy in every thread.

_NUM_SNIFFED = 4096
_HEIC = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1')
_OTHER_KINDS = (
    ('a PDF document', b'%PDF-'),
    ('a PostScript drawing', b'%!PS'),
    ('a PostScript drawing', b'\xc5\xd0\xd3\xc6'),
    ('a Photoshop picture', b'8BPS'),
    ('a JPEG 2000 picture', b'\0\0\0\x0cjP  '),
    ('a JPEG XL picture', b'\0\0\0\x0cJXL '),
    ('a JPEG XL picture', b'\xff\x0a'),
    ('an icon', b'\0\0\x01\0'),
)
_SVG = re.compile(rb'\s*<.*?(?<=<)svg[\s/>]', re.DOTALL)
_WEB_PAGE = re.compile(rb'\s*(?:<!doctype html|<html[\s>]|<head[\s>])', re.IGNORECASE)


class UnreadablePictureError(Exception):
    """Raised if a picture can't be read; the message is the reason, without the path."""


def require_pillow() -> None:
    """Raise an :class:`ImportError` with the install command if Pillow is missing."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'reading pictures needs Pillow; install it with: pip install "pyg-mmgef[cli]"'
        ) from error


@contextmanager
def pillow_is_quiet() -> Iterator[None]:
    """Context manager: suppress warnings of Pillow, such as of corrupt EXIF blocks.

    Warning filters belong to the process, so enter it once before threads read pictures, not in
    each thread.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', module=r'PIL\.')
        yield


def check_regular_file(path: PathLike) -> os.stat_result:
    """Return the status of a regular file, which opening can't block.

    Raises:
        UnreadablePictureError: If there is no such file, or it is a folder, a pipe, a socket or a
            device; reading one of the last three could block or never end.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadablePictureError('no such file') from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise UnreadablePictureError(why_not_opened(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise UnreadablePictureError('a folder, not a file')
    if not stat.S_ISREG(status.st_mode):
        raise UnreadablePictureError('a pipe, socket or device, not a file')
    return status


def read_picture(path: PathLike) -> 'Image':
    """Read a picture as upright RGB.

    The format follows from the content, not from the suffix. The EXIF rotation is applied,
    transparent pixels are put on white (as on most product pages), 16-bit greys are scaled to eight
    bits, and of an animation the first frame is used.

    Raises:
        UnreadablePictureError: If the file is missing, empty, damaged or not a picture of a format
            that is read. A truncated picture counts as damaged: its missing part would be grey, and
            change the vector. Also refused, before they are decoded, are pictures with more than
            67,108,864 pixels (or ``PIL.Image.MAX_IMAGE_PIXELS`` if that is lower), which may be
            decompression bombs, and very narrow ones, which a resize could blow up to gigabytes.
    """
    path = os.fspath(path)
    if check_regular_file(path).st_size == 0:
        raise UnreadablePictureError('the file is empty')
    try:
        with open(path, 'rb') as file:
            return decode_picture(file)
    except OSError as error:
        raise UnreadablePictureError(why_not_opened(error)) from error


def decode_picture(file: BinaryIO) -> 'Image':
    """Read a picture from an open file, see :func:`read_picture`."""
    from PIL import Image, UnidentifiedImageError

    limit = _MAX_PIXELS
    if Image.MAX_IMAGE_PIXELS is not None:
        limit = min(limit, Image.MAX_IMAGE_PIXELS)
    try:
        with Image.open(file, formats=_readable_formats()) as image:
            _check_size(image.width, image.height, limit)
            _check_pixels(image)
            image.load()
            _turn_upright(image)
            return _to_rgb(image)
    except UnreadablePictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePictureError(f'more than the {limit:,} pixels that are read') from error
    except UnidentifiedImageError as error:
        file.seek(0)
        raise UnreadablePictureError(_what_it_is(file.read(_NUM_SNIFFED))) from error
    except Exception as error:  # a corrupt file makes Pillow's decoders raise nearly anything
        raise UnreadablePictureError(f'damaged: {str(error) or type(error).__name__}') from error


def is_animation(path: PathLike) -> bool:
    """Return whether a file is a picture with several frames, of which the first is used."""
    from PIL import Image

    try:
        check_regular_file(path)
        with open(path, 'rb') as file:
            start = file.read(_NUM_SNIFFED)
            may_move = (
                start[:4] == b'GIF8'
                or start[8:12] == b'WEBP'
                or (start[:4] == b'\x89PNG' and b'acTL' in start)
                or start[4:12] == b'ftypavis'
            )
            if not may_move:
                return False
            with Image.open(file, formats=_readable_formats()) as image:
                return bool(getattr(image, 'is_animated', False))
    except Exception:  # as above; what can't be read is no animation
        return False


def encode_pictures(
    paths: Sequence[PathLike | None],
    convert: Callable[['Image'], Loaded],
    encode: Callable[[list[Loaded]], Tensor],
    channels: int,
    *,
    batch_size: int,
    num_workers: int,
    verbose: bool,
) -> tuple[Tensor, Tensor]:
    """Read, convert and encode pictures in batches, and warn about unreadable ones.

    Args:
        paths: Picture files, or :obj:`None` for items without a picture.
        convert: Turns a picture into an input of ``encode``; it runs in the reading threads.
        encode: Turns a batch into vectors, float32 of shape ``[batch, channels]``.
        channels: The length of a vector.
        batch_size: Pictures per call of ``encode``, including unreadable ones. Batches, and so
            vectors, don't depend on ``num_workers``.
        num_workers: Threads that read and convert while ``encode`` runs; zero means none.
        verbose: Whether to show a progress bar.

    Returns:
        The vectors and the mask of present pictures, see :class:`~pyg_mmgef.encoders.ImageEncoder`.
    """
    require_pillow()
    check_sequence('paths', paths)
    vectors = torch.zeros(len(paths), channels)
    present = torch.zeros(len(paths), dtype=torch.bool)
    unreadable: list[tuple[PathLike, str]] = []
    given = [(row, path) for row, path in enumerate(paths) if path is not None]
    loader = load_pictures((path for _, path in given), convert, num_workers, batch_size)
    bar = tqdm(total=len(given), desc='pictures', unit=' pictures', disable=not verbose)
    with pillow_is_quiet(), bar, closing(loader) as loaded:
        for start in range(0, len(given), batch_size):
            batch = given[start : start + batch_size]
            rows: list[int] = []
            readable: list[Loaded] = []
            for (row, path), picture in zip(batch, loaded, strict=False):
                if isinstance(picture, UnreadablePictureError):
                    unreadable.append((path, str(picture)))
                else:
                    rows.append(row)
                    readable.append(picture)
            if rows:
                vectors[rows] = encode(readable)
                present[rows] = True
            bar.update(len(batch))
    warn_unreadable(unreadable, len(given), stacklevel=3)
    return vectors, present


def load_pictures(
    paths: Iterable[PathLike],
    convert: Callable[['Image'], Loaded],
    num_workers: int,
    num_ahead: int,
) -> Generator[Loaded | UnreadablePictureError, None, None]:
    """Read and convert pictures in order, in threads that read ahead.

    Args:
        paths: Picture files.
        convert: Converts each picture, in the thread that reads it. Its errors are raised.
        num_workers: Number of threads; ``0`` means the calling thread. Pillow decodes and resizes
            without the GIL.
        num_ahead: Maximum number of pictures read ahead, which bounds the memory.

    Yields:
        For each path the result of ``convert``, or the error if the picture can't be read.
    """

    def load(path: PathLike) -> Loaded | UnreadablePictureError:
        try:
            picture = read_picture(path)
        except UnreadablePictureError as error:
            return error.with_traceback(None)
        return convert(picture)

    if num_workers == 0:
        yield from map(load, paths)
        return
    waiting: deque[Future[Loaded | UnreadablePictureError]] = deque()
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            for path in paths:
                waiting.append(pool.submit(load, path))
                if len(waiting) > num_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def why_not_opened(error: Exception) -> str:
    """Return in plain words why a file could not be opened."""
    if isinstance(error, PermissionError):
        return 'permission denied'
    if isinstance(error, FileNotFoundError):
        return 'no such file'
    return f'cannot be opened: {getattr(error, "strerror", None) or error}'


def _readable_formats() -> list[str]:
    from PIL import Image

    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _what_it_is(start: bytes) -> str:
    """Return in plain words what a file is that Pillow doesn't read as a picture."""
    brand = start[8:12] if start[4:8] == b'ftyp' else b''
    if brand in _HEIC:
        return 'an HEIC picture, which Pillow reads only with pillow-heif; convert it to JPEG'
    if brand in (b'avif', b'avis'):
        return 'an AVIF picture, which this Pillow cannot read; install a newer one, or convert it'
    if brand:
        return 'not a picture but a video'
    if _WEB_PAGE.match(start):
        return 'not a picture but a web page'
    if _SVG.match(start):
        return 'an SVG drawing, which has no pixels; convert it to PNG'
    for what, magic in _OTHER_KINDS:
        if start.startswith(magic):
            return f'{what}, which is not read; convert it to PNG or JPEG'
    return 'not a picture'


def _check_size(width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise UnreadablePictureError(
            f'{width} x {height} pixels, more than the {limit:,} pixels that are read'
        )
    if max(width, height) > _MAX_ASPECT_RATIO * min(width, height):
        raise UnreadablePictureError(
            f'{width} x {height} pixels: a side is over {_MAX_ASPECT_RATIO} times the other'
        )


def _check_pixels(image: 'Image') -> None:
    if image.mode == 'F':
        raise UnreadablePictureError('floating-point pixels, whose range is unknown')
    if image.mode == 'I' and image.format != 'PNG':  # Older Pillows read 16-bit PNG files as 'I'.
        raise UnreadablePictureError('32-bit integer pixels, whose range is unknown')


def _turn_upright(image: 'Image') -> None:
    from PIL import ImageOps

    # A damaged EXIF block raises nearly anything, while the pixels are fine.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _to_rgb(image: 'Image') -> 'Image':
    from PIL import Image

    if image.mode.startswith('I;16') or image.mode == 'I':
        # Pillow clips these modes at 255, which turns most of a 16-bit picture white.
        image = image.convert('I').point(lambda value: value * (1.0 / 256)).convert('L')
    if image.mode in _ALPHA_MODES or 'transparency' in image.info:
        rgba = image.convert('RGBA')
        white = Image.new('RGBA', rgba.size, 'white')
        return Image.alpha_composite(white, rgba).convert('RGB')
    return image if image.mode == 'RGB' else image.convert('RGB')
