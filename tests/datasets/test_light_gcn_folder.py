import time
from pathlib import Path

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.datasets import LightGCNFolder


def _folder(path: Path, train: str = '0 2 1\n2 0\n', test: str = '0 3\n3 0\n') -> Path:
    (path / 'train.txt').write_bytes(train.encode())
    (path / 'test.txt').write_bytes(test.encode())
    return path


def _edges(data: HeteroData, name: str) -> list[list[int]]:
    return data['user', 'interacts', 'item'][name].t().tolist()


def test_both_splits_have_the_train_edges(tmp_path: Path) -> None:
    dataset = LightGCNFolder(_folder(tmp_path))
    train, test = dataset
    assert repr(dataset) == 'LightGCNFolder(2)'
    for data in (train, test):
        assert data.validate()
        assert (data['user'].num_nodes, data['item'].num_nodes) == (4, 4)
        assert _edges(data, 'edge_index') == [[0, 2], [0, 1], [2, 0]]
        assert data['user', 'interacts', 'item'].edge_index.dtype == torch.int64
    assert _edges(train, 'edge_label_index') == [[0, 2], [0, 1], [2, 0]]
    assert _edges(test, 'edge_label_index') == [[0, 3], [3, 0]]


@pytest.mark.parametrize(
    'train',
    [
        '0 2 1\n\n1\n2 0',  # an empty line, a user without items, no line end
        '\ufeff0 2 1 \r\n1 \r\n  2\t0\r\n',
        '\n\n0 2 1\n2 0\n\n',
        '0 2\n0 1\n2 0\n',
    ],
)
def test_lines(tmp_path: Path, train: str) -> None:
    data = LightGCNFolder(_folder(tmp_path, train))[0]
    assert _edges(data, 'edge_index') == [[0, 2], [0, 1], [2, 0]]


def test_a_test_file_without_interactions(tmp_path: Path) -> None:
    _, test = LightGCNFolder(_folder(tmp_path, test=''))
    assert _edges(test, 'edge_label_index') == []
    assert (test['user'].num_nodes, test['item'].num_nodes) == (3, 3)


@pytest.mark.parametrize(
    ('train', 'match'),
    [
        ('0 1\n1 x7 2\n', "line 2 of 'train.txt' holds 'x7'"),
        ('0 -1\n', "line 1 of 'train.txt' holds '-1'"),
        ('0 1.5\n', "line 1 of 'train.txt' holds '1.5'"),
        ('0 1234567890123456789012\n', 'line 1 .* holds'),
        ('', 'holds no interaction'),
        ('0\n1\n', 'holds no interaction'),
    ],
)
def test_wrong_files(tmp_path: Path, train: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        LightGCNFolder(_folder(tmp_path, train))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'root' must be an existing folder"):
        LightGCNFolder(tmp_path / 'nowhere')
    (tmp_path / 'train.txt').write_text('0 1\n')
    with pytest.raises(FileNotFoundError, match=r"no test.txt; it holds \['train.txt'\]"):
        LightGCNFolder(tmp_path)


def test_pre_transform_is_applied_once(tmp_path: Path) -> None:
    (tmp_path / 'train.txt').write_text('0 1 2\n1 1\n')
    (tmp_path / 'test.txt').write_text('0 0\n')
    calls: list[HeteroData] = []
    dataset = LightGCNFolder(tmp_path, pre_transform=lambda data: calls.__iadd__([data])[-1])
    assert len(calls) == 2
    assert dataset[0]['item'].num_nodes == dataset[1]['item'].num_nodes == 3
    assert len(calls) == 2


@pytest.mark.realdata
def test_gowalla(realdata_root: Path) -> None:
    start = time.perf_counter()
    train, test = LightGCNFolder(realdata_root / 'gowalla_lightgcn')
    assert time.perf_counter() - start < 5  # a second on two cores
    assert (train['user'].num_nodes, train['item'].num_nodes) == (29858, 40981)
    interacts = test['user', 'interacts', 'item']
    assert interacts.edge_index.size(1) == 810128
    assert interacts.edge_label_index.size(1) == 217242
    # The last line of train.txt is that of user 29857.
    assert int(interacts.edge_index[0].max()) == int(interacts.edge_index[0, -1]) == 29857
    assert interacts.edge_index[0].unique().numel() == 29858
