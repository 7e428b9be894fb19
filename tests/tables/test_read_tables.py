"""Ids, events, times and both tables together."""

import json
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyg_mmgef.tables import open_table
from pyg_mmgef.tables._read_tables import TablesRead, read_tables

duckdb = pytest.importorskip('duckdb')
pa = pytest.importorskip('pyarrow')


def read(
    table: dict[str, Any] | Any, items: dict[str, Any] | Any = None, **options: Any
) -> TablesRead:
    roles = {'user', 'item', 'rating', 'time', 'event'}
    opened = open_table(pa.table(table) if isinstance(table, dict) else table)
    columns = {name: name for name in opened.columns if name in roles}
    if items is not None:
        items = open_table(pa.table(items) if isinstance(items, dict) else items)
    return read_tables(opened, columns, items=items, item_id='id' if items else '', **options)


@pytest.mark.parametrize(
    ('kind', 'value'),
    [
        (pa.float16(), 2**11),
        (pa.float32(), 2**24),
        (pa.float64(), 2**53),
        (pa.float64(), 1.5),
        (pa.float64(), float('inf')),
    ],
)
def test_floating_point_ids_that_lost_digits(kind: Any, value: float) -> None:
    users = pa.array(np.array([1, value], kind.to_pandas_dtype()), kind)
    with pytest.raises(ValueError, match='floating point number so large that it has lost digits'):
        read(pa.table({'user': users, 'item': [1, 2]}))


@pytest.mark.parametrize('text', ['1.23457E+12', '1,2E+15', '5.41312128e+08'])
def test_ids_in_scientific_notation(text: str) -> None:
    with pytest.raises(ValueError, match='a number in scientific notation: its digits are lost'):
        read({'user': ['1', text], 'item': [1, 2]})
    assert read({'user': ['1E5', '1e5'], 'item': [1, 2]}).user_ids == ['1E5', '1e5']


def test_a_malformed_id_changes_no_other() -> None:
    interactions = {'user': [1, 1, 2], 'item': ['862', '8844', '862']}
    items = {'id': ['862.0', '8844.0', '1997-08-20']}
    assert read(interactions, items).item_ids == ['1997-08-20', '862', '8844']


def test_versions_are_no_integers() -> None:
    assert read({'user': [1, 2, 3], 'item': ['1', '1.0', 'x']}).item_ids == ['1', '1.0', 'x']


@pytest.mark.parametrize(
    ('ours', 'theirs', 'hint'),
    [
        (['0862', '0031'], ['862', '31', 'x'], 'without leading zeros'),
        (['sku-1', 'SKU-2'], ['SKU-1', 'sku-2'], 'in lower case'),
        (['a-1', 'b-2'], ['a1', 'b2'], 'of their letters and digits alone'),
    ],
)
def test_tables_that_do_not_meet(ours: list[str], theirs: list[str], hint: str) -> None:
    with pytest.raises(ValueError, match=f'would meet if .* {hint}') as caught:
        read({'user': [1, 2], 'item': ours}, {'id': theirs})
    assert repr(ours[0]) in str(caught.value)
    assert 'name the columns that hold the same ids' in str(caught.value)


def test_tables_of_other_items() -> None:
    with pytest.raises(ValueError, match=r"of 2 items .*, 0 are among the 2 .*\('x'|such as 'x'"):
        read({'user': [1, 2], 'item': ['a', 'b']}, {'id': ['x', 'y']})


def test_another_column_that_meets() -> None:
    columns = {'id': ['x', 'y', 'z'], 'price': [1, 2, 3], 'sku': ['a', ' b', None]}
    with pytest.raises(ValueError, match=r"; column 'sku' of .* in 2 of its first 3 rows"):
        read({'user': [1, 2], 'item': ['a', 'b']}, columns)
    with pytest.raises(ValueError, match=r'hold the same ids$'):
        read({'user': [1, 2], 'item': ['c', 'd']}, columns)


def test_bytes_and_uuids(tmp_path: Path) -> None:
    connection = duckdb.connect()
    connection.execute(
        f"COPY (SELECT uuid() AS user, 'a'::BLOB AS item FROM range(3)) TO '{tmp_path}/a.parquet'"
    )
    found = read(tmp_path / 'a.parquet')
    assert (len(found.user_ids), found.item_ids) == (3, ['a'])


