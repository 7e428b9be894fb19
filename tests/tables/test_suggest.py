from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from pyg_mmgef.tables._cells import time_of_text
from pyg_mmgef.tables.suggest import TableSample, event_kinds, suggest_columns, suggest_fields


def table(*rows: dict[str, Any]) -> TableSample:
    return TableSample(dict.fromkeys(rows[0], 'VARCHAR'), rows)


def sample(**columns: list[Any]) -> TableSample:
    cells = zip(*columns.values(), strict=True)
    rows = [dict(zip(columns, row, strict=True)) for row in cells]
    return TableSample(dict.fromkeys(columns, 'VARCHAR'), rows)


# Headers and rows as in the public files, by the name of the data set.
INTERACTIONS = {
    'MovieLens 25M': (
        table({'userId': '1', 'movieId': '296', 'rating': '5.0', 'timestamp': '1147880044'}),
        ('userId', 'movieId', 'timestamp', 'rating'),
    ),
    'RecBole': (
        table(
            {
                'user_id:token': '196',
                'item_id:token': '242',
                'rating:float': '3',
                'timestamp:float': '881250949',
            }
        ),
        ('user_id:token', 'item_id:token', 'timestamp:float', 'rating:float'),
    ),
    'MMRec': (
        table(
            {
                'userID': '0',
                'itemID': '5',
                'rating': '5.0',
                'timestamp': '1390867200',
                'x_label': '0',
            }
        ),
        ('userID', 'itemID', 'timestamp', 'rating'),
    ),
    'Amazon 2018': (
        table(
            {
                'overall': 5.0,
                'verified': True,
                'reviewTime': '03 11, 2014',
                'reviewerID': 'A1KLRMWW2FWPL4',
                'asin': '0000031887',
                'reviewerName': 'Amy "camera"',
                'reviewText': 'This is a great tutu',
                'summary': 'Great tutu',
                'unixReviewTime': 1394496000,
            }
        ),
        ('reviewerID', 'asin', 'unixReviewTime', 'overall'),
    ),
    'Amazon 2023': (
        table(
            {
                'rating': 5.0,
                'title': 'Such a lovely scent',
                'text': 'This spray is',
                'images': [],
                'asin': 'B00YQ6X8EO',
                'parent_asin': 'B00YQ6X8EO',
                'user_id': 'AGKHLEW2SOWHNMFQIJGBECAF7INQ',
                'timestamp': 1588687728923,
                'helpful_vote': 0,
                'verified_purchase': True,
            }
        ),
        ('user_id', 'parent_asin', 'timestamp', 'rating'),
    ),
    'H&M': (
        table(
            {
                't_dat': '2018-09-20',
                'customer_id': '000058a12d5b43e67d225668fa1f8d61',
                'article_id': '0663713001',
                'price': '0.0508',
                'sales_channel_id': '2',
            }
        ),
        ('customer_id', 'article_id', 't_dat', None),
    ),
    'RetailRocket': (
        table(
            {
                'timestamp': '1433221332117',
                'visitorid': '257597',
                'event': 'view',
                'itemid': '355908',
                'transactionid': '',
            }
        ),
        ('visitorid', 'itemid', 'timestamp', None),
    ),
    'REES46': (
        table(
            {
                'event_time': '2019-10-01 00:00:00 UTC',
                'event_type': 'view',
                'product_id': '44600062',
                'category_id': '2103807459595387724',
                'category_code': '',
                'brand': 'shiseido',
                'price': '35.79',
                'user_id': '541312140',
                'user_session': '72d76fde-8bb3-4e00-8c23-a032dfed738c',
            }
        ),
        ('user_id', 'product_id', 'event_time', None),
    ),
    'Book-Crossing': (
        table({'User-ID': '276725', 'ISBN': '034545104X', 'Book-Rating': '0'}),
        ('User-ID', 'ISBN', None, 'Book-Rating'),
    ),
    'Yelp': (
        table(
            {
                'review_id': 'KU_O5udG6zpxOg',
                'user_id': 'mh_-eMZ6K5RLWh',
                'business_id': 'XQfwVwDr-v0ZS',
                'stars': 3.0,
                'useful': 0,
                'funny': 0,
                'text': 'If you decide',
                'date': datetime(2018, 7, 7, 22, 9, 11),
            }
        ),
        ('user_id', 'business_id', 'date', 'stars'),
    ),
    'Online Retail': (
        table(
            {
                'InvoiceNo': '536365',
                'StockCode': '85123A',
                'Description': 'WHITE HANGING HEART',
                'Quantity': 6,
                'InvoiceDate': datetime(2010, 12, 1, 8, 26),
                'UnitPrice': 2.55,
                'CustomerID': 17850.0,
                'Country': 'United Kingdom',
            }
        ),
        ('CustomerID', 'StockCode', 'InvoiceDate', None),
    ),
    'Anime': (
        table({'user_id': '1', 'anime_id': '20', 'rating': '-1'}),
        ('user_id', 'anime_id', None, 'rating'),
    ),
    'Gowalla': (
        table(
            {
                'user': '0',
                'check-in time': '2010-10-19T23:55:27Z',
                'latitude': '30.23',
                'longitude': '-97.79',
                'location id': '22847',
            }
        ),
        ('user', 'location id', 'check-in time', None),
    ),
    'Diginetica': (
        table(
            {
                'sessionId': '1',
                'userId': 'NA',
                'itemId': '9654',
                'timeframe': '498246',
                'eventdate': '2016-05-09',
            },
            {
                'sessionId': '2',
                'userId': '17',
                'itemId': '33043',
                'timeframe': '501242',
                'eventdate': '2016-05-09',
            },
        ),
        ('userId', 'itemId', 'eventdate', None),
    ),
    'YooChoose with a header': (
        table(
            {
                'session_id': '1',
                'timestamp': '2014-04-07T10:51:09.277Z',
                'item_id': '214536502',
                'category': '0',
            }
        ),
        ('session_id', 'item_id', 'timestamp', None),
    ),
    'Goodreads': (
        table(
            {'user_id': '0', 'book_id': '948', 'is_read': '1', 'rating': '5', 'is_reviewed': '0'}
        ),
        ('user_id', 'book_id', None, 'rating'),
    ),
    'BeerAdvocate': (
        table(
            {
                'brewery_id': '10325',
                'review_time': '1234817823',
                'review_overall': '1.5',
                'review_aroma': '2',
                'review_profilename': 'stcules',
                'beer_name': 'Sausa Weizen',
                'beer_abv': '5.0',
                'beer_beerid': '47986',
            }
        ),
        (None, 'beer_beerid', 'review_time', 'review_overall'),
    ),
}


