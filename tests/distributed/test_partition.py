from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pyg_mmgef.distributed import read_features, read_interactions


def write(folder: Path, **columns: Any) -> None:
    folder.mkdir(exist_ok=True)
    number = len(list(folder.iterdir()))
    pq.write_table(pa.table(columns), folder / f'{number}.parquet')


def test_interactions_with_other_names_and_timestamps(tmp_path: Path) -> None:
    stamps = pa.array([20, 10], pa.timestamp('s'))
    write(tmp_path, customer=[4, 4], article=pa.array([3, 1], pa.uint16()), at=stamps)
    shard = read_interactions(
        tmp_path, user='customer', item='article', time='at', num_users=6, num_items=9
    )
    assert (shard.users, shard.num_users, shard.num_items) == (range(6), 6, 9)
    assert shard.edge_index.tolist() == [[4, 4], [1, 3]]
    assert shard.time is not None
    assert shard.time.tolist() == [10_000_000, 20_000_000]


def test_no_interactions(tmp_path: Path) -> None:
    write(tmp_path, user=pa.array([], pa.int64()), item=pa.array([], pa.int64()))
    shard = read_interactions(tmp_path)
    assert (shard.users, shard.num_items, shard.time) == (range(0), 0, None)
    assert shard.edge_index.shape == (2, 0)


@pytest.mark.parametrize(
    ('columns', 'message'),
    [
        ({'user': [0], 'thing': [0]}, r"0\.parquet has no column 'item' \(found user, thing\)"),
        ({'user': ['a'], 'item': [0]}, r"column 'user' must hold integers \(got string\)"),
        ({'user': [None, 1], 'item': [0, 1]}, r"column 'user' has 1 empty fields"),
        ({'user': [0], 'item': [-3]}, r"column 'item' has the negative id -3; ids start at 0"),
        ({'user': [9], 'item': [0]}, r"column 'user' has the id 9; ids must lie in \[0, 9\)"),
    ],
)
def test_bad_interactions(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    write(tmp_path, **columns)
    with pytest.raises(ValueError, match=message):
        read_interactions(tmp_path, num_users=9)


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='there is no folder'):
        read_interactions(tmp_path / 'missing')
    with pytest.raises(ValueError, match=r'holds no files \*\.parquet'):
        read_interactions(tmp_path)
    (tmp_path / 'half.parquet').write_bytes(b'PAR1 and no more')
    with pytest.raises(ValueError, match=r'half\.parquet is not a whole Parquet file'):
        read_interactions(tmp_path)


@pytest.mark.parametrize(
    ('kind', 'dtype'),
    [
        (pa.list_(pa.float16(), 2), torch.float16),
        (pa.list_(pa.float32(), 2), torch.float32),
        (pa.list_(pa.float64()), torch.float32),
        (pa.large_list(pa.float32()), torch.float32),
    ],
)
def test_features_of_each_kind(tmp_path: Path, kind: pa.DataType, dtype: torch.dtype) -> None:
    write(tmp_path, item=[2], x=pa.array([[5.0, 6.0]], kind))
    write(tmp_path, item=[0], x=pa.array([[1.0, 2.0]], kind))
    shard = read_features(tmp_path, 'x')
    assert (shard.items, shard.num_items) == (range(3), 3)
    assert shard.x.dtype == dtype
    assert shard.x.tolist() == [[1, 2], [0, 0], [5, 6]]
    assert shard.has.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        ([([0, 1], [[1.0], [1.0, 2.0]])], r'must hold lists of one length \(got lengths \[1, 2\]'),
        ([([0, 1], [[1.0], None])], r'must hold lists of one length \(got 1 empty fields'),
        (
            [([0], [[1.0]]), ([1], [[1.0, 2.0]])],
            r'1\.parquet: .* 2 numbers, but earlier files of 1',
        ),
        ([([0], [[float('nan')]])], r'holds NaN or infinite values in 1 rows'),
        ([([0], [[None]])], r'has 1 empty numbers'),
        ([([0], [[]])], r'must hold lists of one length \(got lengths \[0\]'),
        ([([5], [[1.0]]), ([5], [[1.0]])], r"1 items have several rows in 'item' \(first: item 5"),
    ],
)
def test_bad_features(tmp_path: Path, parts: list[Any], message: str) -> None:
    for ids, rows in parts:
        write(tmp_path, item=ids, x=pa.array(rows, pa.list_(pa.float32())))
    with pytest.raises(ValueError, match=message):
        read_features(tmp_path, 'x')


def test_features_that_are_not_lists(tmp_path: Path) -> None:
    write(tmp_path, item=[0], x=[1.0])
    with pytest.raises(ValueError, match=r"column 'x' must hold lists of floats \(got double\)"):
        read_features(tmp_path, 'x')


def test_features_of_mixed_precision_and_an_empty_file(tmp_path: Path) -> None:
    write(tmp_path, item=pa.array([], pa.int64()), x=pa.array([], pa.list_(pa.float16())))
    write(tmp_path, item=[0], x=pa.array([[1.0, 2.0]], pa.list_(pa.float16())))
    write(tmp_path, item=[1], x=pa.array([[0.1, 0.2]], pa.list_(pa.float32())))
    shard = read_features(tmp_path, 'x')
    assert torch.equal(shard.x, torch.tensor([[1.0, 2.0], [0.1, 0.2]]))


def test_nanoseconds_are_cut_off(tmp_path: Path) -> None:
    stamps = pa.array([1_234_567, 2_000], pa.timestamp('ns', 'UTC'))
    write(tmp_path, user=[0, 0], item=[1, 0], time=stamps)
    shard = read_interactions(tmp_path, time='time')
    assert shard.time is not None
    assert shard.time.tolist() == [2, 1234]


def test_numbers_that_do_not_fit(tmp_path: Path) -> None:
    write(tmp_path, user=pa.array([2**63], pa.uint64()), item=[0])
    with pytest.raises(ValueError, match=r"0\.parquet: column 'user' does not fit int64"):
        read_interactions(tmp_path)
    with pytest.raises(ValueError, match="'num_items' must be an integer that is not negative"):
        read_interactions(tmp_path, num_items=-1)
