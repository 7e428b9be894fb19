import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.datasets.tables._pictures import find_pictures, picture_folder
from pyg_mmgef.tables._picture_folder import NotFound, PictureFolder, near_folders

pa = pytest.importorskip('pyarrow')


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'x')
    return folder


def relative(folder: Path, paths: Sequence[Sequence[Path]]) -> list[list[str]]:
    return [[path.relative_to(folder).as_posix() for path in of_item] for of_item in paths]


def found_by_id(folder: Path, *ids: Any, images: str = 'mean') -> list[list[str]]:
    return relative(folder, find_pictures(None, ids, folder, images).paths)


def found_by_name(folder: Path, *cells: str | None, images: str = 'mean') -> list[list[str]]:
    return relative(folder, find_pictures(cells, range(len(cells)), folder, images).paths)


def test_ids_in_subfolders(tmp_path: Path) -> None:
    make(tmp_path, '010/0108775015.jpg', '010/0108775044.jpg', '011/0110065001.JPG', 'notes.txt')
    ids = ('0108775015', '0108775044', '0110065001', '9')
    assert found_by_id(tmp_path, *ids) == [
        ['010/0108775015.jpg'],
        ['010/0108775044.jpg'],
        ['011/0110065001.JPG'],
        [],
    ]


def test_several_files_of_an_id(tmp_path: Path) -> None:
    make(tmp_path, 'a_10.jpg', 'a_2.jpg', 'a.png', 'a.jpg', 'b_1.webp', 'c_1.jpg', 'c_1_2.jpg')
    expected = [['a.jpg', 'a_2.jpg', 'a_10.jpg'], ['b_1.webp'], ['c_1.jpg', 'c_1_2.jpg']]
    assert found_by_id(tmp_path, 'a', 'b', 'c_1') == expected
    assert found_by_id(tmp_path, 'a', 'b', images='first') == [['a.jpg'], ['b_1.webp']]


def test_a_subfolder_for_each_id(tmp_path: Path) -> None:
    make(tmp_path, '1/2.jpg', '1/10.jpg', '1/1.jpg', '2/1.jpg', '3/large/front.jpg')
    assert found_by_id(tmp_path, 1, 2, 3) == [
        ['1/1.jpg', '1/2.jpg', '1/10.jpg'],
        ['2/1.jpg'],
        ['3/large/front.jpg'],
    ]


def test_subfolders_by_first_digit_are_no_ids(tmp_path: Path) -> None:
    make(tmp_path, '1/11.jpg', '1/12.jpg', '2/21.jpg', '2/1.jpg')
    assert found_by_id(tmp_path, 1, 11, 12, 21) == [
        ['2/1.jpg'],
        ['1/11.jpg'],
        ['1/12.jpg'],
        ['2/21.jpg'],
    ]


def test_of_several_sizes_of_a_picture_that_at_the_top_counts(tmp_path: Path) -> None:
    make(tmp_path, 'a.jpg', 'thumbs/a.jpg', 'large/b.jpg', 'thumbs/b.jpg')
    found = find_pictures(None, ['a', 'b'], tmp_path)
    assert relative(tmp_path, found.paths) == [['a.jpg'], []]
    assert found.report[NotFound.AMBIGUOUS.value] == 1


def test_names_anywhere_below(tmp_path: Path) -> None:
    folder = make(tmp_path / 'photos', 'red/1.jpg', 'blue/1.jpg', 'blue/2.jpg', 'a,b;c.jpg')
    names = ('red/1.jpg', '2.jpg', 'blue\\1.jpg', 'photos/red/1.jpg', 'a,b;c.jpg', './blue/2.jpg')
    assert found_by_name(folder, *names) == [
        ['red/1.jpg'],
        ['blue/2.jpg'],
        ['blue/1.jpg'],
        ['red/1.jpg'],
        ['a,b;c.jpg'],
        ['blue/2.jpg'],
    ]
    found = find_pictures(['1.jpg', 'red/2.jpg', '2.jpg'], [1, 2, 3], folder)
    assert relative(folder, found.paths) == [[], [], ['blue/2.jpg']]
    assert found.report[NotFound.AMBIGUOUS.value] == 1
    assert found.report[NotFound.ABSENT.value] == 1


def test_names_of_another_system(tmp_path: Path) -> None:
    make(tmp_path, unicodedata.normalize('NFD', 'Café.jpg'), 'x/' + 'é.jpg')
    names = [unicodedata.normalize('NFC', 'Café.jpg'), unicodedata.normalize('NFD', 'é.jpg')]
    assert all(find_pictures(names, [1, 2], tmp_path).paths)
    assert all(find_pictures(None, [name[:-4] for name in names], tmp_path).paths)


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    make(tmp_path, 'a.jpg', '._b.jpg', '.cache/c.jpg')
    assert found_by_id(tmp_path, 'a', '._b', 'c') == [['a.jpg'], [], []]


LISTS: list[list[Any]] = [
    [['a.jpg', 'b.jpg'], ['b.jpg'], []],
    ['a.jpg|b.jpg', 'b.jpg', None],
]


@pytest.mark.parametrize('pictures', LISTS)
def test_columns_with_several_pictures(tmp_path: Path, pictures: list[Any]) -> None:
    make(tmp_path, 'a.jpg', 'b.jpg')
    orders = pa.table({'user_id': [1, 1, 2], 'item_id': ['x', 'y', 'z']})
    items = pa.table({'item_id': ['x', 'y', 'z'], 'pics': pictures})
    first = InteractionTables(orders, items, image='pics', image_folder=tmp_path)
    assert first.item_images == [tmp_path / 'a.jpg', tmp_path / 'b.jpg', None]
    assert [len(paths) for paths in first.item_pictures] == [1, 1, 0]
    assert first.report['items without a picture'] == 1
    every = InteractionTables(orders, items, image='pics', image_folder=tmp_path, images='mean')
    assert every.item_images == first.item_images
    assert relative(tmp_path, every.item_pictures) == [['a.jpg', 'b.jpg'], ['b.jpg'], []]