@pytest.mark.parametrize('name', INTERACTIONS)
def test_interactions_of_public_data_sets(name: str) -> None:
    table, expected = INTERACTIONS[name]
    found = suggest_columns(table)
    wanted = dict(zip(('user', 'item', 'time', 'rating'), expected, strict=True))
    assert found == {key: () if name is None else (name,) for key, name in wanted.items()}


ITEMS = {
    'MovieLens 25M': (
        table({'movieId': '296', 'title': 'Pulp Fiction (1994)', 'genres': 'Comedy|Crime'}),
        ('movieId', ('title', 'genres'), ()),
    ),
    'RecBole': (
        table(
            {
                'item_id:token': '242',
                'movie_title:token_seq': 'Kolya',
                'release_year:token': '1996',
                'class:token_seq': 'Comedy',
            }
        ),
        ('item_id:token', ('movie_title:token_seq', 'class:token_seq'), ()),
    ),
    'Amazon 2018': (
        table(
            {
                'asin': '0000031887',
                'title': 'Girls Ballet Tutu',
                'feature': ['Botiquecutie', 'Hot'],
                'description': ['A ballet tutu'],
                'price': '$3.17',
                'imageURL': ['http://ecx.images-amazon.com/51fA.jpg'],
                'brand': 'Coxlures',
                'category': ['Sports', 'Dance'],
                'also_buy': [],
                'rank': '',
            }
        ),
        ('asin', ('title', 'brand', 'category', 'feature', 'description'), ('imageURL',)),
    ),
    'H&M': (
        table(
            {
                'article_id': '0663713001',
                'product_code': '0663713',
                'prod_name': 'Strap top',
                'product_type_no': '253',
                'product_type_name': 'Vest top',
                'colour_group_name': 'Black',
                'index_code': 'A',
                'detail_desc': 'Jersey top',
            },
            {
                'article_id': '0663713002',
                'product_code': '0663713',
                'prod_name': 'Strap top',
                'product_type_no': '253',
                'product_type_name': 'Vest top',
                'colour_group_name': 'White',
                'index_code': 'A',
                'detail_desc': 'Jersey top',
            },
        ),
        ('article_id', ('prod_name', 'product_type_name', 'colour_group_name', 'detail_desc'), ()),
    ),
    'Book-Crossing': (
        table(
            {
                'ISBN': '034545104X',
                'Book-Title': 'Flesh Tones: A Novel',
                'Book-Author': 'M. J. Rose',
                'Year-Of-Publication': '2002',
                'Publisher': 'Ballantine Books',
            }
        ),
        ('ISBN', ('Book-Title', 'Book-Author', 'Publisher'), ()),
    ),
    'Yelp': (
        table(
            {
                'business_id': 'XQfwVwDr-v0ZS',
                'name': 'Turning Point',
                'address': '1460 Bethlehem Pike',
                'city': 'Philadelphia',
                'stars': 3.0,
                'review_count': 169,
                'categories': 'Restaurants, Breakfast & Brunch',
            }
        ),
        ('business_id', ('name', 'categories'), ()),
    ),
    'Anime': (
        table(
            {
                'anime_id': '20',
                'name': 'Naruto',
                'genre': 'Action, Comedy',
                'type': 'TV',
                'episodes': '220',
                'rating': '7.81',
                'members': '683297',
            }
        ),
        ('anime_id', ('name', 'genre', 'type'), ()),
    ),
}


