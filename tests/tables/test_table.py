from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pyg_mmgef.tables import open_table

pytest.importorskip('duckdb')


def test_samples_are_python_values(tmp_path: Path) -> None:
    (tmp_path / 'a.jsonl').write_text('{"user": 1, "tags": ["x", 2]}\nnothing\n{"user": "b"}\n')
    table = open_table(tmp_path / 'a.jsonl')
    assert table.columns == {'user': 'JSON', 'tags': 'JSON'}
    assert table.sample(1) == [{'user': 1, 'tags': ['x', 2]}]
    assert table.distinct('user') in ([1, 'b'], ['b', 1])


@pytest.mark.parametrize('suffix', ['csv', 'jsonl'])
def test_samples_in_another_encoding(tmp_path: Path, suffix: str) -> None:
    content = 'user\nZoë\n' if suffix == 'csv' else '{"user": "Zoë"}\n'
    (tmp_path / f'a.{suffix}').write_bytes(content.encode('utf-16'))
    table = open_table(tmp_path / f'a.{suffix}', encoding='utf-16')
    assert table.sample(5) == [{'user': 'Zoë'}]
    assert table.distinct('user') == ['Zoë']


def test_description(tmp_path: Path) -> None:
    (tmp_path / 'a.csv').write_text('user,item\na,x\n')
    table = open_table(tmp_path / 'a.csv', argument='interactions')
    assert table.folder == tmp_path
    assert repr(table) == (
        "TextTable(\"'a.csv' ('interactions')\", {'user': 'VARCHAR', 'item': 'VARCHAR'})"
    )
    assert open_table(table) is table


def test_repeated_names_in_memory() -> None:
    pa = pytest.importorskip('pyarrow')
    table = pa.table([[number] for number in range(4)], ['a', 'a (2)', 'a', 'z'])
    assert open_table(table).sample(1) == [{'a': 0, 'a (2)': 1, 'a (3)': 2, 'z': 3}]


def test_samples_without_what_cannot_be_read() -> None:
    pa = pytest.importorskip('pyarrow')
    table = pa.table({'user': [1], 'price': pa.array([1]).cast(pa.decimal256(50, 2))})
    assert open_table(table).sample(1) == [{'user': 1, 'price': None}]


def test_samples_of_times_are_in_utc() -> None:
    pa = pytest.importorskip('pyarrow')
    noon = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    table = open_table(pa.table({'time': pa.array([noon], pa.timestamp('us', '+02:00'))}))
    assert table.sample(1) == [{'time': datetime(2024, 1, 1, 10)}]
    assert table.distinct('time') == [datetime(2024, 1, 1, 10)]
