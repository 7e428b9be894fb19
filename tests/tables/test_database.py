import sqlite3
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path

import pytest

from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.tables.database import read_database, without_password
from tests.cli.command import pyg_mmgef
from tests.tables.postgresql import PASSWORD, QUOTED, programs, server

pa = pytest.importorskip('pyarrow')
pytest.importorskip('adbc_driver_sqlite')
dbapi = pytest.importorskip('adbc_driver_postgresql.dbapi')

MANY = 100_000


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A file in which columns hold values of several types, as SQLite lets them."""
    path = tmp_path / 'shop.sqlite'
    with sqlite3.connect(path) as database:
        database.execute('CREATE TABLE orders (customer INTEGER, sku, stars NUMERIC, "at" TEXT)')
        database.executemany(
            'INSERT INTO orders VALUES (?, ?, ?, ?)',
            [
                (1, 'cup', 4.5, '2024-01-01'),
                (2, 17, 3, None),
                (2, b'\xff\x00', 'good', '2024-01-02 10:00:00'),
                (None, 'mug', None, ''),
            ],
        )
    database.close()
    return path


def test_sqlite_gives_texts(shop: Path) -> None:
    table = pa.table(read_database(f'sqlite:///{shop}', 'SELECT * FROM orders;'))
    assert set(table.schema.types) == {pa.string()}
    assert table.to_pydict() == {
        'customer': ['1', '2', '2', ''],
        'sku': ['cup', '17', 'ff00', 'mug'],
        'stars': ['4.5', '3', 'good', ''],
        'at': ['2024-01-01', '', '2024-01-02 10:00:00', ''],
    }


def test_a_path_names_sqlite_as_well(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.parent)
    for uri in (str(shop), 'shop.sqlite', 'sqlite:///shop.sqlite'):
        assert pa.table(read_database(uri, 'SELECT sku FROM orders')).num_rows == 4


def test_a_query_is_read_anew_each_time(shop: Path) -> None:
    query = read_database(str(shop), 'SELECT sku FROM orders LIMIT 1')
    assert pa.table(query) == pa.table(query)


def test_a_column_that_begins_with_many_nulls(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / 'shop.db') as database:
        database.execute('CREATE TABLE orders (sku)')
        cells = [None] * 2000 + [17] * 2000 + ['cup']
        database.executemany('INSERT INTO orders VALUES (?)', [(cell,) for cell in cells])
    database.close()
    table = pa.table(read_database(str(tmp_path / 'shop.db'), 'SELECT * FROM orders'))
    assert table['sku'].to_pylist() == [''] * 2000 + ['17'] * 2000 + ['cup']


@pytest.mark.parametrize(
    ('query', 'said'),
    [
        ('SELECT * FROM missing', 'no such table: missing'),
        ('SELECT missing FROM orders', 'no such column: missing'),
        ('DELETE FROM orders', 'near "DELETE": syntax error'),
        ('SELECT 1; DROP TABLE orders', 'near ";": syntax error'),
        ('', 'syntax error'),
    ],
)
def test_sqlite_says_what_is_wrong(shop: Path, query: str, said: str) -> None:
    with pytest.raises(ValueError, match=r'the query to .*shop\.sqlite') as error:
        pa.table(read_database(str(shop), query))
    assert said in str(error.value)
    assert '\n' not in str(error.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / 'shop.db').write_text('customer,sku\n' * 100)
    with pytest.raises(ValueError, match='file is not a database'):
        pa.table(read_database(str(tmp_path / 'shop.db'), 'SELECT * FROM orders'))
    with pytest.raises(FileNotFoundError, match=r'other\.db'):
        read_database(str(tmp_path / 'other.db'), 'SELECT 1')
    assert not (tmp_path / 'other.db').exists()


def test_other_databases_are_refused_without_their_password() -> None:
    with pytest.raises(ValueError, match=r'postgresql://user@host') as error:
        read_database('mysql://anna:secret@host/shop', 'SELECT 1')
    assert 'secret' not in str(error.value)


@pytest.mark.parametrize(
    ('uri', 'shown'),
    [
        ('postgresql://anna:secret@host:5432/shop', 'postgresql://anna@host:5432/shop'),
        ('postgresql://anna:s@e/c:r?e#t@host/shop', 'postgresql://anna@host/shop'),
        ('postgresql://:secret@host/shop', 'postgresql://@host/shop'),
        ('postgresql://host/shop?user=anna&password=secret', 'postgresql://host/shop?user=anna'),
        ('postgresql://host/shop?PASSWORD=secret&x=1', 'postgresql://host/shop?x=1'),
        ('postgresql://host/shop?x=1&sslpassword=secret&y=2', 'postgresql://host/shop?x=1&y=2'),
        ('postgresql://anna@host:5432/shop', 'postgresql://anna@host:5432/shop'),
        ('postgresql://host:5432/shop', 'postgresql://host:5432/shop'),
        ('sqlite:///shop.db', 'sqlite:///shop.db'),
        ('shop.db', 'shop.db'),
    ],
)
def test_passwords_are_taken_out(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


@pytest.fixture(scope='module')
def postgresql() -> Iterator[str]:
    found = programs()
    if found is None:
        pytest.skip('there is no PostgreSQL')
    with server(found) as uri:
        yield uri


def execute(uri: str, *statements: str) -> None:
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_types_of_postgresql(postgresql: str) -> None:
    execute(
        postgresql,
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        'CREATE TABLE things (n int, big bigint, uid uuid, name text, code char(4), '
        'price numeric(30, 2), at timestamptz, local timestamp, day date, info jsonb, raw bytea, '
        'tags text[], feeling mood, "On Sale" boolean, score real)',
        "INSERT INTO things VALUES (1, 9007199254740993, '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', "
        "'cup', 'ab', 12345678901234567890.10, '2024-01-01 12:00+02', '2024-01-01 12:00', "
        """'2024-01-01', '{"a": 1}', '\\xff00', '{blue,small}', 'glad', true, 4.5)""",
        'INSERT INTO things (n) VALUES (NULL)',
    )
    table = pa.table(read_database(postgresql, 'SELECT * FROM things'))
    first, second = table.to_pylist()
    assert first == {
        'n': 1,
        'big': 9007199254740993,
        'uid': 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
        'name': 'cup',
        'code': 'ab  ',
        'price': '12345678901234567890.10',
        'at': datetime(2024, 1, 1, 10, tzinfo=timezone.utc),
        'local': datetime(2024, 1, 1, 12),
        'day': date(2024, 1, 1),
        'info': '{"a": 1}',
        'raw': '\\xff00',
        'tags': ['blue', 'small'],
        'feeling': 'glad',
        'On Sale': True,
        'score': 4.5,
    }
    assert second == dict.fromkeys(first)


def test_interactions_and_items_of_postgresql(postgresql: str) -> None:
    execute(
        postgresql,
        'CREATE TABLE orders AS SELECT md5((n % 1000)::text)::uuid AS customer, '
        "n % 777 AS sku, timestamptz '2024-01-01 00:00Z' + n * interval '1 s' AS at, "
        f'(1 + n % 5)::numeric AS stars FROM generate_series(1, {MANY}) AS n',
        "CREATE TABLE products AS SELECT n AS sku, 'product ' || n AS title, "
        """ARRAY['a', 'b'] AS tags, '{"colour": "blue"}'::jsonb AS info """
        'FROM generate_series(0, 999) AS n',
    )
    dataset = InteractionTables(
        read_database(postgresql, 'SELECT * FROM orders ORDER BY at'),
        read_database(postgresql, 'SELECT * FROM products'),
        user='customer',
        item='sku',
        time='at',
        rating='stars',
        text=('title', 'tags', 'info'),
    )
    assert dataset.report['rows read'] == MANY
    assert dataset.report['interactions'] == MANY  # No pair repeats: 777 and 1000 are coprime.
    assert len(dataset.user_ids) == 1000
    assert dataset.item_ids[999] == 999
    assert dataset.item_texts[3] == 'product 3 a b blue'
    interacts = dataset[0]['user', 'interacts', 'item']
    assert interacts.time[0] == datetime(2024, 1, 1, 0, 0, 1, tzinfo=timezone.utc).timestamp()
    assert interacts.rating[:5].tolist() == [2, 3, 4, 5, 1]


@pytest.mark.parametrize(
    ('query', 'said'),
    [
        ('SELECT * FROM nothing', 'relation "nothing" does not exist'),
        ("SELECT 1 AS a, '2'::json AS a", 'column reference "a" is ambiguous'),
        ('SELECT 1 / (n - 5) FROM generate_series(1, 10) AS n', 'division by zero'),
        ('DROP TABLE pg_class', 'syntax error'),
    ],
)
def test_postgresql_says_what_is_wrong(postgresql: str, query: str, said: str) -> None:
    with pytest.raises(ValueError, match='the query to ') as error:
        pa.table(read_database(postgresql, query))
    assert said in str(error.value)
    assert '\n' not in str(error.value)


def test_a_wrong_password_is_not_shown(postgresql: str) -> None:
    wrong = postgresql.replace(QUOTED, 'guessed')
    query = read_database(wrong, 'SELECT 1')
    with pytest.raises(ValueError, match='password authentication failed') as error:
        pa.table(query)
    for shown in (str(error.value), repr(query), repr(read_database(postgresql, 'SELECT 1'))):
        assert 'guessed' not in shown
        assert PASSWORD not in shown
        assert QUOTED not in shown


def test_the_database_stays_as_it_is(postgresql: str) -> None:
    execute(postgresql, 'CREATE TABLE counted (n int)')
    execute(
        postgresql,
        'CREATE FUNCTION count_up() RETURNS int LANGUAGE sql AS '
        "'INSERT INTO counted VALUES (1) RETURNING n'",
    )
    assert pa.table(read_database(postgresql, 'SELECT count_up() AS n')).num_rows == 1
    assert pa.table(read_database(postgresql, 'SELECT * FROM counted')).num_rows == 0


def test_the_command_neither_prints_nor_stores_the_password(
    postgresql: str, tmp_path: Path
) -> None:
    rows = "'u' || n % 10 AS user_id, 'i' || n % 7 AS item_id FROM generate_series(1, 70) AS n"
    words = ('prepare', '-o', tmp_path / 'ds', '--database', postgresql)
    shown = pyg_mmgef(*words, '--query', f'SELECT {rows}')
    shown += pyg_mmgef(*words, '--query', f'SELECT {rows}', '--dry-run')
    shown += pyg_mmgef(*words, '--query', f'SELECT 1 AS customer_id, {rows}', fails=1)
    assert 'found: --user user_id' in shown
    assert 'USER_COLUMN' in shown
    shown += ''.join(path.read_text('latin-1') for path in tmp_path.rglob('*') if path.is_file())
    assert 'postgresql://postgres@/postgres?host=' in shown
    for secret in (PASSWORD, QUOTED):
        assert secret not in shown
