from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyg_mmgef.encoders._inputs import is_blank
from pyg_mmgef.encoders._pictures import read_picture


def test_every_kind_of_picture_becomes_rgb(good_pictures: dict[str, Path]) -> None:
    for path in good_pictures.values():
        assert read_picture(path).mode == 'RGB', path.name


def test_transparent_is_white(tmp_path: Path) -> None:
    Image.new('RGBA', (2, 2), (255, 0, 0, 0)).save(tmp_path / 'clear.png')
    Image.new('LA', (2, 2), (0, 0)).save(tmp_path / 'clear_grey.png')
    for name in ('clear.png', 'clear_grey.png'):
        assert read_picture(tmp_path / name).getpixel((0, 0)) == (255, 255, 255)


def test_exif_rotation_is_applied(good_pictures: dict[str, Path]) -> None:
    assert read_picture(good_pictures['jpeg.jpg']).size == (30, 24)
    assert read_picture(good_pictures['rotated.jpg']).size == (24, 30)


def test_sixteen_bits_are_scaled_not_clipped(good_pictures: dict[str, Path]) -> None:
    pixels = np.asarray(read_picture(good_pictures['grey16.png']))
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert abs(pixels.mean() - 127.5) < 2


@pytest.mark.parametrize(('text', 'blank'), [(None, True), (' \n', True), ('', True), ('a', False)])
def test_is_blank(text: str | None, blank: bool) -> None:
    assert is_blank(text) is blank
