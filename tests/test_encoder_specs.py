import pytest

from pyg_mmgef._encoder_specs import image_encoder, text_encoder
from pyg_mmgef.encoders import OpenCLIPEncoder, PixelEncoder

OPTIONS = {'batch_size': 8, 'device': 'cpu', 'num_workers': 0}


def test_the_small_ones_need_nothing() -> None:
    assert isinstance(image_encoder('small', OPTIONS), PixelEncoder)
    encoder = text_encoder('small', OPTIONS)
    assert encoder is not None
    encoder.fit(['a red chair', None, 'a blue chair'])
    x, has = encoder.encode_texts(['red'])
    assert x[0].abs().sum() > 0
    assert has.tolist() == [True]


def test_none() -> None:
    assert image_encoder('none', OPTIONS) is None
    assert text_encoder('none', OPTIONS) is None


def test_open_clip_without_weights() -> None:
    encoder = image_encoder('open_clip:ViT-S-32-alt/random', OPTIONS)
    assert isinstance(encoder, OpenCLIPEncoder)
    assert encoder.batch_size == 8


@pytest.mark.parametrize('spec', ['big', 'open_clip', 'open_clip:', 'open_clip:ViT-B-32', ''])
def test_what_is_not_known(spec: str) -> None:
    with pytest.raises(ValueError, match='open_clip:'):
        image_encoder(spec, OPTIONS)
    with pytest.raises(ValueError, match='open_clip:'):
        text_encoder(spec, OPTIONS)
