from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pyg_mmgef.datasets import IdMap
from pyg_mmgef.files import write_sealed
from tests.flips import outcomes


@pytest.mark.parametrize('ids', [['b', 'a', 'line\nbreak\u2028', ''], [7, -2, 2**62], []])
def test_there_and_back(tmp_path: Path, ids: list[Any]) -> None:
    saved = IdMap(ids)
    saved.save(tmp_path / 'ids.jsonl')
    loaded = IdMap.load(tmp_path / 'ids.jsonl')
    assert loaded == saved
    assert list(loaded) == ids
    assert [path.name for path in tmp_path.iterdir()] == ['ids.jsonl']
    rows = torch.arange(len(ids))
    assert torch.equal(loaded.to_rows(ids), rows)
    assert loaded.to_ids(rows) == ids


def test_rows_of_recommendations() -> None:
    ids = IdMap([30, 10, 20])
    assert ids.to_ids(torch.tensor([[2, 0], [1, -1]])) == [[20, 30], [10, None]]
    assert ids[1] == 10
    assert repr(ids) == 'IdMap(3)'
    assert torch.equal(ids.to_rows(torch.tensor([10, 30])), torch.tensor([1, 0]))


@pytest.mark.parametrize(
    'ids',
    [
        np.array([5, 2]),
        np.array([5, 2], dtype=np.uint8),
        torch.tensor([5, 2], dtype=torch.int32),
        [np.int64(5), 2],
        list(np.array([5, 2])),
    ],
)
def test_integers_of_every_library(ids: Any) -> None:
    assert IdMap(ids) == IdMap([5, 2])
    assert IdMap([2, 5]).to_rows(ids).tolist() == [1, 0]


@pytest.mark.parametrize('dtype', [np.str_, object])
def test_strings_in_an_array(dtype: type) -> None:
    ids = IdMap(np.array(['b', 'a'], dtype=dtype))
    assert ids == IdMap(['b', 'a'])
    assert {type(i) for i in ids} == {str}
    assert ids.to_rows(np.array(['a'])).tolist() == [1]


def test_ids_that_are_rows() -> None:
    assert IdMap([0, 1, 2]).are_rows
    assert not IdMap([1, 2]).are_rows
    assert not IdMap(['0', '1']).are_rows


@pytest.mark.parametrize(
    ('ids', 'match'),
    [
        (['a', 1], r'all strings \(got int, str\)'),
        ([1.0], r'got float'),
        ([True, False], r'got bool'),
        (['a', 'b', 'a'], 'holds 3 ids, but only 2 distinct'),
        (torch.ones(2), 'must be a vector of integers'),
        (torch.tensor([1, 1]), 'only 1 distinct'),
        (np.array([1, 1]), 'only 1 distinct'),
        (np.array([1.5]), 'got float'),
        (np.array([True]), 'got bool'),
        (np.array([[1], [2]]), 'must be a vector'),
    ],
)
def test_wrong_ids(ids: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        IdMap(ids)


def test_unknown_ids_and_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 unknown ids \(first: '1'\).* integers such as 1"):
        IdMap([1, 2]).to_rows(['1'])
    with pytest.raises(ValueError, match=r"'rows' must lie in \[0, 2\)"):
        IdMap([1, 2]).to_ids(torch.tensor([2]))
    write_sealed(tmp_path / 'ids.jsonl', b'"a"\n{"id": 1}\n')
    with pytest.raises(ValueError, match=r"'ids.jsonl' is not a list of ids"):
        IdMap.load(tmp_path / 'ids.jsonl')


@pytest.mark.parametrize('ids', [['b', 'a', 'Größe'], [7, -2, 2**62]])
def test_a_flipped_bit_is_an_error(tmp_path: Path, ids: list[Any]) -> None:
    path = tmp_path / 'ids.jsonl'
    IdMap(ids).save(path)
    assert outcomes([path], lambda: list(IdMap.load(path)), 200) == {'detected': 200, 'equal': 0}
