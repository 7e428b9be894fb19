"""The reason why a picture can't be read."""

from pyg_mmgef.encoders._pictures import (
    UnreadablePictureError,
    pillow_is_quiet,
    read_picture,
    require_pillow,
)
from pyg_mmgef.encoders.protocol import PathLike

__all__ = ['picture_problem']


def picture_problem(path: PathLike) -> str | None:
    """Return the reason why the encoders can't read a picture.

    Args:
        path: The picture file. Pipes and devices are not opened.

    Returns:
        A plain reason, such as ``'no such file'`` or ``'not a picture'``; :obj:`None` if the
        picture can be read.

    Raises:
        ImportError: If Pillow is not installed.

    Example:
        >>> picture_problem('nowhere.jpg')
        'no such file'
    """
    require_pillow()
    try:
        with pillow_is_quiet():
            read_picture(path)
    except UnreadablePictureError as error:
        return str(error)
    return None
