"""JSON files: lines, arrays, nested ids, and what isn't JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('duckdb')

from pyg_mmgef.tables import open_table
from pyg_mmgef.tables._read_tables import read_tables

COLUMNS = {'user': 'user', 'item': 'item'}


def write(path: Path, *rows: Any) -> Path:
    path.write_text('\n'.join(map(json.dumps, rows)))
    return path


def test_an_array_of_objects(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.json', [{'user': 'a', 'item': 7}, {'user': 'b', 'item': 8}])
    found = read_tables(open_table(path), COLUMNS)
    assert (found.user_ids, found.item_ids.tolist()) == (['a', 'b'], [7, 8])  # type: ignore[union-attr]


@pytest.mark.parametrize('value', [{'id': 5, 'name': 'Ann'}, [5, 6], True])
@pytest.mark.parametrize('end', ['user', 'item'])
def test_nested_ids_are_refused(tmp_path: Path, end: str, value: Any) -> None:
    path = write(tmp_path / 'a.jsonl', {'user': 1, 'item': 2}, {'user': 1, 'item': 2, end: value})
    with pytest.raises(ValueError, match=f"column '{end}' .* neither a string nor an integer"):
        read_tables(open_table(path), COLUMNS)


def test_ids_of_mongodb(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.jsonl', {'user': {'$oid': '5f'}, 'item': 1})
    assert read_tables(open_table(path), COLUMNS).user_ids == ['5f']


def test_large_integers_keep_their_digits(tmp_path: Path) -> None:
    ids = [2**64 + 1, 2**64 + 2, 2**100]
    path = write(tmp_path / 'a.jsonl', *({'user': i, 'item': i} for i in ids))
    assert read_tables(open_table(path), COLUMNS).user_ids == sorted(map(str, ids))


def test_names_with_signs(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.jsonl', {'a/b~c "d"': 1, 'item': 2})
    found = read_tables(open_table(path), {'user': 'a/b~c "d"', 'item': 'item'})
    assert found.user_ids.tolist() == [1]  # type: ignore[union-attr]


def test_what_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / 'steam.json').write_text("{u'username': u'x', 'hours': 1.0}\n")
    with pytest.raises(ValueError, match=r"none of the first lines is a JSON object .*u'username'"):
        open_table(tmp_path / 'steam.json')


def test_a_text_that_was_cut_within_a_character_is_kept(tmp_path: Path) -> None:
    (tmp_path / 'a.jsonl').write_text('{"user": "a", "item": 1, "title": "lamp \\ud83d"}\n')
    (row,) = open_table(tmp_path / 'a.jsonl').sample(1)
    assert row == {'user': 'a', 'item': 1, 'title': 'lamp \ufffd'}


def test_kinds_of_events(tmp_path: Path) -> None:
    rows = [{'user': 1, 'item': item, 'kind': kind} for item, kind in [(1, 'view'), (2, 'buy')]]
    found = read_tables(
        open_table(write(tmp_path / 'a.jsonl', *rows)),
        {**COLUMNS, 'event': 'kind'},
        event_weights={'view': 1, 'buy': 5},
    )
    assert found.rating is not None
    assert found.rating.tolist() == [1, 5]


def test_folders_of_hive_change_nothing(tmp_path: Path) -> None:
    for day in (1, 2):
        (tmp_path / f'line={day}').mkdir()
        write(tmp_path / f'line={day}' / 'a.jsonl', {'user': day, 'item': 'x'})
    assert read_tables(open_table(tmp_path), COLUMNS).user_ids.tolist() == [1, 2]  # type: ignore[union-attr]


def test_damaged_arrays_are_named_once(tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_text('[{"user": 1, "item": 2}, {"user"')
    with pytest.raises(ValueError, match=r"^'a.json' \('source'\) can't be read: Invalid"):
        open_table(tmp_path / 'a.json')


# Deeper than any version of Python reads, and a number of more digits than it takes.
@pytest.mark.parametrize('value', ['[' * 200_000 + ']' * 200_000, '9' * 5000])
def test_values_that_python_does_not_read(tmp_path: Path, value: str) -> None:
    (tmp_path / 'a.jsonl').write_text(f'{{"user": 1, "item": 2, "note": {value}}}\n')
    table = open_table(tmp_path / 'a.jsonl')
    assert table.sample(1) == [{'user': 1, 'item': 2, 'note': value}]
    found = read_tables(table, COLUMNS, items=table, item_id='item', texts=['note'])
    assert found.listed is not None
    assert found.listed.texts == {'note': [value]}