@pytest.mark.parametrize('name', ITEMS)
def test_items_of_public_data_sets(name: str) -> None:
    interactions, _ = INTERACTIONS[name]
    items, (item_id, text, image) = ITEMS[name]
    found = suggest_columns(interactions, items)
    assert (found['item_id'], found['text'], found['image']) == ((item_id,), text, image)


def test_a_given_column_is_not_suggested() -> None:
    table = sample(user_id=['a'], customer_id=['b'], item_id=['c'])
    assert suggest_columns(table)['user'] == ('user_id', 'customer_id')
    found = suggest_columns(table, given={'user': ('customer_id',)})
    assert found == {'item': ('item_id',), 'time': (), 'rating': ()}


def test_ids_that_no_name_tells_are_not_guessed() -> None:
    table = sample(who=['a', 'b'], what=['c', 'd'])
    assert suggest_columns(table) == {'user': (), 'item': (), 'time': (), 'rating': ()}


@pytest.mark.parametrize(
    ('cells', 'fits'),
    [
        ([3, 4.5], True),
        ([Decimal('3.5'), 1], True),
        (['3', '4.5'], True),
        ([3, None], False),  # The row without a rating would be skipped.
        (['3', 'NaN'], False),
        (['good', '4'], False),
        ([True, False], False),
    ],
)
def test_ratings_are_numbers(cells: list[Any], fits: bool) -> None:
    table = sample(user=['a', 'b'], item=['c', 'd'], rating=cells)
    assert suggest_columns(table)['rating'] == (('rating',) if fits else ())


