"""What encoders do with their input: read pictures, spot blanks, report the unreadable."""

import logging
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyg_mmgef.encoders.protocol import PathLike

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ['check_sequence', 'is_blank', 'read_picture', 'require_pillow', 'warn_unreadable']

logger = logging.getLogger(__name__)

_NUM_NAMED = 3
_ALPHA_MODES = ('RGBA', 'LA', 'PA', 'RGBa', 'La')


def require_pillow() -> None:
    """Raise an :class:`ImportError` that names the install command if Pillow is absent."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'reading pictures needs Pillow; install it with: pip install "pyg-mmgef[demo]"'
        ) from error


def check_sequence(name: str, value: object) -> None:
    """Refuse a lone string, which is a sequence too, but of single characters."""
    if isinstance(value, (str, bytes, os.PathLike)):
        raise ValueError(
            f"'{name}' must be a sequence with one entry per item (got the single value "
            f'{value!r}); wrap it in a list'
        )


def is_blank(text: str | None) -> bool:
    """Whether a text is missing: :obj:`None`, empty, or white space only."""
    return text is None or not text.strip()


def read_picture(path: PathLike) -> 'Image | None':
    """Read a picture as upright RGB, or return :obj:`None` if it cannot be read.

    The EXIF rotation is applied, transparency is composited on white (product pictures sit on
    white pages), sixteen-bit greys are scaled to eight. A picture with more pixels than
    ``PIL.Image.MAX_IMAGE_PIXELS`` may be a decompression bomb and counts as unreadable.
    """
    from PIL import Image, ImageOps

    path = os.fspath(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                upright = ImageOps.exif_transpose(image)
        return _to_rgb(upright)
    except Exception as error:  # a corrupt file makes Pillow's decoders raise nearly anything
        logger.debug('cannot read picture %s: %r', path, error)
        return None


def _to_rgb(image: 'Image') -> 'Image':
    from PIL import Image

    if image.mode.startswith('I;16') or image.mode == 'I':
        # Pillow clips these modes at 255, which turns most of a 16-bit picture white.
        image = image.convert('I').point(lambda value: value * (1.0 / 256)).convert('L')
    if image.mode in _ALPHA_MODES or 'transparency' in image.info:
        rgba = image.convert('RGBA')
        white = Image.new('RGBA', rgba.size, 'white')
        return Image.alpha_composite(white, rgba).convert('RGB')
    return image.convert('RGB')


def warn_unreadable(paths: Sequence[PathLike], num_total: int) -> None:
    """Warn once about pictures that could not be read, on behalf of the encoder's caller."""
    if not paths:
        return
    named = ', '.join(repr(os.fspath(path)) for path in paths[:_NUM_NAMED])
    more = f' and {len(paths) - _NUM_NAMED} more' if len(paths) > _NUM_NAMED else ''
    warnings.warn(
        f'{len(paths)} of {num_total} pictures could not be read and count as missing: '
        f'{named}{more}',
        UserWarning,
        stacklevel=3,
    )
