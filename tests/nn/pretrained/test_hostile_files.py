"""Whatever is in the files: a model comes back, or an error of one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyg_mmgef.files import sha256_of
from pyg_mmgef.nn import MMGEF, LightGCN, Recommender

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-2, 9)
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from(['features', 'id', 'mean', 'last', 'similar', 'float32', 'LightGCN'])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
MODELS: dict[str, Callable[[], Recommender]] = {
    'LightGCN': lambda: LightGCN(4, 5, embedding_dim=3),
    'MMGEF': lambda: MMGEF(4, 5, in_channels={'text': 3}, embedding_dim=2),
}


@pytest.fixture(scope='module', params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('model')
    MODELS[request.param]().save_pretrained(folder)
    return folder


def loads_or_says_why(folder: Path) -> None:
    try:
        assert isinstance(Recommender.from_pretrained(folder), Recommender)
    except ValueError as error:
        message = str(error)
    else:
        return
    assert '\n' not in message
    assert str(folder) in message


def changed(folder: Path, config: Any) -> Path:
    """A copy of a folder with another configuration."""
    other = folder.with_name('changed')
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(folder, other)
    (other / 'config.json').write_text(json.dumps(config))
    return other


@SETTINGS
@given(st.data(), JSON)
def test_any_value_anywhere(folder: Path, data: st.DataObject, value: Any) -> None:
    config = json.loads((folder / 'config.json').read_text())
    places = [config, config['arguments']]
    place = data.draw(st.sampled_from(places))
    place[data.draw(st.sampled_from(sorted(place)) | st.text(max_size=9))] = value
    loads_or_says_why(changed(folder, config))


@SETTINGS
@given(st.data(), st.binary(min_size=1, max_size=9), st.booleans())
def test_any_bytes_in_the_weights(
    folder: Path, data: st.DataObject, patch: bytes, has_checksum: bool
) -> None:
    config = json.loads((folder / 'config.json').read_text())
    other = changed(folder, config)
    content = bytearray((other / 'model.safetensors').read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    content[start : start + len(patch)] = patch
    (other / 'model.safetensors').write_bytes(content)
    if has_checksum:
        config['sha256'] = sha256_of(other / 'model.safetensors')
        (other / 'config.json').write_text(json.dumps(config))
    loads_or_says_why(other)
