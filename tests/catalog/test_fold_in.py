import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyg_mmgef.catalog.fold_in import (
    FoldIn,
    HistoryFoldIn,
    LeastSquaresFoldIn,
    LinearFoldIn,
)

NUM_ITEMS, CHANNELS = 7, 3
RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(size=(NUM_ITEMS, CHANNELS))
OFFSET = RANDOM.normal(size=CHANNELS)
GRAM = VECTORS.T @ VECTORS
NUMBERS: dict[str, Any] = {'penalty': 0.3, 'base_count': 2.0, 'exponent': 0.5}
HEAD = {
    'mean': RANDOM.normal(size=CHANNELS),
    'weight_in': RANDOM.normal(size=(CHANNELS, 5)),
    'bias_in': RANDOM.normal(size=5),
    'weight_out': RANDOM.normal(size=(5, 4)),
    'bias_out': RANDOM.normal(size=4),
}
EACH = {
    **{
        f'linear, {way}': LinearFoldIn(VECTORS, OFFSET, normalise=way)
        for way in ('none', 'sqrt', 'mean')
    },
    'linear, unit': LinearFoldIn(VECTORS, normalise='unit'),
    'least squares': LeastSquaresFoldIn(VECTORS, GRAM, **NUMBERS),
    'least squares, head': LeastSquaresFoldIn(VECTORS, GRAM, **NUMBERS, head=HEAD),
    'history': HistoryFoldIn(num_items=NUM_ITEMS),
}
HISTORIES = [[3], [0, 2, 6], [], [5, 1]]


@pytest.fixture(params=EACH.values(), ids=list(EACH))
def fold_in(request: pytest.FixtureRequest) -> FoldIn:
    return request.param


def with_head(z: np.ndarray) -> np.ndarray:
    hidden = np.tanh((z - HEAD['mean']) @ HEAD['weight_in'] + HEAD['bias_in'])
    return hidden @ HEAD['weight_out'] + HEAD['bias_out']


@pytest.mark.parametrize('items', [[3], [0, 2, 6]])
def test_the_formulas(items: list[int]) -> None:
    total, n = VECTORS[items].sum(axis=0), len(items)
    matrix = GRAM + VECTORS[items].T @ VECTORS[items] + 0.3 * (n + 2) ** 0.5 * np.eye(CHANNELS)
    solution = np.linalg.inv(matrix) @ total
    expected = {
        'linear, none': OFFSET + total,
        'linear, sqrt': OFFSET + total / n**0.5,
        'linear, mean': OFFSET + total / n,
        'linear, unit': total / np.linalg.norm(total),
        'least squares': solution,
        'least squares, head': with_head(solution),
        'history': np.isin(np.arange(NUM_ITEMS), items),
    }
    for name, fold_in in EACH.items():
        np.testing.assert_allclose(fold_in.embed([items])[0], expected[name], rtol=1e-5)


def test_a_user_without_items() -> None:
    expected = {
        'linear, unit': np.zeros(CHANNELS),
        'least squares': np.zeros(CHANNELS),
        'least squares, head': with_head(HEAD['mean']),
        'history': np.zeros(NUM_ITEMS),
    }
    for name, fold_in in EACH.items():
        np.testing.assert_allclose(fold_in.embed([[]])[0], expected.get(name, OFFSET), rtol=1e-6)
    assert all(fold_in.embed([]).shape == (0, fold_in.channels) for fold_in in EACH.values())


def test_each_user_as_if_alone(fold_in: FoldIn) -> None:
    z = fold_in.embed(HISTORIES)
    assert z.shape == (4, fold_in.channels)
    assert z.dtype == np.float32
    for row, history in zip(z, HISTORIES, strict=True):
        np.testing.assert_allclose(row, fold_in.embed([history])[0], rtol=1e-6)


@given(st.lists(st.lists(st.integers(0, NUM_ITEMS - 1)), max_size=5))
def test_order_and_repetition_do_not_matter(histories: list[list[int]]) -> None:
    for fold_in in EACH.values():
        z = fold_in.embed([sorted(set(history)) for history in histories])
        np.testing.assert_allclose(fold_in.embed(histories), z, rtol=1e-5, atol=1e-6)


def test_more_users_than_are_embedded_at_a_time() -> None:
    fold_in = EACH['linear, sqrt']
    z = fold_in.embed([[number % NUM_ITEMS] for number in range(1030)])
    np.testing.assert_array_equal(z[1024:], fold_in.embed([[n % 7] for n in range(1024, 1030)]))


def test_histories_one_behind_the_other(fold_in: FoldIn) -> None:
    items = np.concatenate([np.array(history, dtype=np.int32) for history in HISTORIES])
    np.testing.assert_array_equal(
        fold_in.embed_csr([0, 1, 4, 4, 6], items), fold_in.embed(HISTORIES)
    )
    assert fold_in.embed_csr([0], []).shape == (0, fold_in.channels)


