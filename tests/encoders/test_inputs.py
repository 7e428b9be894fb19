from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyg_mmgef.encoders._inputs import is_blank, read_picture


def _read(path: Path) -> Image.Image:
    image = read_picture(path)
    assert image is not None
    return image


def test_every_kind_of_picture_becomes_rgb(good_pictures: dict[str, Path]) -> None:
    for path in good_pictures.values():
        assert _read(path).mode == 'RGB', path.name


def test_transparent_is_white(tmp_path: Path) -> None:
    Image.new('RGBA', (2, 2), (255, 0, 0, 0)).save(tmp_path / 'clear.png')
    Image.new('LA', (2, 2), (0, 0)).save(tmp_path / 'clear_grey.png')
    for name in ('clear.png', 'clear_grey.png'):
        assert _read(tmp_path / name).getpixel((0, 0)) == (255, 255, 255)


def test_exif_rotation_is_applied(good_pictures: dict[str, Path]) -> None:
    assert _read(good_pictures['jpeg.jpg']).size == (30, 24)
    assert _read(good_pictures['rotated.jpg']).size == (24, 30)


def test_sixteen_bits_are_scaled_not_clipped(good_pictures: dict[str, Path]) -> None:
    pixels = np.asarray(_read(good_pictures['grey16.png']))
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert abs(pixels.mean() - 127.5) < 2


def test_unreadable_is_none(bad_pictures: list[Path]) -> None:
    for path in bad_pictures:
        assert read_picture(path) is None, path.name


def test_a_decompression_bomb_is_unreadable(
    good_pictures: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Above the limit Pillow warns, above twice the limit it raises: neither is read.
    for limit in (30 * 24 - 1, 30 * 24 // 3):
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
        assert read_picture(good_pictures['png.png']) is None


@pytest.mark.parametrize(('text', 'blank'), [(None, True), (' \n', True), ('', True), ('a', False)])
def test_is_blank(text: str | None, blank: bool) -> None:
    assert is_blank(text) is blank
