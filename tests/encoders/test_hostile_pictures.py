import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from pyg_mmgef.encoders import ImageEncoder, PixelEncoder, picture_problem
from tests.encoders.hostile_pictures import HOSTILE_PICTURES
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

    monkeypatch.setattr(Image, 'open', refuse)
    assert picture_problem(path) == 'permission denied'


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ('a\0b.jpg', 300 * 'x' + '.jpg'):
        problem = picture_problem(tmp_path / name)
        assert problem is not None
        assert problem.startswith('cannot be opened: ')
    (tmp_path / 'file').write_bytes(b'')
    assert picture_problem(tmp_path / 'file' / 'below.jpg') == 'no such file'


def test_an_unlimited_pillow(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)
    by_name = {path.name: path for path in pictures}
    assert picture_problem(by_name['png.png']) is None


def test_a_limit_below_the_picture(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    # Above the limit Pillow only warns, above twice the limit it raises: neither is read.
    by_name = {path.name: path for path in pictures}
    for limit in (30 * 24 - 1, 30 * 24 // 3):
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
        assert 'MAX_IMAGE_PIXELS' in str(picture_problem(by_name['png.png']))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 30 * 24)
    assert picture_problem(by_name['png.png']) is None