@pytest.mark.parametrize('indptr', [[], [1, 6], [0, 5], [0, 3, 2, 6]])
def test_pointers_must_fit(indptr: list[int]) -> None:
    with pytest.raises(ValueError, match="'indptr' must start with 0"):
        EACH['history'].embed_csr(indptr, [0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize('history', [[4], [0, 2, 6], [6, 0, 2, 0]])
def test_parts_sum_to_the_embedding(fold_in: FoldIn, history: list[int]) -> None:
    if fold_in is EACH['least squares, head']:
        with pytest.raises(ValueError, match='a network stands on top'):
            fold_in.parts(history)
        return
    parts = fold_in.parts(history)
    assert parts.shape == (len(history), fold_in.channels)
    np.testing.assert_allclose(parts.sum(axis=0), fold_in.embed([history])[0], rtol=1e-5)
    for place, item in enumerate(history):  # In the order of the items.
        other = fold_in.parts(sorted(set(history)))[sorted(set(history)).index(item)]
        np.testing.assert_allclose(parts[place] * history.count(item), other, rtol=1e-5)


def test_parts_of_least_squares_are_the_solutions_for_each_item() -> None:
    history = [0, 2, 6]
    own = VECTORS[history]
    matrix = GRAM + own.T @ own + 0.3 * 5**0.5 * np.eye(CHANNELS)
    expected = [np.linalg.solve(matrix, row) for row in own]
    np.testing.assert_allclose(EACH['least squares'].parts(history), expected, rtol=1e-5)


def test_saved_and_loaded(fold_in: FoldIn, tmp_path: Path) -> None:
    arrays: dict[str, Any] = dict(fold_in.to_arrays())
    np.savez(tmp_path / 'arrays.npz', **arrays)
    settings = json.loads(json.dumps(fold_in.settings))
    with np.load(tmp_path / 'arrays.npz', allow_pickle=False) as found:
        loaded = FoldIn.from_arrays(dict(found), settings)
    assert type(loaded) is type(fold_in)
    assert loaded.settings == fold_in.settings
    np.testing.assert_array_equal(loaded.embed(HISTORIES), fold_in.embed(HISTORIES))


def test_new_items_go_behind_the_others(fold_in: FoldIn) -> None:
    if isinstance(fold_in, HistoryFoldIn):
        with pytest.raises(ValueError, match='build the model anew'):
            fold_in.with_items(np.eye(NUM_ITEMS))
        return
    grown = fold_in.with_items(VECTORS[:2])
    assert (fold_in.num_items, grown.num_items) == (NUM_ITEMS, NUM_ITEMS + 2)
    np.testing.assert_allclose(grown.embed([[7, 3, 8]]), grown.embed([[0, 3, 1]]), rtol=1e-6)
    np.testing.assert_array_equal(grown.embed(HISTORIES), fold_in.embed(HISTORIES))
    with pytest.raises(ValueError, match=r"'vectors' must have shape \[N, 3\]"):
        fold_in.with_items(np.zeros((2, 9)))


@pytest.mark.parametrize(
    ('history', 'message'),
    [
        ([0.5], 'must be a vector of item rows .got shape .1., float64'),
        ([[0]], 'must be a vector of item rows .got shape .1, 1.'),
        ([2, 7], 'holds item row 7, but there are rows 0 to 6'),
        ([-1], 'holds item row -1'),
    ],
)
def test_wrong_items(fold_in: FoldIn, history: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=f'history 1 {message}'):
        fold_in.embed([[0], history])
    with pytest.raises(ValueError, match=f"'history' {message}"):
        fold_in.parts(history)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="'vectors' must be a matrix"):
        LinearFoldIn(np.zeros(3))
    with pytest.raises(ValueError, match=r"'offset' must have shape \[3\]"):
        LinearFoldIn(VECTORS, np.zeros(2))
    with pytest.raises(ValueError, match="'normalise' must be one of"):
        LinearFoldIn(VECTORS, normalise='cube')
    with pytest.raises(ValueError, match=r"'gram' must have shape \[3, 3\]"):
        LeastSquaresFoldIn(VECTORS, np.eye(2), **NUMBERS)
    with pytest.raises(ValueError, match="'penalty' must be finite and not negative"):
        LeastSquaresFoldIn(VECTORS, GRAM, **{**NUMBERS, 'penalty': -1.0})
    with pytest.raises(ValueError, match="'head' must have the arrays"):
        LeastSquaresFoldIn(VECTORS, GRAM, **NUMBERS, head={'mean': OFFSET})
    with pytest.raises(ValueError, match=r"'bias_in' must have shape \[5\]"):
        LeastSquaresFoldIn(VECTORS, GRAM, **NUMBERS, head={**HEAD, 'bias_in': OFFSET})
    with pytest.raises(ValueError, match="'num_items' must be a positive integer"):
        HistoryFoldIn(num_items=0)
    with pytest.raises(ValueError, match="'kind' must be one of"):
        FoldIn.from_arrays({}, {'kind': 'other'})
    with pytest.raises(ValueError, match="don't fit kind='linear'"):
        FoldIn.from_arrays({}, {'kind': 'linear'})


def test_users_are_embedded_without_torch() -> None:
    code = """
import sys
sys.modules['torch'] = None
import numpy as np
from pyg_mmgef.catalog import LinearFoldIn
print(LinearFoldIn(np.eye(2)).embed([[1]]).tolist())
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[[0.0, 1.0]]'