EVENTS = {'user': [1, 1, 2, 3], 'item': [1, 2, 1, 1], 'event': ['view', ' buy', 'cart', None]}


def test_events_are_ratings() -> None:
    found = read(EVENTS, event_weights={'view': 1, 'buy': 5.5})
    assert found.rating is not None
    assert found.rating.tolist() == [1, 5.5]
    assert found.report['rows of other events'] == 2


def test_unknown_events() -> None:
    with pytest.raises(ValueError, match=r"none of the events \['purchase'\], but \["):
        read(EVENTS, event_weights={'purchase': 1})


DAYS = [date(2024, 1, day) for day in (1, 2, 3)]
SECONDS = [int(np.datetime64(day, 's').astype(int)) for day in DAYS]


@pytest.mark.parametrize(
    'times', [DAYS, [str(day) for day in DAYS], SECONDS, [s * 1000 for s in SECONDS]]
)
def test_a_range_of_times_in_any_unit(times: list[Any]) -> None:
    found = read(
        {'user': [1, 2, 3], 'item': [1, 1, 1], 'time': times},
        since='2024-01-02',
        until='2024-01-03',
    )
    assert found.user.tolist() == [0]
    assert found.user_ids.tolist() == [2]  # type: ignore[union-attr]
    assert (found.report['rows before since'], found.report['rows from until on']) == (1, 1)


def test_a_range_that_is_no_time() -> None:
    with pytest.raises(ValueError, match="'until' must be a number or a date"):
        read({'user': [1], 'item': [1], 'time': [1]}, until='tomorrow')


@pytest.mark.parametrize('text', ['true', 'TRUE', ' True '])
def test_flags_are_numbers_in_every_kind_of_table(tmp_path: Path, text: str) -> None:
    (tmp_path / 'a.csv').write_text(f'user,item,rating\n1,1,{text}\n1,2,false\n')
    found = read(tmp_path / 'a.csv')
    assert found.rating is not None
    assert found.rating.tolist() == [1, 0]


def test_the_order_of_rows_is_that_of_the_file(tmp_path: Path) -> None:
    # Many small groups of rows, which several threads read.
    rows = [f'u{row % 97}' for row in range(30_000)]
    table = pa.table({'user': rows, 'item': rows, 'time': list(range(30_000))})
    pytest.importorskip('pyarrow.parquet').write_table(
        table, tmp_path / 'a.parquet', row_group_size=100
    )
    found = read(tmp_path / 'a.parquet')
    assert found.time is not None
    assert np.array_equal(found.time, np.arange(30_000))
    assert [found.user_ids[user] for user in found.user[:200]] == rows[:200]


def test_a_query_of_a_database(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / 'shop.duckdb')) as connection:
        connection.execute("CREATE TABLE orders AS SELECT range AS user, 'x' AS item FROM range(5)")
    table = open_table(tmp_path / 'shop.duckdb', query='select * from orders where "user" > 2; ')
    found = read_tables(table, {'user': 'user', 'item': 'item'})
    assert found.user_ids.tolist() == [3, 4]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"is a database; say what to read .* with 'query'"):
        open_table(tmp_path / 'shop.duckdb')
    with pytest.raises(ValueError, match=r"can't be read: .*no_such_table"):
        open_table(tmp_path / 'shop.duckdb', query='select * from no_such_table')
    with pytest.raises(ValueError, match="can't be read: "):
        open_table(tmp_path / 'shop.duckdb', query='delete from orders returning *')
    assert len(table.distinct('user')) == 2


def test_tables_of_a_database_may_have_any_names(tmp_path: Path) -> None:
    shop = tmp_path / 'shop.duckdb'
    names = ('interactions', 'listed_items', 'users_0', 'items_0', 'rejected_lines')
    with duckdb.connect(str(shop)) as connection:
        for name in names:
            connection.execute(
                f"CREATE TABLE {name} AS SELECT 1 AS user, 7 AS item, 'Cup' AS title"
            )
    for name in names:
        interactions = open_table(shop, query='SELECT "user", item FROM interactions')
        items = open_table(shop, query=f'SELECT item, title FROM {name} -- the titles')
        found = read_tables(
            interactions,
            {'user': 'user', 'item': 'item'},
            items=items,
            item_id='item',
            texts=['title'],
        )
        assert found.listed is not None
        assert found.listed.texts == {'title': ['Cup']}