@pytest.mark.parametrize(
    ('name', 'cells', 'fits'),
    [
        ('time', [1, 2], True),
        ('order_date', [date(2024, 1, 1), date(2024, 1, 2)], True),
        ('ordered', ['2024-01-01', '2024-01-02T10:00:00Z'], True),  # By its values alone.
        ('ordered', [1, 2], False),
        ('time', ['03 11, 2014', '03 12, 2014'], False),
        ('time', ['2024-01-01', None], False),
        ('updated_at', ['2024-01-01', '2024-01-02'], False),
        ('watch_time', [10, 20], False),
    ],
)
def test_times(name: str, cells: list[Any], fits: bool) -> None:
    table = sample(user=['a', 'b'], item=['c', 'd'], **{name: cells})
    assert suggest_columns(table)['time'] == ((name,) if fits else ())


@pytest.mark.parametrize(
    'spelling',
    [
        *('2024-01-01', '2024/1/5', '2024-1-5', '2024-01-05 10:00', '2024-01-01T10:00:00Z'),
        *('2019-10-01 00:00:00 UTC', '2024-01-01T10:00:00.1234567+02:00', '2024-01-01 10:00:00+02'),
        *('2024-W01-1', '2024-13-01', '01/05/2024', '2024-01-01T10', 'Jan 5 2024', '2024-01', ''),
    ],
)
def test_dates_are_those_that_can_be_read(spelling: str) -> None:
    connection = pytest.importorskip('duckdb').connect()
    ((time,),) = connection.execute(f'SELECT {time_of_text("$1")}', [spelling]).fetchall()
    table = sample(user=['a'], item=['c'], when=[spelling])
    assert (suggest_columns(table)['time'] == ('when',)) == (time is not None)


def test_two_times_are_ambiguous() -> None:
    days = ['2024-01-01', '2024-01-02']
    table = sample(user=['a', 'b'], item=['c', 'd'], order_date=days, created_at=days)
    assert suggest_columns(table)['time'] == ('order_date', 'created_at')


def test_ids_of_the_items_are_those_of_the_interactions() -> None:
    interactions = sample(user_id=['a', 'b', 'c'], product=['17', '5', '99'])
    items = sample(
        id=['1', '2', '3'],
        nr=['5', '17', '18'],
        year=['1999', '1999', '2001'],
        name=['x', 'y', 'z'],
    )
    found = suggest_columns(interactions, items)
    assert (found['item'], found['item_id']) == (('product',), ('nr',))


def test_ids_of_another_type_are_the_same_ids() -> None:
    interactions = sample(user_id=[1, 1], product=[5.0, 17.0])
    found = suggest_columns(interactions, sample(ref=['5', '17'], amount=[100, 200]))
    assert found['item_id'] == ('ref',)


def test_the_items_tell_which_of_two_ids_is_meant() -> None:
    interactions = sample(user_id=['a', 'b'], product_id=['p1', 'p2'], sku=['s1', 's2'])
    assert suggest_columns(interactions)['item'] == ('product_id', 'sku')
    found = suggest_columns(interactions, sample(sku=['s2', 's3'], title=['cup', 'mug']))
    assert (found['item'], found['item_id']) == (('sku',), ('sku',))
    found = suggest_columns(interactions, sample(code=['p2', 'p1'], title=['cup', 'mug']))
    assert (found['item'], found['item_id']) == (('product_id',), ('code',))


def test_the_given_item_finds_its_ids() -> None:
    interactions = sample(who=['a', 'b'], what=['p1', 'p2'])
    items = sample(ref=['p2', 'p1'], other=['q2', 'q1'])
    assert suggest_columns(interactions, items, {'item': ('what',)})['item_id'] == ('ref',)


def test_ids_that_match_nothing_are_left_open() -> None:
    interactions = sample(user_id=['a', 'b'], product_id=['p1', 'p2'])
    assert suggest_columns(interactions, sample(ref=['7', '8'], title=['x', 'y']))['item_id'] == ()


@pytest.mark.parametrize(
    'cells',
    [
        ['1.jpg', 'a/2.PNG'],
        ['1.webp', ''],
        ['https://shop.example/p/1.jpg?w=100', None],
        [['1.jpg', '2.jpg'], []],
    ],
)
def test_pictures(cells: list[Any]) -> None:
    items = sample(item_id=['c', 'd'], title=['cup', 'mug'], front=cells)
    found = suggest_columns(sample(user_id=['a', 'b'], item_id=['c', 'd']), items)
    assert (found['text'], found['image']) == (('title',), ('front',))


