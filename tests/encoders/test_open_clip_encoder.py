import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_mmgef.encoders import ImageEncoder, OpenCLIPEncoder, TextEncoder, import_torchvision
from pyg_mmgef.encoders._token_chunks import chunk_tokens, mean_by_length
from tests.encoders.small_clip import SMALL_CLIP, small_clip_parts

if find_spec('open_clip') is None:
    pytest.skip('open_clip is not installed', allow_module_level=True)
import_torchvision()  # or the tests' own import of open_clip fails beside a CPU build of torch


@pytest.fixture(scope='module')
def parts() -> tuple[Any, Any, Any]:
    return small_clip_parts()


def _encoder(parts: tuple[Any, Any, Any], **settings: Any) -> OpenCLIPEncoder:
    return OpenCLIPEncoder.from_model(*parts, name='small', **settings)


def test_it_is_both_kinds_of_encoder(parts: tuple[Any, Any, Any]) -> None:
    encoder = _encoder(parts)
    assert isinstance(encoder, ImageEncoder)
    assert isinstance(encoder, TextEncoder)
    assert encoder.channels == 32
    assert repr(encoder) == 'OpenCLIPEncoder(small)'


def test_pictures_are_what_the_tower_gives(
    parts: tuple[Any, Any, Any], good_pictures: dict[str, Path]
) -> None:
    from PIL import Image

    model, preprocess, _ = parts
    path = good_pictures['png.png']
    x, has = _encoder(parts).encode_images([path])
    with torch.no_grad():
        expected = model.encode_image(preprocess(Image.open(path).convert('RGB'))[None])
    assert has.all()
    assert torch.allclose(x, expected, atol=1e-5)
    assert not x.requires_grad
    assert not x.is_inference()


def test_texts_are_what_the_tower_gives(parts: tuple[Any, Any, Any]) -> None:
    model, _, tokenizer = parts
    x, has = _encoder(parts).encode_texts(['a red cushion', None, '  ', 'a lamp'])
    with torch.no_grad():
        expected = model.encode_text(tokenizer(['a red cushion', 'a lamp']))
    assert has.tolist() == [True, False, False, True]
    assert torch.allclose(x[has], expected, atol=1e-5)
    assert (x[~has] == 0).all()
    assert x.dtype == torch.float32


def test_missing_pictures(
    parts: tuple[Any, Any, Any], good_pictures: dict[str, Path], bad_pictures: list[Path]
) -> None:
    paths = [None, *bad_pictures, good_pictures['cmyk.jpg'], good_pictures['alpha.png']]
    with pytest.warns(UserWarning, match='6 of 8 pictures could not be read') as record:
        x, has = _encoder(parts, batch_size=2).encode_images(paths)
    assert len(record) == 1
    assert has.tolist() == 7 * [False] + 2 * [True]
    assert (x[~has] == 0).all()
    assert (x[has] != 0).any(dim=1).all()


def test_nothing_present(parts: tuple[Any, Any, Any]) -> None:
    encoder = _encoder(parts)
    for x, has in (encoder.encode_images([None]), encoder.encode_texts([''])):
        assert x.shape == (1, 32)
        assert not has.any()
    assert encoder.encode_images([])[0].shape == (0, 32)
    assert encoder.encode_texts([])[0].shape == (0, 32)


def test_batch_size_does_not_matter(
    parts: tuple[Any, Any, Any], good_pictures: dict[str, Path]
) -> None:
    paths = list(good_pictures.values())
    texts = [f'product number {i}' * (i + 1) for i in range(7)]
    one, many = _encoder(parts, batch_size=1), _encoder(parts, batch_size=64)
    assert torch.allclose(one.encode_images(paths)[0], many.encode_images(paths)[0], atol=1e-5)
    assert torch.allclose(one.encode_texts(texts)[0], many.encode_texts(texts)[0], atol=1e-5)


def test_long_texts_are_truncated(parts: tuple[Any, Any, Any]) -> None:
    x, _ = _encoder(parts).encode_texts(['lamp ' * 100, 'lamp ' * 200])
    assert torch.equal(x[0], x[1])