def test_lists_beside_names_in_a_data_frame(tmp_path: Path) -> None:
    pandas = pytest.importorskip('pandas')
    make(tmp_path, 'a.jpg', 'b.jpg')
    pictures = [['none.jpg', 'a.jpg'], 'b.jpg', None, ('b.jpg',)]
    items = pandas.DataFrame({'item_id': range(4), 'pics': pictures})
    orders = pa.table({'user_id': [1] * 4, 'item_id': range(4)})
    dataset = InteractionTables(orders, items, image='pics', image_folder=tmp_path, text='pics')
    assert relative(tmp_path, dataset.item_pictures) == [['a.jpg'], ['b.jpg'], [], ['b.jpg']]
    assert dataset.item_texts == ['none.jpg a.jpg', 'b.jpg', None, 'b.jpg']


def test_lists_in_json_lines(tmp_path: Path) -> None:
    make(tmp_path, 'a.jpg')
    (tmp_path / 'i.jsonl').write_text('{"item_id": "x", "pics": ["none.jpg", "a.jpg"]}\n')
    orders = pa.table({'user_id': [1], 'item_id': ['x']})
    dataset = InteractionTables(orders, tmp_path / 'i.jsonl', image='pics')
    assert dataset.item_images == [tmp_path / 'a.jpg']
    assert dataset.report['picture names without a file'] == 1


def test_addresses_are_explained(tmp_path: Path) -> None:
    make(tmp_path, 'b.jpg')
    cells = ['https://images.example.com/a.jpg', 'b.jpg', None]
    with pytest.warns(UserWarning, match=r"aren't files.*'download_images'") as record:
        found = find_pictures(cells, [1, 2, 3], tmp_path)
    assert len(record) == 1
    assert relative(tmp_path, found.paths) == [[], ['b.jpg'], []]
    assert found.report['picture addresses that are not downloaded'] == 1
    with pytest.raises(ValueError, match=r"none of 1 items.*aren't files"):
        find_pictures(cells[:1], [1], tmp_path)


def test_links_that_lead_out(tmp_path: Path) -> None:
    outside = make(tmp_path / 'outside', 'secret.png', 'other.png')
    folder = make(tmp_path / 'shop', 'real/a.png')
    (folder / 'secret.png').symlink_to(outside / 'secret.png')
    (folder / 'door').symlink_to(outside)
    (folder / 'notes.txt').symlink_to('/etc/hosts')
    (folder / 'inside.png').symlink_to('real/a.png')
    (folder / 'loop.png').symlink_to('loop.png')
    (folder / 'nowhere.png').symlink_to('gone.png')
    (folder / 'real' / 'up').symlink_to('..')
    names = ['secret.png', 'door/other.png', 'inside.png', 'other.png']
    found = find_pictures(names, [1, 2, 3, 4], folder)
    assert relative(folder, found.paths) == [[], [], ['inside.png'], []]
    assert found.report[NotFound.LINK.value] == 2
    assert found.report[NotFound.ABSENT.value] == 1
    by_id = find_pictures(None, ['secret', 'other', 'inside'], folder)
    assert relative(folder, by_id.paths) == [[], [], ['inside.png']]
    assert by_id.report[NotFound.LINK.value] == 2


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    make(tmp_path / 'disk', 'x/a.png')
    (tmp_path / 'photos').symlink_to('disk')
    assert found_by_id(tmp_path / 'photos', 'a') == [['x/a.png']]
    assert found_by_name(tmp_path / 'photos', 'x/a.png') == [['x/a.png']]


@pytest.mark.parametrize('cells', [['p1.jpg'], None])
def test_no_picture_is_an_error_that_names_folders_nearby(
    tmp_path: Path, cells: list[str] | None
) -> None:
    make(tmp_path, 'tables/items.csv', 'img/p1.jpg', 'old/img/p1.jpg', 'docs/a.txt')
    with pytest.raises(
        ValueError, match=r"none of 1 items .*holds no pictures; did you mean '.*img'"
    ):
        find_pictures(cells, ['p1'], tmp_path / 'tables')
    with pytest.raises(ValueError, match=r"holds pictures such as 'p1.jpg'"):
        find_pictures(['q.jpg'], ['q'], tmp_path / 'img')


def test_a_missing_folder(tmp_path: Path) -> None:
    make(tmp_path, 'img/p1.jpg')
    with pytest.raises(
        FileNotFoundError, match=r"existing folder \(got '.*/images'\); did you mean"
    ):
        picture_folder(tmp_path / 'images', None, None)
    assert near_folders(tmp_path / 'images' / 'deeper') == [str(tmp_path / 'img')]


def test_few_pictures_are_a_warning(tmp_path: Path) -> None:
    make(tmp_path, 'p1.jpg')
    names = [f'p{n}.jpg' for n in range(20)]
    with pytest.warns(UserWarning, match=r'^1 of 20 items .*19 picture names without a file'):
        find_pictures(names, range(20), tmp_path)


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    make(tmp_path, 'a.jpg')
    files = PictureFolder(tmp_path)
    for name in (300 * 'x' + '.jpg', 'a\0b.jpg', 'x' * 5000 + '/a.jpg', '.'):
        assert files.find(name) is NotFound.ABSENT


def test_a_column_without_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'image' is a column that names no picture"):
        find_pictures([None, '[]'], [1, 2], tmp_path)


def test_wrong_choice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'images' must be one of 'first', 'mean'"):
        find_pictures(None, [1], tmp_path, 'last')
