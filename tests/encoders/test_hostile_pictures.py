import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from pyg_mmgef.encoders import ImageEncoder, PixelEncoder, _pictures, picture_problem
from tests.encoders.hostile_pictures import HOSTILE_PICTURES, box, png_of_size
from tests.encoders.small_clip import small_clip


@pytest.fixture(scope='module')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp('hostile')
    for name, make, _ in HOSTILE_PICTURES:
        make(folder / name)
    return [folder / name for name, _, _ in HOSTILE_PICTURES]


def test_the_table_is_long_and_names_each_picture_once() -> None:
    assert len({picture.name for picture in HOSTILE_PICTURES}) == len(HOSTILE_PICTURES) >= 40


def test_every_picture_is_read_or_has_a_plain_reason(pictures: list[Path]) -> None:
    found = [picture_problem(path) for path in pictures]
    wrong = {
        picture.name: reason
        for picture, reason in zip(HOSTILE_PICTURES, found, strict=True)
        if (picture.problem is None) != (reason is None)
        or (picture.problem is not None and not re.search(picture.problem, reason or ''))
    }
    assert not wrong


@pytest.mark.parametrize('num_workers', [0, 3])
@pytest.mark.parametrize('build', [PixelEncoder, small_clip])
def test_every_encoder_agrees(
    pictures: list[Path], build: Callable[..., ImageEncoder], num_workers: int
) -> None:
    readable = torch.tensor([picture.problem is None for picture in HOSTILE_PICTURES])
    bad = int((~readable).sum())
    match = f'{bad} of {len(pictures)} pictures could not be read .*truncated.jpg. .damaged: '
    with pytest.warns(UserWarning, match=match) as record:
        x, has = build(batch_size=8, num_workers=num_workers).encode_images(pictures)
    (warning,) = (warning for warning in record if warning.category is UserWarning)
    assert warning.filename == __file__
    assert torch.equal(has, readable)
    assert (x[~has] == 0).all()
    assert (x[has] != 0).any(dim=1).all()
    assert x.isfinite().all()


def test_suffixes_and_links_do_not_matter(pictures: list[Path]) -> None:
    by_name = {path.name: path for path in pictures}
    names = ['jpeg.jpg', 'jpeg_named.txt', 'without_suffix', 'link.jpg', 'junk_behind.jpg']
    # One by one: some processors round the last row of a product differently.
    x, has = PixelEncoder(batch_size=1).encode_images([by_name[name] for name in names])
    assert has.all()
    assert (x == x[0]).all()


def test_an_animation_is_its_first_frame(pictures: list[Path], tmp_path: Path) -> None:
    by_name = {path.name: path for path in pictures}
    Image.open(by_name['animated.gif']).convert('RGB').save(tmp_path / 'first.png')
    x, _ = PixelEncoder().encode_images([by_name['animated.gif'], tmp_path / 'first.png'])
    assert torch.equal(x[0], x[1])


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read everything')
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / 'secret.png'
    Image.new('RGB', (2, 2)).save(path)
    path.chmod(0)
    assert picture_problem(path) == 'permission denied'


def test_no_permission_by_the_operating_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'secret.png'
    Image.new('RGB', (2, 2)).save(path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(_pictures, 'open', refuse, raising=False)
    assert picture_problem(path) == 'permission denied'


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ('a\0b.jpg', 300 * 'x' + '.jpg'):
        problem = picture_problem(tmp_path / name)
        assert problem is not None
        assert problem.startswith('cannot be opened: ')
    (tmp_path / 'file').write_bytes(b'')
    assert picture_problem(tmp_path / 'file' / 'below.jpg') == 'no such file'


def test_greys_of_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    grey = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    Image.fromarray(grey).save(tmp_path / 'grey.png')
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    for name in ('deep.png', 'deep.tif'):
        deep.save(tmp_path / name)
        assert np.array_equal(
            np.asarray(_pictures.read_picture(tmp_path / name)),
            np.asarray(_pictures.read_picture(tmp_path / 'grey.png')),
        )


def test_animations_are_recognised(pictures: list[Path]) -> None:
    found = {path.name for path in pictures if _pictures.is_animation(path)}
    assert found == {'animated.gif', 'animated.webp', 'animated.png'}


def test_a_kind_that_pillow_learns_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(file: BinaryIO, name: str) -> Image.Image:
        return Image.new('RGB', (3, 2), 'red')

    (tmp_path / 'phone.heic').write_bytes(box(b'heic'))
    monkeypatch.setitem(Image.OPEN, 'HEIF', (opened, lambda start: start[8:12] == b'heic'))
    assert _pictures.read_picture(tmp_path / 'phone.heic').size == (3, 2)


@pytest.mark.filterwarnings('ignore::UserWarning:PIL')
def test_an_old_pillow_without_avif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.delitem(Image.OPEN, 'AVIF', raising=False)
    (tmp_path / 'a.avif').write_bytes(box(b'avif'))
    assert str(picture_problem(tmp_path / 'a.avif')).startswith(
        'an AVIF picture, which this Pillow'
    )


def test_large_pictures_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(ImageFile.ImageFile, 'load', decode)
    (tmp_path / 'large.png').write_bytes(png_of_size(8200, 8200))
    problem = picture_problem(tmp_path / 'large.png')
    assert problem == '8200 x 8200 pixels, more than the 67,108,864 pixels that are read'


def test_an_unlimited_pillow(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)
    by_name = {path.name: path for path in pictures}
    assert picture_problem(by_name['png.png']) is None
    assert 'more than the 67,108,864' in str(picture_problem(by_name['bomb.png']))


def test_a_limit_below_the_picture(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    # Above the limit Pillow only warns, above twice the limit it raises: neither is read.
    by_name = {path.name: path for path in pictures}
    for limit in (30 * 24 - 1, 30 * 24 // 3):
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
        assert f'more than the {limit} pixels' in str(picture_problem(by_name['png.png']))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 30 * 24)
    assert picture_problem(by_name['png.png']) is None