def test_long_texts_are_averaged_by_length(parts: tuple[Any, Any, Any]) -> None:
    model, _, tokenizer = parts
    words = [f'word{n}' for n in range(40)]
    long = ' '.join(words)
    tokens = tokenizer.encode(long)
    assert 75 < len(tokens) < 150
    averaging = _encoder(parts, long_text='average', batch_size=2)
    x, has = averaging.encode_texts(['a lamp', long, None, 'a lamp ' * 10, '!'])
    assert has.tolist() == [True, True, False, True, True]

    def encode(part: list[int]) -> Tensor:
        row = torch.zeros(1, 77, dtype=torch.long)
        row[0, : len(part) + 2] = torch.tensor([49406, *part, 49407])
        with torch.no_grad():
            return model.encode_text(row)[0]

    first, rest = encode(tokens[:75]), encode(tokens[75:])
    expected = (75 * first + (len(tokens) - 75) * rest) / len(tokens)
    assert torch.allclose(x[1], expected, atol=1e-5)
    short, _ = _encoder(parts, batch_size=2).encode_texts(['a lamp', 'a lamp ' * 10, '!'])
    assert torch.allclose(x[[0, 3, 4]], short, atol=1e-6)


def test_a_text_that_just_fits_is_one_chunk(parts: tuple[Any, Any, Any]) -> None:
    averaging = _encoder(parts, long_text='average')
    for count, same in ((75, True), (76, False)):
        text = 'lamp ' * count
        x, _ = averaging.encode_texts([text])
        truncated, _ = _encoder(parts).encode_texts([text])
        assert torch.allclose(x, truncated, atol=1e-6) is same


def test_chunks_of_tokens() -> None:
    chunks = chunk_tokens([[1, 2, 3, 4, 5], [], [6]], 4, start=8, end=9)
    assert chunks.tokens.tolist() == [
        [8, 1, 2, 9], [8, 3, 4, 9], [8, 5, 9, 0], [8, 9, 0, 0], [8, 6, 9, 0],
    ]  # fmt: skip
    assert chunks.text.tolist() == [0, 0, 0, 1, 2]
    x = mean_by_length(torch.tensor([[5.0], [10.0], [20.0], [7.0], [3.0]]), chunks)
    assert x.view(-1).tolist() == pytest.approx([(2 * 5 + 2 * 10 + 20) / 5, 7.0, 3.0])


@pytest.mark.parametrize('num_workers', [1, 4])
def test_threads_change_no_bit(
    parts: tuple[Any, Any, Any], good_pictures: dict[str, Path], num_workers: int
) -> None:
    paths = [None, *good_pictures.values(), None, *reversed(good_pictures.values())]
    x, has = _encoder(parts, batch_size=3).encode_images(paths)
    y, present = _encoder(parts, batch_size=3, num_workers=num_workers).encode_images(paths)
    assert torch.equal(x, y)
    assert torch.equal(has, present)


def test_errors_in_threads_are_raised(
    parts: tuple[Any, Any, Any], good_pictures: dict[str, Path]
) -> None:
    def fail(_: object) -> Tensor:
        raise KeyError('preprocess')

    for num_workers in (0, 2):
        encoder = OpenCLIPEncoder.from_model(
            parts[0], fail, parts[2], name='small', num_workers=num_workers
        )
        with pytest.raises(KeyError, match='preprocess'):
            encoder.encode_images(list(good_pictures.values()))


def test_autocast(parts: tuple[Any, Any, Any], good_pictures: dict[str, Path]) -> None:
    plain, half = _encoder(parts), _encoder(parts, autocast=torch.bfloat16)
    paths, texts = list(good_pictures.values()), ['a lamp', 'a red cushion']
    for x, y in (
        (plain.encode_images(paths)[0], half.encode_images(paths)[0]),
        (plain.encode_texts(texts)[0], half.encode_texts(texts)[0]),
    ):
        assert y.dtype == torch.float32
        assert not torch.equal(x, y)
        assert torch.nn.functional.cosine_similarity(x, y).min() > 0.99


def test_settings_are_in_the_fingerprint(parts: tuple[Any, Any, Any]) -> None:
    encoders = [
        _encoder(parts),
        _encoder(parts, long_text='average'),
        _encoder(parts, autocast=torch.bfloat16),
        _encoder(parts, autocast=torch.float16),
    ]
    assert len({encoder.fingerprint for encoder in encoders}) == 4
    assert _encoder(parts, num_workers=2).fingerprint == encoders[0].fingerprint


def test_fingerprint(parts: tuple[Any, Any, Any]) -> None:
    import open_clip

    model, preprocess, tokenizer = parts
    encoder = _encoder(parts)
    assert encoder.fingerprint == _encoder(parts, batch_size=3).fingerprint
    assert 'small' in encoder.fingerprint
    larger = open_clip.image_transform(40, is_train=False)
    assert encoder.fingerprint != _encoder((model, larger, tokenizer)).fingerprint
    with torch.random.fork_rng():
        torch.manual_seed(1)  # Another than that of the fixture, whichever test ran before.
        other = open_clip.model.CLIP(**SMALL_CLIP)
    assert encoder.fingerprint != _encoder((other, preprocess, tokenizer)).fingerprint