def test_the_longest_free_text_follows_what_has_a_name() -> None:
    items = sample(
        item_id=['c', 'd'],
        notes=['a note of no more than seven words'] * 2,
        blah=['a cup that is blue and holds the coffee of two people'] * 2,
        description=['holds coffee', 'holds tea'],
        title=['cup', 'mug'],
        code=['x1', 'x2'],
    )
    found = suggest_columns(sample(user_id=['a', 'b'], item_id=['c', 'd']), items)
    assert found['text'] == ('title', 'description', 'blah')


def test_empty_tables_are_judged_by_their_names() -> None:
    found = suggest_columns(sample(user_id=[], item_id=[], when=[], other=[]), sample(item_id=[]))
    assert found['user'] == ('user_id',)
    assert found['time'] == ('when',)
    assert (found['text'], found['image']) == ((), ())


def test_ids_that_some_rows_lack_are_found() -> None:
    orders = sample(user_id=[1, 2], sku=['a-1', 'b-2'])
    products = sample(handle=['a', 'a', 'b'], sku=['a-1', None, 'b-2'])
    assert suggest_columns(orders, products)['item_id'] == ('sku',)


def test_texts_in_scripts_without_blanks() -> None:
    products = sample(id=[1, 2], 标题=['红色橡木餐桌椅', '蓝色棉布连衣裙'], 类别=['家具', '服装'])
    found = suggest_columns(sample(user=[1, 2], item=[1, 2]), products)
    assert found['text'] == ('标题',)


def test_addresses_are_users_where_nothing_else_is() -> None:
    assert suggest_columns(sample(Email=['a@x', 'b@x'], sku=['a', 'b']))['user'] == ('Email',)
    both = sample(Email=['a@x', 'b@x'], customer_id=[1, 2], sku=['a', 'b'])
    assert suggest_columns(both)['user'] == ('customer_id',)


@pytest.mark.parametrize('name', ['event', 'type', 'event_type', 'behavior', 'action'])
def test_kinds_of_events(name: str) -> None:
    kinds = ['pv', 'buy', 'pv', None]
    assert event_kinds(sample(user=[1, 2, 3, 4], **{name: kinds})) == (name, ('pv', 'buy'))


def test_what_is_no_kind_of_event() -> None:
    assert event_kinds(sample(event_time=['a', 'b'], event_id=['a', 'b'])) is None
    assert event_kinds(sample(event=['view', 'view'])) is None
    assert event_kinds(sample(action=[f'e{i}' for i in range(40)])) is None


@pytest.mark.parametrize(
    ('name', 'cells'),
    [
        ('price', [19.99, None]),
        ('Price', [Decimal('19.99'), Decimal('5')]),
        ('sale_price', ['12.50 EUR', '9.00 EUR']),
        ('list_price:float', ['12.5', '9']),
        ('in_stock', [True, False]),
        ('InStock', ['yes', 'no']),
        ('availability', ['in_stock', 'out_of_stock']),
        ('stock', [0, 12]),
        ('new', ['1', '0']),
        ('is_new', [1, 0]),
        ('onSale', [True, True]),
    ],
)
def test_fields_of_rules(name: str, cells: list[Any]) -> None:
    assert suggest_fields(sample(**{'id': [1, 2], name: cells})) == (name,)


@pytest.mark.parametrize(
    ('name', 'cells'),
    [
        ('StockCode', ['85123A', '71053']),
        ('title', ['a', 'b']),
        ('price_history', [[1, 2], [3]]),
        ('price', [None, None]),
        ('availability', ['delivered within three to five working days', 'x' * 30]),
        ('is', [1, 0]),
        ('id', [1, 2]),
    ],
)
def test_what_is_no_field_of_rules(name: str, cells: list[Any]) -> None:
    assert suggest_fields(sample(**{name: cells})) == ()
