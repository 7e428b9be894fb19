from pathlib import Path

import pytest
import torch

from pyg_mmgef.datasets import MicroLens
from pyg_mmgef.schema import CO_INTERACTS
from pyg_mmgef.transforms import AddCoInteractionGraph

pytest.importorskip('pyarrow')
pytest.importorskip('duckdb')

PAIRS = ['1,7,1662983997002', '1,12,1663000000001', '2,7,1583378629552', '3,12,1650000000000']
TITLES = ['item,title', '7,Cats, dogs and 猫', '12,"A ""quoted"", title"', '30,An "open quote']


def _folder(folder: Path, size: str = '50k', titles: list[str] = TITLES) -> Path:
    (folder / f'MicroLens-{size}_pairs.csv').write_text('\n'.join(['user,item,timestamp', *PAIRS]))
    name = {'50k': 'titles', '100k': 'title_en', '1M': 'title'}[size]
    text = '\n'.join(titles) + '\n'
    (folder / f'MicroLens-{size}_{name}.csv').write_text(text, encoding='utf-8')
    return folder


def test_50k(tmp_path: Path) -> None:
    covers = tmp_path / 'MicroLens-50k_covers'
    covers.mkdir()
    (covers / '7.jpg').write_bytes(b'x')
    dataset = MicroLens(_folder(tmp_path))
    assert list(dataset.user_ids) == [1, 2, 3]
    assert list(dataset.item_ids) == [7, 12, 30]
    interacts = dataset[0]['user', 'interacts', 'item']
    assert interacts.edge_index.tolist() == [[0, 0, 1, 2], [0, 1, 0, 1]]
    assert interacts.time.tolist() == [1662983997002, 1663000000001, 1583378629552, 1650000000000]
    assert dataset.item_texts == ['Cats, dogs and 猫', 'A "quoted", title', 'An "open quote']
    assert dataset.item_images == [covers / '7.jpg', None, None]
    assert dataset.report['item rows that could not be parsed'] == 0
    assert repr(dataset) == 'MicroLens(num_users=3, num_items=3, num_interactions=4)'


@pytest.mark.parametrize('size', ['100k', '1M'])
def test_titles_without_a_header(tmp_path: Path, size: str) -> None:
    titles = ['7, Cats', '12,', '30,"never closed', '40,一个 "标题', 'no id,x']
    dataset = MicroLens(_folder(tmp_path, size, titles))
    assert list(dataset.item_ids) == [7, 12, 30, 40]
    assert dataset.item_texts == ['Cats', None, '"never closed', '一个 "标题']
    assert dataset.report['item rows that could not be parsed'] == 1
    assert dataset.report['items without a text'] == 1


def test_pairs_without_a_header(tmp_path: Path) -> None:
    (_folder(tmp_path) / 'MicroLens-50k_pairs.csv').write_text('\n'.join(PAIRS))
    interacts = MicroLens(tmp_path)[0]['user', 'interacts', 'item']
    assert interacts.edge_index.tolist() == [[0, 0, 1, 2], [0, 1, 0, 1]]


def test_sequences(tmp_path: Path) -> None:
    (_folder(tmp_path) / 'MicroLens-50k_pairs.csv').unlink()
    lines = '1\t12 7 30\n2\t7\n\nbroken\n'
    (tmp_path / 'MicroLens-50k_pairs.tsv').write_text(lines)
    dataset = MicroLens(tmp_path)
    interacts = dataset[0]['user', 'interacts', 'item']
    assert interacts.edge_index.tolist() == [[0, 0, 0, 1], [1, 0, 2, 0]]
    assert interacts.time.tolist() == [0, 1, 2, 0]
    assert dataset.report['rows that could not be parsed'] == 1


def test_filters_and_another_table_of_videos(tmp_path: Path) -> None:
    tags = tmp_path / 'tags.csv'
    tags.write_text('video,title,tag\n7,Cats,animals\n30,Cars,traffic\n')
    (tmp_path / 'pictures').mkdir()
    (tmp_path / 'pictures' / '7.png').write_bytes(b'x')
    dataset = MicroLens(
        _folder(tmp_path),
        items=tags,
        item_id='video',
        text=('tag', 'title'),
        cover_folder=tmp_path / 'pictures',
        since='2022-01-01',
        until='2022-09-12T12:00:00',
        keep_cold=False,
    )
    assert list(dataset.item_ids) == [7, 12]
    assert dataset.item_texts == ['animals Cats', None]
    assert dataset.item_images == [tmp_path / 'pictures' / '7.png', None]
    assert dataset.report['rows before since'] == 1
    assert dataset.report['rows from until on'] == 1


def test_one_size_of_several(tmp_path: Path) -> None:
    _folder(_folder(tmp_path), '100k', ['7,of 100k', '12,too'])
    assert MicroLens(tmp_path, '100k').item_texts == ['of 100k', 'too']
    with pytest.raises(ValueError, match=r"\['100k', '50k'\]; name one with 'size'"):
        MicroLens(tmp_path)
    with pytest.raises(FileNotFoundError, match="must hold 'MicroLens-1M_pairs"):
        MicroLens(tmp_path, '1M')


def test_k_core(tmp_path: Path) -> None:
    (_folder(tmp_path) / 'MicroLens-50k_pairs.csv').write_text(
        '\n'.join(['user,item,timestamp', *PAIRS, '2,12,1', '3,30,2'])
    )
    dataset = MicroLens(tmp_path, k_core=2)
    assert list(dataset.user_ids) == [1, 2]
    assert list(dataset.item_ids) == [7, 12]


def test_pre_transform_is_stored_in_the_folder(tmp_path: Path) -> None:
    data = MicroLens(_folder(tmp_path), pre_transform=AddCoInteractionGraph(k=1))[0]
    (file,) = (tmp_path / 'processed').iterdir()
    stored = torch.load(file, weights_only=True)['graph'][CO_INTERACTS]
    assert torch.equal(stored['edge_index'], data[CO_INTERACTS].edge_index)
    with pytest.raises(ValueError, match="'pre_filter' refuses"):
        MicroLens(tmp_path, pre_filter=lambda data: False, force_reload=True)[0]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'root' must be an existing folder"):
        MicroLens(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match=r"'MicroLens-<size>_pairs.csv' or .*holds \[\]"):
        MicroLens(tmp_path)
    (tmp_path / 'MicroLens-50k_pairs.csv').write_text('user,item\n1,7\n')
    with pytest.raises(ValueError, match=r"must have the columns \['user', 'item', 'timestamp'\]"):
        MicroLens(tmp_path)
    (_folder(tmp_path) / 'MicroLens-50k_titles.csv').unlink()
    with pytest.raises(FileNotFoundError, match=r"'MicroLens-50k_titles.csv' \(found \[\]\)"):
        MicroLens(tmp_path)
