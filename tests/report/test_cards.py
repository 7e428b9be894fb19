from pathlib import Path

import pytest
from PIL import Image

from pyg_mmgef.catalog import Catalog
from pyg_mmgef.report._cards import Cards, Titles, category_of


def catalog(tmp_path: Path) -> Catalog:
    Image.new('RGB', (400, 200), 'red').save(tmp_path / 'lamp.png')
    (tmp_path / 'broken.png').write_bytes(b'not a picture')
    titles = ['Desk lamp', 'Floor lamp', 'Rug', '4', 'A very long title ' * 10]
    return Catalog(
        [1, 2, 3, 4, 5],
        titles=titles,
        pictures=[
            tmp_path / 'lamp.png',
            tmp_path / 'broken.png',
            tmp_path / 'none.png',
            None,
            None,
        ],
        fields={
            'title': titles,
            'about': [
                f'{title}, and many words about it that no card has room for' for title in titles
            ],
            'colour': ['red', 'blue', 'red', 'blue', 'red'],
            'category': ['Lamps', 'Lamps', 'Rugs', 'Rugs', None],
            'price': [19.5, 45, None, 3, 4],
            'year': [1999, 2001, None, 3, 4],
        },
    )


def test_fields_stand_apart(tmp_path: Path) -> None:
    cards = Cards(catalog(tmp_path), 'category')
    assert cards(0)['title'] == 'Desk lamp'
    assert cards(0)['id'] == '1'
    assert cards(0)['fields'] == [('', 'Lamps'), ('', 'red'), ('price', '19.50')]
    assert cards(2)['fields'] == [('', 'Rugs'), ('', 'red')]
    assert Cards(catalog(tmp_path)).fields == {'colour': False, 'category': False, 'price': False}


def test_whole_numbers_have_no_decimals() -> None:
    cards = Cards(Catalog(['a', 'b'], fields={'year': [1999, None]}))
    assert cards(0)['fields'] == [('year', '1999')]


def test_a_title_that_is_the_id_is_said_once(tmp_path: Path) -> None:
    cards = Cards(catalog(tmp_path))
    assert (cards(3)['title'], cards(3)['id']) == ('4', '')


def test_pictures(tmp_path: Path) -> None:
    cards = Cards(catalog(tmp_path))
    pictures = [cards(row)['picture'] for row in range(4)]
    assert pictures[0].startswith('data:image/jpeg;base64,')
    assert pictures[1:] == [None, None, None]
    assert cards.small(0)['picture'] not in (None, pictures[0])


def test_titles_are_shortened_when_read(tmp_path: Path) -> None:
    titles = Titles(catalog(tmp_path))
    assert len(titles) == 5
    assert titles[1:3] == ['Floor lamp', 'Rug']
    assert len(titles[4]) <= 80
    assert titles[4].endswith('...')


def test_the_category_is_found(tmp_path: Path) -> None:
    shop = catalog(tmp_path)
    assert category_of(shop) == 'category'
    assert category_of(shop, 'colour') == 'colour'
    with pytest.raises(ValueError, match="'category' names the field 'colr'"):
        category_of(shop, 'colr')
    assert category_of(Catalog(['a', 'b', 'c'], fields={'price': [1, 2, 3]})) is None
    assert category_of(Catalog(['a', 'b'], fields={'maker': ['x', 'y']})) is None
    assert category_of(Catalog(list('abcd'), fields={'maker': ['x', 'y', 'x', 'y']})) == 'maker'
