"""Thumbnails are small, upright and white where a picture was transparent."""

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from pyg_mmgef.exports import write_thumbnails


def test_they_are_as_small_as_asked_for_and_never_larger_than_the_picture(tmp_path: Path) -> None:
    sizes = {'wide': (900, 300), 'high': (300, 900), 'small': (50, 40)}
    for name, size in sizes.items():
        Image.new('RGB', size, 'blue').save(tmp_path / f'{name}.png')
    paths = [None, *(str(tmp_path / f'{name}.png') for name in sizes), str(tmp_path / 'lost.png')]
    out = tmp_path / 'out'
    out.mkdir()
    found = write_thumbnails(paths, out, size=100)
    assert set(found) == {1, 2, 3}
    assert {path.name for path in out.iterdir()} == {'1.jpg', '2.jpg', '3.jpg'}
    expected = {1: (300, 100), 2: (100, 300), 3: (50, 40)}
    for row, size in expected.items():
        path = out / f'{row}.jpg'
        assert hashlib.sha256(path.read_bytes()).hexdigest() == found[row]
        with Image.open(path) as image:
            assert (image.format, image.size) == ('JPEG', size)


def test_transparent_pixels_are_white_and_the_rotation_is_applied(tmp_path: Path) -> None:
    Image.new('RGBA', (20, 20), (0, 0, 0, 0)).save(tmp_path / 'clear.png')
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new('RGB', (40, 20)).save(tmp_path / 'turned.jpg', exif=exif)
    write_thumbnails([str(tmp_path / 'clear.png'), str(tmp_path / 'turned.jpg')], tmp_path)
    with Image.open(tmp_path / '0.jpg') as image:
        assert image.getpixel((10, 10)) == (255, 255, 255)
    with Image.open(tmp_path / '1.jpg') as image:
        assert image.size == (20, 40)


def test_the_number_of_threads_changes_nothing(tmp_path: Path) -> None:
    for index in range(5):
        Image.linear_gradient('L').rotate(30 * index).save(tmp_path / f'{index}.png')
    paths = [str(tmp_path / f'{index}.png') for index in range(5)]
    one, many = (write_thumbnails(paths, tmp_path, size=32, num_workers=n) for n in (0, 3))
    assert one == many


def test_the_size_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'size' must be a positive integer"):
        write_thumbnails([], tmp_path, size=0)
