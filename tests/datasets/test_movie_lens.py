from pathlib import Path

import pytest
import torch

from pyg_mmgef.datasets import MovieLens
from pyg_mmgef.schema import CO_INTERACTS
from pyg_mmgef.transforms import AddCoInteractionGraph

pytest.importorskip('pyarrow')

U_DATA = '196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n186\t242\t5\t891\n'
U_ITEM = [
    '242|Kolya (1996)|24-Jan-1997||http://x|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0',
    '302|Misérables, Les|01-Jan-1995||http://x|0|0|0|0|0|0|0|0|1|0|0|0|1|0|0|0|0|0|0',
    '267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0',
    '5|broken',
]


def _small(folder: Path) -> Path:
    (folder / 'u.data').write_text(U_DATA)
    (folder / 'u.item').write_bytes('\n'.join(U_ITEM).encode('latin-1'))
    return folder


def test_100k(tmp_path: Path) -> None:
    dataset = MovieLens(_small(tmp_path))
    data = dataset[0]
    assert list(dataset.user_ids) == [22, 186, 196]
    assert list(dataset.item_ids) == [242, 267, 302, 377]
    interacts = data['user', 'interacts', 'item']
    assert interacts.edge_index.tolist() == [[2, 1, 0, 1], [0, 2, 3, 0]]
    assert interacts.rating.tolist() == [3, 3, 1, 5]
    assert interacts.time.tolist() == [881250949, 891717742, 878887116, 891]
    assert dataset.item_texts == [
        'Kolya (1996) Comedy',
        None,
        'Misérables, Les Drama Musical',
        None,
    ]
    assert dataset.report['item rows that could not be parsed'] == 1
    assert dataset.report['items that the item table lacks'] == 1
    assert repr(dataset) == 'MovieLens(num_users=3, num_items=4, num_interactions=4)'


def test_posters_and_filters(tmp_path: Path) -> None:
    (tmp_path / 'posters').mkdir()
    (tmp_path / 'posters' / '242.jpg').write_bytes(b'x')
    dataset = MovieLens(
        _small(tmp_path), poster_folder=tmp_path / 'posters', min_rating=3, keep_cold=False
    )
    assert list(dataset.item_ids) == [242, 302]
    assert dataset.item_images == [tmp_path / 'posters' / '242.jpg', None]


def test_pre_transform_is_stored_in_the_folder(tmp_path: Path) -> None:
    transform = AddCoInteractionGraph(k=1)
    data = MovieLens(_small(tmp_path), pre_transform=transform)[0]
    (file,) = (tmp_path / 'processed').iterdir()
    stored = torch.load(file, weights_only=True)['graph'][CO_INTERACTS]
    assert torch.equal(stored['edge_index'], data[CO_INTERACTS].edge_index)
    with pytest.warns(UserWarning, match="'pre_transform' is AddCoInteractionGraph"):
        MovieLens(tmp_path, pre_transform=AddCoInteractionGraph(k=2))[0]
    with pytest.raises(ValueError, match="'pre_filter' refuses"):
        MovieLens(tmp_path, pre_filter=lambda data: False, force_reload=True)[0]


@pytest.mark.parametrize('encoding', ['latin-1', 'utf-8'])
def test_1m_and_10m(tmp_path: Path, encoding: str) -> None:
    ratings = '1::1193::5::978300760\n1::661::3.5::978302109\n2::661::oops\n2::1193::4::978298413'
    (tmp_path / 'ratings.dat').write_text(ratings)
    movies = '661::Élisa: a "tale" (1995)::Children\'s|Drama\n1193::Toy::(no genres listed)\n'
    (tmp_path / 'movies.dat').write_bytes(movies.encode(encoding))
    dataset = MovieLens(tmp_path)
    assert dataset[0]['user', 'interacts', 'item'].edge_index.tolist() == [[0, 0, 1], [1, 0, 1]]
    assert dataset.item_texts == ['Élisa: a "tale" (1995) Children\'s Drama', 'Toy']
    assert dataset.report['rows that could not be parsed'] == 1


def test_20m(tmp_path: Path) -> None:
    (tmp_path / 'ratings.csv').write_text('userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n')
    (tmp_path / 'movies.csv').write_text(
        'movieId,title,genres\n2,"Jumanji, a (1995)",Adventure|War\n'
    )
    dataset = MovieLens(tmp_path)
    assert dataset.item_texts == ['Jumanji, a (1995) Adventure War']
    assert dataset[0]['user', 'interacts', 'item'].rating.tolist() == [3.5]


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'root' must be an existing folder"):
        MovieLens(tmp_path / 'nowhere')
    (tmp_path / 'u.data').write_text(U_DATA)
    with pytest.raises(FileNotFoundError, match=r"it holds \['u.data'\]"):
        MovieLens(tmp_path)


@pytest.mark.realdata
def test_other_texts_of_the_movies(realdata_root: Path, tmp_path: Path) -> None:
    folder = realdata_root / 'ml100k_multimodal'
    _, *lines = (folder / 'ml-100k.inter').read_text().splitlines(keepends=True)
    (tmp_path / 'u.data').write_text(''.join(lines))
    (tmp_path / 'u.item').write_text('')
    dataset = MovieLens(
        tmp_path,
        items=folder / 'item_text_poster.csv',
        text=('title', 'plot'),
        poster_folder=folder / 'posters',
    )
    assert repr(dataset) == 'MovieLens(num_users=943, num_items=1682, num_interactions=100000)'
    assert (dataset.item_texts[1] or '').startswith('GoldenEye (1995) Years after a friend')
    assert sum(path is not None for path in dataset.item_images) == 1445
