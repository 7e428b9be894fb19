"""Programs give the numbers of the layers that they were made from, for any number of rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.nn import Module

from pyg_mmgef.catalog import ContentWeights
from pyg_mmgef.exports import ContentProgram, export_program, write_onnx, write_program
from pyg_mmgef.nn import EarlyFusion

CHANNELS = {'image': 5, 'text': 5}


def weights() -> ContentWeights:
    rng = np.random.default_rng(0)
    mean = {name: rng.normal(size=width) / 10 for name, width in CHANNELS.items()}
    return ContentWeights(mean, rng.normal(size=(10, 3)), rng.normal(size=3))


def features(num_items: int, seed: int = 1) -> dict[str, Tensor]:
    """Features in which some items lack one modality, and the first one both."""
    generator = torch.Generator().manual_seed(seed)
    x = {name: torch.randn(num_items, n, generator=generator) for name, n in CHANNELS.items()}
    x['image'][::2] = 0
    x['text'][:1] = 0
    return x


def fusion(mode: str) -> EarlyFusion:
    layer = EarlyFusion(CHANNELS, mode)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


LAYERS: dict[str, Callable[[], Module]] = {
    'content': lambda: ContentProgram(weights()),
    **{mode: lambda mode=mode: fusion(mode) for mode in ('mean', 'weighted', 'gated', 'concat')},  # type: ignore[misc]
}


def test_the_layer_computes_what_numpy_does() -> None:
    x = features(9)
    x['text'][3] *= 1e-25
    x['text'][4] *= 1e25
    found = ContentProgram(weights())(x)
    expected = weights().embed({name: row.numpy() for name, row in x.items()})
    assert np.allclose(found.numpy(), expected, atol=1e-6)
    assert not found[0].any()
    assert repr(ContentProgram(weights())) == "ContentProgram({'image': 5, 'text': 5}, 3)"


@pytest.mark.parametrize('name', LAYERS)
def test_a_program_gives_the_same_numbers(tmp_path: Path, name: str) -> None:
    layer = LAYERS[name]()
    write_program(export_program(layer, CHANNELS), tmp_path / 'layer.pt2')
    program = torch.export.load(tmp_path / 'layer.pt2').module()
    for num_items in (1, 2, 50):
        x = features(num_items)
        with torch.no_grad():
            assert torch.equal(program(x), layer(x))


@pytest.mark.parametrize('name', LAYERS)
def test_onnx_gives_the_same_numbers(tmp_path: Path, name: str) -> None:
    layer = LAYERS[name]()
    write_onnx(export_program(layer, CHANNELS), tmp_path / 'layer.onnx')
    session = onnxruntime.InferenceSession(tmp_path / 'layer.onnx')
    assert [node.name for node in session.get_inputs()] == list(CHANNELS)
    for num_items in (1, 2, 50):
        x = features(num_items)
        (found,) = session.run(['vectors'], {key: row.numpy() for key, row in x.items()})
        with torch.no_grad():
            assert np.allclose(found, layer(x).numpy(), atol=1e-6)
