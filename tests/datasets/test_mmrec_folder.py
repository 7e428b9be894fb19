import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.datasets import MMRecFolder

SPLIT = """userID\titemID\tx_label
0\t0\t0
0\t2\t1
1\t1\t0
1\t0\t2
2\t3\t0
"""
TYPED = """user_id:token\titem_id:token\trating:float\ttimestamp:float
10\t7\t3.5\t881250949
30\t5\t1\t881250950
10\t5\t4\t881250951
"""


def _folder(tmp_path: Path, inter: str = SPLIT, **arrays: Any) -> Path:
    (tmp_path / 'shop.inter').write_text(inter)
    for name, array in arrays.items():
        np.save(tmp_path / f'{name}_feat.npy', array)
    return tmp_path


def _graph(tmp_path: Path, **changes: Any) -> Path:
    arrays: dict[str, Any] = {
        'row': np.array([0, 0, 3], dtype=np.int32),
        'col': np.array([1, 2, 0], dtype=np.int32),
        'val': np.array([0.5, 0.25, 1.0]),
        'shape': np.array([4, 4]),
    }
    arrays |= changes
    path = tmp_path / 'graph.npz'
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def _edges(data: HeteroData, name: str = 'edge_index') -> list[list[int]]:
    return data['user', 'interacts', 'item'][name].t().tolist()


def test_splits_share_the_train_edges(tmp_path: Path) -> None:
    dataset = MMRecFolder(_folder(tmp_path))
    train, val, test = dataset
    assert len(dataset) == 3
    assert repr(dataset) == 'MMRecFolder(3)'
    for data in (train, val, test):
        assert data.validate()
        assert (data['user'].num_nodes, data['item'].num_nodes) == (3, 4)
        assert 'id' not in data['user']
        assert _edges(data) == [[0, 0], [1, 1], [2, 3]]
        assert data['user', 'interacts', 'item'].edge_index.dtype == torch.int64
    assert _edges(train, 'edge_label_index') == [[0, 0], [1, 1], [2, 3]]
    assert _edges(val, 'edge_label_index') == [[0, 2]]
    assert _edges(test, 'edge_label_index') == [[1, 0]]


def test_typed_names_ids_times_and_ratings(tmp_path: Path) -> None:
    (data,) = MMRecFolder(_folder(tmp_path, TYPED))
    assert data['user'].id.tolist() == [10, 30]
    assert data['item'].id.tolist() == [5, 7]
    assert _edges(data) == [[0, 1], [1, 0], [0, 0]]
    interacts = data['user', 'interacts', 'item']
    assert interacts.rating.tolist() == [3.5, 1.0, 4.0]
    assert interacts.rating.dtype == torch.float32
    assert interacts.time.tolist() == [881250949, 881250950, 881250951]
    assert interacts.time.dtype == torch.int64
    assert 'edge_label_index' not in interacts


def test_times_and_ratings_of_splits_follow_the_train_edges(tmp_path: Path) -> None:
    text = 'timestamp\tx_label\titemID\trating\tuserID\n9\t1\t0\t1\t0\n8\t0\t1\t2\t0\n'
    train, val, _ = MMRecFolder(_folder(tmp_path, text))
    assert train['user', 'interacts', 'item'].time.tolist() == [8]
    assert val['user', 'interacts', 'item'].rating.tolist() == [2.0]


@pytest.mark.parametrize(
    ('ids', 'expected', 'original'),
    [
        (['b', 'a', 'b'], [1, 0, 1], ['a', 'b']),
        (['2', '0', '1'], [2, 0, 1], None),
        (['3.0', '1.0', '3.0'], [1, 0, 1], [1, 3]),
        (['007', 'x', '007'], [0, 1, 0], ['007', 'x']),
        (['1e3', '1000', '1e3'], [1, 0, 1], ['1000', '1e3']),
        (['99999999999999999999', '99999999999999999998', '#'], [2, 1, 0], None),
    ],
)
def test_ids(
    tmp_path: Path, ids: list[str], expected: list[int], original: list[Any] | None
) -> None:
    lines = [f'{user}\t0' for user in ids]
    (data,) = MMRecFolder(_folder(tmp_path, '\n'.join(['userID\titemID', *lines])))
    assert data['user', 'interacts', 'item'].edge_index[0].tolist() == expected
    if original is not None:
        assert list(data['user'].id) == original


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path = _folder(tmp_path) / 'shop.inter'
    path.write_bytes(b'\xef\xbb\xbf' + SPLIT.replace('\n', '\r\n').encode())
    assert _edges(MMRecFolder(tmp_path)[0]) == [[0, 0], [1, 1], [2, 3]]