def test_columns_may_have_any_names(tmp_path: Path) -> None:
    names = [
        'user_id',
        'item_id',
        'row',
        'line',
        'object',
        'is_malformed',
        'c0',
        't0',
        "it's",
        'a"b',
    ]
    rows = [[f'{name} {row}' for name in names] for row in range(3)]
    table = pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)})
    (tmp_path / 'a.jsonl').write_text('\n'.join(map(json.dumps, table.to_pylist())))
    path = tmp_path / 'a.parquet'
    pytest.importorskip('pyarrow.parquet').write_table(table, path)
    for source in (table, path, tmp_path / 'a.jsonl'):
        for user, item in pairwise([*names, names[0]]):
            opened = open_table(source)
            found = read_tables(
                opened, {'user': user, 'item': item}, items=opened, item_id=item, texts=[user]
            )
            assert found.listed is not None
            assert found.user_ids == found.listed.texts[user] == [f'{user} {i}' for i in range(3)]
            assert found.item_ids == [f'{item} {i}' for i in range(3)]


@pytest.mark.parametrize('kind', ['TIME', 'TIMETZ', 'INTERVAL', 'UUID', 'BIT'])
def test_columns_that_hold_no_numbers(tmp_path: Path, kind: str) -> None:
    duckdb.connect(str(tmp_path / 'a.duckdb')).close()
    query = f'SELECT 1 AS "user", 1 AS item, NULL::{kind} AS "time"'
    table = open_table(tmp_path / 'a.duckdb', query=query)
    columns = {'user': 'user', 'item': 'item'}
    with pytest.raises(ValueError, match=r"^column 'time' of 'a.duckdb' .* not times$"):
        read_tables(table, {**columns, 'time': 'time'})
    with pytest.raises(ValueError, match=r"^column 'time' of 'a.duckdb' .* not numbers$"):
        read_tables(table, {**columns, 'rating': 'time'})


def write_parts(folder: Path, *parts: dict[str, Any]) -> Path:
    for number, part in enumerate(parts):
        path = folder / f'{number}.parquet'
        pytest.importorskip('pyarrow.parquet').write_table(pa.table(part), path)
    return folder


def test_parquet_files_with_columns_of_several_types(tmp_path: Path) -> None:
    found = read(
        write_parts(
            tmp_path,
            {'user': [7, 8], 'item': [1, 2], 'rating': [1, 2]},
            {'user': ['007', '7'], 'item': [1, 2], 'rating': [4.5, 3.5]},
        )
    )
    assert found.user_ids == ['007', '7', '8']
    assert found.user.tolist() == [1, 2, 0, 1]
    assert found.rating is not None
    assert found.rating.tolist() == [1, 2, 4.5, 3.5]


def test_parquet_files_without_a_column(tmp_path: Path) -> None:
    parts = [{'user': [1], 'item': [1], 'rating': [5]}, {'user': [2], 'item': [1]}]
    found = read(write_parts(tmp_path, *parts))
    assert len(found.user) == found.report['rows without a valid rating'] == 1


def test_hive_folders(tmp_path: Path) -> None:
    duckdb.connect().execute(
        f"COPY (SELECT range % 2 AS day, range AS user, 'x' AS item FROM range(4)) "
        f"TO '{tmp_path}/days' (FORMAT parquet, PARTITION_BY day)"
    )
    table = open_table(tmp_path / 'days')
    assert set(table.columns) == {'day', 'user', 'item'}
    assert len(read_tables(table, {'user': 'user', 'item': 'day'}).item_ids) == 2


def test_damaged_parquet(tmp_path: Path) -> None:
    path = tmp_path / 'a.parquet'
    pytest.importorskip('pyarrow.parquet').write_table(
        pa.table({'user': list(range(5000)), 'item': list(range(5000))}), path
    )
    content = bytearray(path.read_bytes())
    content[100:400] = bytes(300)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^'a.parquet' \('source'\) can't be read: [^\n]*$"):
        read(path)
