from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyg_mmgef.catalog.content_weights import ContentWeights

RANDOM = np.random.default_rng(0)
MEAN = {'image': RANDOM.normal(size=3), 'text': RANDOM.normal(size=2)}
WEIGHT, BIAS = RANDOM.normal(size=(5, 4)), RANDOM.normal(size=4)
WEIGHTS = ContentWeights(MEAN, WEIGHT, BIAS)
X = {'image': RANDOM.normal(size=(6, 3)), 'text': RANDOM.normal(size=(6, 2))}


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)


def test_the_formula() -> None:
    z = WEIGHTS.embed(X)
    assert z.dtype == np.float32
    for row, image, text in zip(z, X['image'], X['text'], strict=True):
        x = np.concatenate([unit(image) - MEAN['image'], unit(text) - MEAN['text']])
        np.testing.assert_allclose(row, BIAS + x @ WEIGHT, rtol=1e-5)


def test_what_an_item_lacks_is_the_mean() -> None:
    without = {**X, 'text': np.zeros((6, 2))}
    expected = [BIAS + (unit(image) - MEAN['image']) @ WEIGHT[:3] for image in X['image']]
    np.testing.assert_allclose(WEIGHTS.embed(without), expected, rtol=1e-5)
    said = WEIGHTS.embed(X, {'text': np.zeros(6, dtype=bool)})
    np.testing.assert_array_equal(said, WEIGHTS.embed(without))


def test_nothing_is_known_of_an_item_without_features() -> None:
    nothing = {name: np.zeros_like(row) for name, row in X.items()}
    assert not WEIGHTS.embed(nothing).any()


def test_the_length_of_features_does_not_matter() -> None:
    z = WEIGHTS.embed(X)
    for factor in (1e-200, 3.0, 1e200):
        scaled = {name: factor * row for name, row in X.items()}
        np.testing.assert_allclose(WEIGHTS.embed(scaled), z, rtol=1e-5)


def test_no_items() -> None:
    assert WEIGHTS.embed({name: row[:0] for name, row in X.items()}).shape == (0, 4)


def test_saved_and_loaded(tmp_path: Path) -> None:
    arrays: dict[str, Any] = dict(WEIGHTS.to_arrays())
    np.savez(tmp_path / 'weights.npz', **arrays)
    with np.load(tmp_path / 'weights.npz', allow_pickle=False) as found:
        loaded = ContentWeights.from_arrays(dict(found))
    assert loaded.in_channels == {'image': 3, 'text': 2}
    np.testing.assert_array_equal(loaded.embed(X), WEIGHTS.embed(X))


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"'weight' must have shape \[5, 4\]"):
        ContentWeights(MEAN, WEIGHT[:4], BIAS)
    with pytest.raises(ValueError, match=r"lack \['bias'\]"):
        ContentWeights.from_arrays({'weight': WEIGHT})
    for x in ({'image': X['image']}, {**X, 'text': X['image']}, {**X, 'text': X['text'][:2]}):
        with pytest.raises(ValueError, match="'x' must have a matrix of each modality"):
            WEIGHTS.embed(x)
