"""Reading of pictures as upright RGB, with a plain reason for each that can't be read."""

import os
import stat
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

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
    'encode_pictures',
    'load_pictures',
    'pillow_is_quiet',
    'read_picture',
    'require_pillow',
    'why_not_opened',
]

Loaded = TypeVar('Loaded')

_ALPHA_MODES = ('RGBA', 'LA', 'PA', 'RGBa', 'La')
_MAX_ASPECT_RATIO = 200


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
        UnreadablePictureError: If the file is missing, empty, not a picture or damaged. A truncated
            picture counts as damaged: its missing part would be grey, and change the vector. Also
            refused are pictures with more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, which may be
            decompression bombs, and very narrow ones, which a resize could blow up to gigabytes.
    """
    from PIL import Image, UnidentifiedImageError

    path = os.fspath(path)
    if check_regular_file(path).st_size == 0:
        raise UnreadablePictureError('the file is empty')
    try:
        with Image.open(path) as image:
            width, height = image.size
            _check_size(width, height, Image.MAX_IMAGE_PIXELS)
            image.load()
            return _to_rgb(_upright(image))
    except UnreadablePictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePictureError('more pixels than PIL.Image.MAX_IMAGE_PIXELS') from error
    except UnidentifiedImageError as error:
        raise UnreadablePictureError('not a picture') from error
    except (FileNotFoundError, PermissionError) as error:
        raise UnreadablePictureError(why_not_opened(error)) from error
    except Exception as error:  # a corrupt file makes Pillow's decoders raise nearly anything
        raise UnreadablePictureError(f'damaged: {str(error) or type(error).__name__}') from error


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
    warn_unreadable(unreadable, len(paths), stacklevel=3)
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


def _check_size(width: int, height: int, limit: int | None) -> None:
    if limit is not None and width * height > limit:
        raise UnreadablePictureError(
            f'{width} x {height} pixels, more than PIL.Image.MAX_IMAGE_PIXELS'
        )
    if max(width, height) > _MAX_ASPECT_RATIO * min(width, height):
        raise UnreadablePictureError(
            f'{width} x {height} pixels: a side is over {_MAX_ASPECT_RATIO} times the other'
        )


def _upright(image: 'Image') -> 'Image':
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are fine, only the EXIF block is damaged
        return image


def _to_rgb(image: 'Image') -> 'Image':
    from PIL import Image

    if image.mode == 'F':
        raise UnreadablePictureError('floating-point pixels, whose range is unknown')
    if image.mode.startswith('I;16') or image.mode == 'I':
        # Pillow clips these modes at 255, which turns most of a 16-bit picture white.
        image = image.convert('I').point(lambda value: value * (1.0 / 256)).convert('L')
    if image.mode in _ALPHA_MODES or 'transparency' in image.info:
        rgba = image.convert('RGBA')
        white = Image.new('RGBA', rgba.size, 'white')
        return Image.alpha_composite(white, rgba).convert('RGB')
    return image.convert('RGB')
