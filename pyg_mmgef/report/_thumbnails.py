"""Small pictures within the page."""

import base64
import io

from pyg_mmgef.encoders._pictures import UnreadablePictureError, read_picture

__all__ = ['thumbnail']

QUALITY = 78


def thumbnail(path: str | None, side: int, *, is_square: bool = False) -> str | None:
    """Return a picture as a ``data:`` address, :obj:`None` if there is none that can be read.

    Args:
        path: The picture's path.
        side: Its greatest width and height, in pixels.
        is_square: Whether its edges are cut so that it is a square. (default: :obj:`False`)
    """
    if path is None:
        return None
    try:
        image = read_picture(path)
    except UnreadablePictureError:
        return None
    if is_square:
        from PIL import ImageOps

        image = ImageOps.fit(image, (side, side))
    else:
        image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, format='JPEG', quality=QUALITY)
    return f'data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}'
