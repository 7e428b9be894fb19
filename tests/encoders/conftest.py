from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def _gradient(height: int = 24, width: int = 30) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 8, y * 10, np.full_like(x, 90)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def good_pictures(tmp_path: Path) -> dict[str, Path]:
    """One readable file per kind of picture that shops really have."""
    picture = _gradient()
    alpha = picture.convert('RGBA')
    alpha.putalpha(Image.linear_gradient('L').resize(picture.size))
    palette = picture.convert('P', palette=Image.Palette.ADAPTIVE, colors=16)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter turn
    deep = Image.fromarray(np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16))
    paths = {
        name: tmp_path / name
        for name in (
            'jpeg.jpg',
            'png.png',
            'palette.png',
            'palette_alpha.png',
            'alpha.png',
            'cmyk.jpg',
            'grey.png',
            'grey16.png',
            'rotated.jpg',
            'one.png',
            'gif.gif',
        )
    }
    picture.save(paths['jpeg.jpg'])
    picture.save(paths['png.png'])
    palette.save(paths['palette.png'])
    palette.save(paths['palette_alpha.png'], transparency=0)
    alpha.save(paths['alpha.png'])
    picture.convert('CMYK').save(paths['cmyk.jpg'])
    picture.convert('L').save(paths['grey.png'])
    deep.save(paths['grey16.png'])
    picture.save(paths['rotated.jpg'], exif=exif)
    Image.new('RGB', (1, 1), 'red').save(paths['one.png'])
    palette.save(paths['gif.gif'])
    return paths


@pytest.fixture
def bad_pictures(tmp_path: Path) -> list[Path]:
    """Files that carry a picture's name and no picture."""
    whole = tmp_path / 'whole.jpg'
    _gradient(64, 64).save(whole)
    truncated = tmp_path / 'truncated.jpg'
    truncated.write_bytes(whole.read_bytes()[:400])
    empty = tmp_path / 'empty.png'
    empty.write_bytes(b'')
    text = tmp_path / 'text.jpg'
    text.write_text('404 not found')
    broken = tmp_path / 'broken.png'
    _gradient().save(broken)
    content = bytearray(broken.read_bytes())
    content[60:120] = bytes(60)
    broken.write_bytes(content)
    return [truncated, empty, text, broken, tmp_path / 'nowhere.png', tmp_path]