def test_features(tmp_path: Path) -> None:
    image = np.array([[1, 2], [0, 0], [3, 4], [5, 6], [0, 0]], dtype=np.float16)
    train, _, test = MMRecFolder(_folder(tmp_path, image=image, text=np.ones((5, 3))))
    assert train['item'].num_nodes == 5  # one item more than interactions know
    assert train['item'].x_image.dtype == train['item'].x_text.dtype == torch.float32
    assert torch.equal(test['item'].x_image, torch.from_numpy(image).float())
    assert train['item'].has_image.tolist() == [True, False, True, True, False]
    assert train['item'].has_text.all()


def test_features_by_name(tmp_path: Path) -> None:
    np.save(_folder(tmp_path, image=np.ones((4, 2))) / 'minilm.npy', np.ones((4, 3)))
    data = MMRecFolder(tmp_path, features={'text': 'minilm.npy'})[0]
    assert 'x_image' not in data['item']
    assert data['item'].x_text.shape == (4, 3)
    assert 'x_image' not in MMRecFolder(tmp_path, features={})[0]['item']


def test_item_graphs_run_from_column_to_row(tmp_path: Path) -> None:
    _graph(_folder(tmp_path))
    train, val, _ = MMRecFolder(tmp_path, item_graphs={'similar': 'graph.npz'})
    similar = train['item', 'similar', 'item']
    assert similar.edge_index.tolist() == [[1, 2, 0], [0, 0, 3]]
    assert similar.edge_weight.dtype == torch.float32
    assert similar.edge_weight.tolist() == [0.5, 0.25, 1.0]
    assert 'similar' in {relation for _, relation, _ in val.edge_types}
    # As a matrix, A @ h, it gives what propagation along the edges gives.
    h = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    matrix = torch.zeros(4, 4).index_put(
        (torch.tensor([0, 0, 3]), torch.tensor([1, 2, 0])), similar.edge_weight
    )
    received = torch.zeros(4, 3).index_add(
        0, similar.edge_index[1], h[similar.edge_index[0]] * similar.edge_weight[:, None]
    )
    assert torch.allclose(matrix @ h, received)


def test_nothing_is_written(tmp_path: Path) -> None:
    _folder(tmp_path, image=np.ones((4, 2)))
    before = sorted(path.name for path in tmp_path.rglob('*'))
    os.chmod(tmp_path, 0o555)
    try:
        MMRecFolder(tmp_path)[0]
    finally:
        os.chmod(tmp_path, 0o755)
    assert sorted(path.name for path in tmp_path.rglob('*')) == before


def test_transform_and_copies(tmp_path: Path) -> None:
    def strip(data: HeteroData) -> HeteroData:
        data['user', 'interacts', 'item'].edge_index = torch.empty(2, 0, dtype=torch.int64)
        return data

    dataset = MMRecFolder(_folder(tmp_path), transform=strip)
    assert _edges(dataset[0]) == []
    assert len(_edges(dataset.get(0))) == 3