def _small_architecture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Register the small model with open_clip, so that its own factory builds it."""
    import json

    import open_clip

    (tmp_path / 'ViT-tiny-test.json').write_text(json.dumps(SMALL_CLIP))
    from open_clip import factory

    monkeypatch.setattr(factory, '_MODEL_CONFIGS', dict(factory._MODEL_CONFIGS))
    monkeypatch.setattr(factory, '_MODEL_CONFIG_PATHS', list(factory._MODEL_CONFIG_PATHS))
    open_clip.add_model_config(tmp_path / 'ViT-tiny-test.json')
    return 'ViT-tiny-test'


def test_random_weights_by_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, good_pictures: dict[str, Path]
) -> None:
    name = _small_architecture(monkeypatch, tmp_path)
    state = torch.random.get_rng_state()
    first, again = OpenCLIPEncoder(name, None, seed=1), OpenCLIPEncoder(name, None, seed=1)
    other = OpenCLIPEncoder(name, None, seed=2)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.fingerprint == again.fingerprint != other.fingerprint

    def encode(encoder: OpenCLIPEncoder) -> Tensor:
        return encoder.encode_images([good_pictures['png.png']])[0]

    assert torch.equal(encode(first), encode(again))
    assert not torch.allclose(encode(first), encode(other))


def test_local_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = _small_architecture(monkeypatch, tmp_path)
    drawn = OpenCLIPEncoder(name, None, seed=5)
    torch.save(drawn.model.state_dict(), tmp_path / 'weights.pt')
    loaded = OpenCLIPEncoder(name, tmp_path / 'weights.pt', seed=0)
    texts = ['a red cushion']
    assert torch.equal(loaded.encode_texts(texts)[0], drawn.encode_texts(texts)[0])
    (tmp_path / 'junk.pt').write_bytes(b'junk')
    with pytest.raises(ValueError, match='could not be loaded as weights') as caught:
        OpenCLIPEncoder(name, tmp_path / 'junk.pt')
    assert caught.value.__cause__ is not None


def test_a_tag_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = pytest.importorskip('huggingface_hub')
    monkeypatch.setattr(hub.constants, 'HF_HUB_OFFLINE', True)
    with pytest.raises(FileNotFoundError, match='were not found locally') as caught:
        OpenCLIPEncoder(cache_dir=tmp_path)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ('arguments', 'error', 'match'),
    [
        (('ViT-X',), ValueError, "'model' must be an architecture of open_clip"),
        (('ViT-B-32', 'foo'), ValueError, "its tags are 'openai'"),
        (('ViT-B-32', 'weights/none.pt'), FileNotFoundError, "which doesn't exist"),
    ],
)
def test_unknown_names(arguments: tuple[str, ...], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        OpenCLIPEncoder(*arguments)


def test_wrong_arguments(parts: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ValueError, match="'batch_size' must be a positive integer"):
        _encoder(parts, batch_size=0)
    with pytest.raises(ValueError, match="'num_workers' must be"):
        _encoder(parts, num_workers=-1)
    with pytest.raises(ValueError, match="'long_text' must be one of 'truncate', 'average'"):
        _encoder(parts, long_text='cut')
    with pytest.raises(ValueError, match=r"'autocast' must be torch\.bfloat16"):
        _encoder(parts, autocast=torch.int8)
    with pytest.raises(ValueError, match="long_text='average' needs a tokenizer"):
        OpenCLIPEncoder.from_model(
            parts[0], parts[1], lambda texts: torch.zeros(1), 'x', long_text='average'
        )
    with pytest.raises(ValueError, match="'texts' must be a sequence"):
        _encoder(parts).encode_texts('a lamp')
    with pytest.raises(ValueError, match="'paths' must be a sequence"):
        _encoder(parts).encode_images('a.png')


def test_progress_bar(parts: tuple[Any, Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
    _encoder(parts).encode_texts(['a lamp'])
    assert capsys.readouterr().err == ''
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        _encoder(parts, verbose=True).encode_texts(['a lamp'])
    assert 'texts' in capsys.readouterr().err


def test_missing_open_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'open_clip', None)
    with pytest.raises(ImportError, match=r'pip install "pyg-mmgef\[clip\]"'):
        OpenCLIPEncoder('ViT-B-32', None)
