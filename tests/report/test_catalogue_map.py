from typing import Any

import numpy as np
import pytest

from pyg_mmgef.report import _catalogue_map
from pyg_mmgef.report._catalogue_map import HEIGHT, PICTURE, WIDTH, catalogue_map, map_positions
from pyg_mmgef.report._evidence import Evidence


def clusters() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(3, 8), 20, axis=0)
    return (centres + 0.1 * rng.standard_normal((60, 8))).astype(np.float32)


def test_similar_vectors_are_near_each_other() -> None:
    at = map_positions(clusters(), seed=0)
    distance = np.linalg.norm(at[:, None] - at[None], axis=2) + 1e9 * np.eye(60)
    assert (distance.argmin(axis=1) // 20 == np.arange(60) // 20).all()
    assert (at >= 0).all()
    assert (at <= [WIDTH, HEIGHT]).all()


def test_a_seed_gives_one_map() -> None:
    x = clusters()
    assert np.array_equal(map_positions(x, seed=1), map_positions(x, seed=1))


def test_length_says_nothing() -> None:
    x = clusters()
    scale = np.full((60, 1), 8, np.float32)
    assert np.array_equal(map_positions(x, seed=0), map_positions(scale * x, seed=0))


def test_every_product_is_a_point_or_a_picture(evidence: Evidence) -> None:
    shown: Any = catalogue_map(evidence)
    assert (shown['num_shown'], shown['num_known']) == (75, 75)
    assert len(shown['points']) + len(shown['pictures']) == 75
    assert [entry['name'] for entry in shown['legend']] == ['Lamps', 'Rugs', 'Sofas']
    titles = {point['title']: point['colour'] for point in shown['points'] + shown['pictures']}
    assert {title.split()[0]: colour for title, colour in titles.items()} == {
        'Lamp': 0,
        'Rug': 1,
        'Sofa': 2,
    }
    corners = np.array([[picture['x'], picture['y']] for picture in shown['pictures']])
    assert len(corners) > 5
    apart = np.abs(corners[:, None] - corners[None]).max(axis=2) + 1e9 * np.eye(len(corners))
    assert apart.min() >= PICTURE


def test_a_large_catalogue_is_sampled(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_catalogue_map, 'MOST_POINTS', 30)
    monkeypatch.setattr(_catalogue_map, 'MOST_PICTURES', 4)
    shown: Any = catalogue_map(evidence)
    assert (shown['num_shown'], shown['num_known']) == (30, 75)
    assert (len(shown['points']), len(shown['pictures'])) == (26, 4)


def test_no_map_of_few_products(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_catalogue_map, 'MOST_POINTS', 7)
    assert catalogue_map(evidence) is None
