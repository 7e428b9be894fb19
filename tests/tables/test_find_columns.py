import json
from pathlib import Path

import pytest

from pyg_mmgef.tables import find_columns, open_table

pytest.importorskip('duckdb')

COLUMNS = {'user': 'user', 'item': 'item'}


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_names_of_recbole(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / 'a.inter', 'user:token\titem:token\na\tx\n'))
    assert find_columns(table, COLUMNS) == {'user': 'user:token', 'item': 'item:token'}


def test_all_that_is_missing_is_listed_with_close_names(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / 'a.csv', 'user_id,sku,when\na,x,1\n'))
    with pytest.raises(ValueError, match=r"'user' names .*'userid'.* \(did you mean 'user_id'\?\)"):
        find_columns(table, {'user': 'userid'})
    with pytest.raises(ValueError, match=r"'item' names .*; 'time' names .* columns \['user_id'"):
        find_columns(table, {'user': 'user_id', 'item': 'product', 'time': 'date'})


def test_repeated_names_are_refused_if_they_are_asked_for(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / 'a.csv', 'user,item,item\na,x,y\n'))
    assert find_columns(table, {'user': 'user'}) == {'user': 'user'}
    with pytest.raises(ValueError, match="'item', of which there are 2"):
        find_columns(table, COLUMNS)


def test_one_column_for_both_ends(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / 'a.csv', 'user,item\na,x\n'))
    with pytest.raises(ValueError, match="'user' and 'item' both name the column 'item'"):
        find_columns(table, {'user': 'item', 'item': 'item'})


def test_a_whole_line_as_one_column(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / 'a.csv', 'user/item\na/x\n'))
    with pytest.raises(
        ValueError, match="a whole line, name the column separator with 'delimiter'"
    ):
        find_columns(table, COLUMNS)


def test_a_first_row_of_values_is_no_header(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / 'a.csv', '1,2200318\n1,2500377\n'))
    for names in (COLUMNS, {'user': '1', 'item': '2200318'}):
        with pytest.raises(ValueError, match=r"looks like values .* its columns with 'columns'"):
            find_columns(table, names)


def test_numbers_from_zero_are_a_header(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / 'a.csv', '0,1\na,x\n'))  # as pandas writes it
    assert find_columns(table, {'user': '0', 'item': '1'}) == {'user': '0', 'item': '1'}


def test_a_thousand_names_make_a_short_error(tmp_path: Path) -> None:
    users = json.dumps({str(user): [1, 2] for user in range(5000)})
    table = open_table(write(tmp_path / 'train.json', users))
    with pytest.raises(ValueError, match='and 4980 more') as caught:
        find_columns(table, COLUMNS)
    assert len(str(caught.value)) < 600


def test_a_name_with_brackets_repeats_none(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / 'a.csv', 'user,item,item (text)\na,x,cup\n'))
    assert find_columns(table, COLUMNS) == {'user': 'user', 'item': 'item'}
