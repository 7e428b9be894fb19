from pathlib import Path
from typing import Any

import pytest
import torch

from pyg_mmgef.datasets import IdMap


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


def test_ids_that_are_rows() -> None:
    assert IdMap([0, 1, 2]).are_rows
    assert not IdMap([1, 2]).are_rows
    assert not IdMap(['0', '1']).are_rows


@pytest.mark.parametrize(
    ('ids', 'match'),
    [
        (['a', 1], r'strings alone \(got int, str\)'),
        ([1.0], r'got float'),
        ([True, False], r'got bool'),
        (['a', 'b', 'a'], 'holds 3 ids, but only 2 distinct'),
        (torch.ones(2), 'must be a vector of torch.int64'),
        (torch.tensor([1, 1]), 'only 1 distinct'),
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
    (tmp_path / 'ids.jsonl').write_text('"a"\n{"id": 1}\n')
    with pytest.raises(ValueError, match=r"'ids.jsonl' is no list of ids"):
        IdMap.load(tmp_path / 'ids.jsonl')
