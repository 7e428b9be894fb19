import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch.nn.functional import normalize

from pyg_mmgef.encoders import PixelEncoder


def _blocks(encoder: PixelEncoder, path: Path) -> list[torch.Tensor]:
    x, _ = encoder.encode_images([path])
    edges = encoder.channels - 3 * encoder.thumbnail_size**2 - encoder.gradient_cells**2 * 9
    return list(x[0].split([edges, 3 * encoder.thumbnail_size**2, encoder.gradient_cells**2 * 9]))


def test_all_kinds_of_pictures(good_pictures: dict[str, Path]) -> None:
    encoder = PixelEncoder()
    paths = list(good_pictures.values())
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        x, has = encoder.encode_images(paths)
    assert x.shape == (len(paths), encoder.channels)
    assert x.dtype == torch.float32
    assert has.dtype == torch.bool
    assert has.all()
    assert x.isfinite().all()
    assert (x != 0).any(dim=1).all()
    again, _ = encoder.encode_images([str(path) for path in paths])
    assert torch.equal(x, again)


def test_missing_rows_are_zero_and_counted_once(
    good_pictures: dict[str, Path], bad_pictures: list[Path]
) -> None:
    paths = [good_pictures['png.png'], None, *bad_pictures, good_pictures['jpeg.jpg']]
    match = r"6 of 8 pictures could not be read .*truncated.jpg' .*empty.png' .* and 3 more"
    with pytest.warns(UserWarning, match=match) as record:
        x, has = PixelEncoder().encode_images(paths)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert has.tolist() == [True] + 7 * [False] + [True]
    assert (x[~has] == 0).all()


def test_known_to_be_missing_is_no_reason_to_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        x, has = PixelEncoder().encode_images([None, None])
        nothing, _ = PixelEncoder().encode_images([])
    assert not has.any()
    assert x.shape == (2, PixelEncoder().channels)
    assert nothing.shape == (0, PixelEncoder().channels)


def test_blocks_have_their_weights(good_pictures: dict[str, Path]) -> None:
    encoder = PixelEncoder(colour_weight=2.0, thumbnail_weight=0.5, gradient_weight=3.0)
    norms = [float(block.norm()) for block in _blocks(encoder, good_pictures['png.png'])]
    assert norms == pytest.approx([2.0, 0.5, 3.0], abs=1e-4)


def test_one_colour_has_no_layout_and_no_edges(good_pictures: dict[str, Path]) -> None:
    colours, thumbnail, gradients = _blocks(PixelEncoder(), good_pictures['one.png'])
    # Red: hue bin 0, the upper saturation bin, the upper value bin of 12 x 2 x 3.
    assert colours.nonzero().view(-1).tolist() == [5]
    assert not thumbnail.any()
    assert not gradients.any()


def test_batch_size_does_not_matter(good_pictures: dict[str, Path]) -> None:
    paths = [None, *good_pictures.values()]
    one, _ = PixelEncoder(batch_size=1).encode_images(paths)
    many, _ = PixelEncoder(batch_size=100).encode_images(paths)
    assert torch.allclose(one, many, atol=1e-6)


def _product(path: Path, shape: str, colour: str, striped: bool, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    image = Image.new('RGB', (64, 64), (235, 235, 235))
    x, y = (32 + rng.integers(-3, 4, size=2)).tolist()
    draw = ImageDraw.Draw(image)
    if shape == 'disc':
        draw.ellipse([x - 20, y - 20, x + 20, y + 20], fill=colour)
    else:
        draw.polygon([(x, y - 22), (x + 22, y + 20), (x - 22, y + 20)], fill=colour)
    if striped:
        for column in range(x - 24, x + 24, 6):
            draw.line([(column, 0), (column, 63)], fill='white', width=2)
    image.save(path)
    return path


def test_colour_shape_and_pattern_are_visible(tmp_path: Path) -> None:
    kinds = [
        (shape, colour, striped)
        for shape in ('disc', 'triangle')
        for colour in ('red', 'blue')
        for striped in (False, True)
    ]
    paths = [
        _product(tmp_path / f'{index}_{seed}.png', *kind, seed=10 * index + seed)
        for seed in range(2)
        for index, kind in enumerate(kinds)
    ]
    x, _ = PixelEncoder().encode_images(paths)
    first, second = normalize(x).chunk(2)
    # The other picture of the same product is nearer than any other product.
    assert (first @ second.t()).argmax(dim=1).tolist() == list(range(len(kinds)))


def test_fingerprint_tells_settings_that_matter() -> None:
    assert PixelEncoder().fingerprint == PixelEncoder(batch_size=3, verbose=True).fingerprint
    changes = [
        {'size': 32},
        {'hue_bins': 6},
        {'saturation_bins': 3},
        {'value_bins': 4},
        {'thumbnail_size': 4},
        {'gradient_cells': 2},
        {'gradient_bins': 6},
        {'colour_weight': 0.7},
        {'thumbnail_weight': 0.7},
        {'gradient_weight': 0.7},
    ]
    prints = {PixelEncoder(**change).fingerprint for change in changes}  # type: ignore[arg-type]
    assert len(prints | {PixelEncoder().fingerprint}) == len(changes) + 1


def test_repr() -> None:
    assert repr(PixelEncoder()) == 'PixelEncoder(channels=327)'


@pytest.mark.parametrize(
    ('arguments', 'match'),
    [
        ({'size': 0}, "'size' must be a positive integer"),
        ({'thumbnail_size': 65}, "'thumbnail_size' must not exceed 'size'"),
        ({'gradient_cells': 65}, "'gradient_cells' must not exceed 'size'"),
        ({'colour_weight': -1.0}, "'colour_weight' must be finite and not negative"),
        ({'gradient_weight': float('nan')}, "'gradient_weight' must be finite"),
        ({'colour_weight': 0, 'thumbnail_weight': 0, 'gradient_weight': 0}, 'are all zero'),
    ],
)
def test_wrong_settings(arguments: dict[str, float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        PixelEncoder(**arguments)  # type: ignore[arg-type]


def test_a_single_path_is_refused(good_pictures: dict[str, Path]) -> None:
    for path in (good_pictures['png.png'], 'a.png'):
        with pytest.raises(ValueError, match="'paths' must be a sequence"):
            PixelEncoder().encode_images(path)  # type: ignore[arg-type]