def test_inter_picks_one_of_several(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / 'other.inter').write_text(TYPED)
    with pytest.raises(ValueError, match=r"\(other.inter, shop.inter\); choose one with 'inter'"):
        MMRecFolder(tmp_path)
    assert len(MMRecFolder(tmp_path, inter='other.inter')) == 1


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'root' must be an existing folder"):
        MMRecFolder(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match=r"no '\*.inter' file"):
        MMRecFolder(tmp_path)
    _folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="'inter' names"):
        MMRecFolder(tmp_path, inter='none.inter')
    with pytest.raises(FileNotFoundError, match="'features' names"):
        MMRecFolder(tmp_path, features={'text': 'none.npy'})
    with pytest.raises(FileNotFoundError, match="'item_graphs' names"):
        MMRecFolder(tmp_path, item_graphs={'similar': 'none.npz'})


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('userID\trating\n0\t1\n', "no column 'itemID' or 'item_id'"),
        ('userID,itemID\n0,1\n', 'must be tab-separated'),
        ('0\t1\n', "no column 'userID' or 'user_id'"),
        ('', "no column 'userID'"),
        ('userID\titemID\n\n', 'holds no interaction'),
        ('userID\titemID\tx_label\n0\t0\t3\n', 'also holds 3'),
        ('userID\titemID\tx_label\n0\t0\ttrain\n', "column 'x_label' of 'shop.inter' must hold"),
        ('userID\titemID\tx_label\n0\t0\t1\n', 'holds no train interaction'),
        ('userID\titemID\n0\t-1\n', 'negative item id -1'),
        ('userID\titemID\n-3\t0\n', 'negative user id -3'),
        ('userID\titemID\n\t0\n1\t0\n', 'rows without user id'),
        ('userID\titemID\n0\t0\n1\n', 'could not be read'),
        ('userID\titemID\trating\n0\t0\tnan\n', "column 'rating' .*: NaN or infinite"),
        ('userID\titemID\ttimestamp\n0\t0\tnoon\n', "column 'timestamp' of .* must hold numbers"),
    ],
)
def test_wrong_interactions(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        MMRecFolder(_folder(tmp_path, text))


@pytest.mark.parametrize(
    ('array', 'match'),
    [
        (np.array([[1, np.nan], [np.inf, 0], [1, 1], [1, 1]]), 'NaN or infinite values in 2 of 4'),
        (np.array([[1e300], [1], [1], [1]]), 'NaN or infinite values in 1 of 4'),
        (np.ones((3, 2)), 'item id 3, but .* only 3 rows'),
        (np.ones(4), r'shape \[num_items, channels\] \(got float64 \[4\]\)'),
        (np.full((4, 1), 'a'), r'real numbers .* \(got <U1'),
        (np.full((4, 1), None, dtype=object), 'not a plain .npy array'),
    ],
)
def test_wrong_features(tmp_path: Path, array: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        MMRecFolder(_folder(tmp_path, image=array))


def test_files_that_disagree(tmp_path: Path) -> None:
    _folder(tmp_path, image=np.ones((5, 2)), text=np.ones((4, 2)))
    with pytest.raises(ValueError, match=r'image_feat.npy: 5, text_feat.npy: 4'):
        MMRecFolder(tmp_path)
    with pytest.raises(ValueError, match="names the modality 'my text'"):
        MMRecFolder(tmp_path, features={'my text': 'text_feat.npy'})


def test_string_ids_are_not_rows(tmp_path: Path) -> None:
    _folder(tmp_path, 'userID\titemID\n0\tB01\n', image=np.ones((4, 2)))
    with pytest.raises(ValueError, match='item ids such as B01, which are not rows'):
        MMRecFolder(tmp_path)
    assert MMRecFolder(tmp_path, features={})[0]['item'].id == ['B01']


@pytest.mark.parametrize(
    ('changes', 'match'),
    [
        ({'shape': np.array([4, 5])}, r'the shape is \[4, 5\]'),
        ({'shape': np.array([3, 3])}, r'outside of \[0, 3\)'),
        ({'shape': np.array([5])}, r'the shape is \[5\]'),
        ({'val': np.ones(2)}, 'row, col and val have shapes'),
        ({'val': np.array([1, 2, np.nan])}, 'val holds NaN'),
        ({'row': np.array([0.0, 1.0, 2.0])}, 'not integers'),
        ({'col': np.array([-1, 0, 1])}, 'ids from -1 to'),
        ({'val': None}, "no 'val' in the archive"),
    ],
)
def test_wrong_graphs(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    _graph(_folder(tmp_path), **changes)
    with pytest.raises(ValueError, match=match) as caught:
        MMRecFolder(tmp_path, item_graphs={'similar': 'graph.npz'})
    assert "'graph.npz', the item graph 'similar'" in str(caught.value)


def test_a_graph_of_another_size(tmp_path: Path) -> None:
    _graph(_folder(tmp_path, image=np.ones((5, 2))))
    with pytest.raises(ValueError, match=r'image_feat.npy: 5, graph.npz: 4'):
        MMRecFolder(tmp_path, item_graphs={'similar': 'graph.npz'})


def test_pre_transform_is_applied_once(tmp_path: Path) -> None:
    calls: list[HeteroData] = []
    dataset = MMRecFolder(_folder(tmp_path), pre_transform=lambda data: calls.__iadd__([data])[-1])
    assert len(calls) == len(list(dataset)) == 3


@pytest.mark.realdata
def test_amazon_baby(realdata_root: Path) -> None:
    names = {'similar_image': 'image_knn10_symnorm.npz', 'similar_text': 'text_knn10_symnorm.npz'}
    dataset = MMRecFolder(realdata_root / 'amazon_baby', item_graphs=names)
    train, val, test = dataset
    assert (train['user'].num_nodes, train['item'].num_nodes) == (19445, 7050)
    sizes = [d['user', 'interacts', 'item'].edge_label_index.size(1) for d in (train, val, test)]
    assert sizes == [118551, 20559, 21682]
    for name in names:
        similar = test['item', name, 'item']
        # Each item receives from ten, nearly always from itself as well.
        assert (similar.edge_index[1].bincount(minlength=7050) == 10).all()
        assert (similar.edge_index[0] == similar.edge_index[1]).sum() > 6900
    assert train.validate()


@pytest.mark.realdata
def test_lfm2k(realdata_root: Path) -> None:
    features = {'text': 'text_minilm384.npy', 'audio': 'audio_vggish128.npy'}
    folder = realdata_root / 'lfm2k_multimodal'
    train, _, test = MMRecFolder(folder, inter='lfm2k.inter', features=features)
    assert (train['user'].num_nodes, train['item'].num_nodes) == (1858, 1425)
    assert train['item'].x_audio.shape == (1425, 128)
    assert test['user', 'interacts', 'item'].edge_label_index.size(1) == 7219
    original, _, _ = MMRecFolder(folder, inter='lfm2k_og_ids.inter')
    assert original['item'].num_nodes == 1425
    assert int(original['item'].id.max()) == 8111
    with pytest.raises(ValueError, match=r'item id 8111, but .* only 1425 rows'):
        MMRecFolder(folder, inter='lfm2k_og_ids.inter', features=features)


@pytest.mark.realdata
def test_tiktok(realdata_root: Path) -> None:
    train, val, _ = MMRecFolder(realdata_root / 'tiktok_diffmm')
    assert (train['user'].num_nodes, train['item'].num_nodes) == (9308, 6710)
    assert val['user', 'interacts', 'item'].edge_label_index.size(1) == 3051
    for modality in ('image', 'audio'):
        assert train['item'][f'x_{modality}'].dtype == torch.float32
        assert train['item'][f'x_{modality}'].sum(dim=1).isfinite().all()


@pytest.mark.realdata
def test_movielens(realdata_root: Path) -> None:
    (data,) = MMRecFolder(realdata_root / 'ml100k_multimodal')
    assert data['user'].id.tolist() == list(range(1, 944))
    assert data['item'].id.tolist() == list(range(1, 1683))
    interacts = data['user', 'interacts', 'item']
    # The file's first line: user 196, item 242, rating 3, at 881250949.
    assert interacts.edge_index[:, 0].tolist() == [195, 241]
    assert (float(interacts.rating[0]), int(interacts.time[0])) == (3.0, 881250949)
    assert interacts.edge_index.size(1) == 100000
