import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from pyg_mmgef.runs import ItemTable

FORMULAS = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '\n=1', '＝1']
OTHERS = ['a=1', "'=1", ' =1', '', 'i-1']
COLUMNS: dict[str, list[Any]] = {
    'item': FORMULAS + OTHERS,
    'number': list(range(-5, len(FORMULAS + OTHERS) - 5)),
    'score': [-0.5] * len(FORMULAS + OTHERS),
}


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def test_ids_are_exact(tmp_path: Path) -> None:
    for suffix in ('csv', 'parquet', 'jsonl'):
        ItemTable(COLUMNS).write(tmp_path / f'all.{suffix}')
    exact = FORMULAS + OTHERS
    assert [row['item'] for row in read(tmp_path / 'all.csv')] == exact
    assert pyarrow.parquet.read_table(tmp_path / 'all.parquet')['item'].to_pylist() == exact
    lines = (tmp_path / 'all.jsonl').read_text().splitlines()
    assert [json.loads(line)['item'] for line in lines] == exact


def test_no_formulas_for_spreadsheets(tmp_path: Path) -> None:
    ItemTable(COLUMNS).write(tmp_path / 'all.csv', for_spreadsheets=True)
    rows = read(tmp_path / 'all.csv')
    assert [row['item'] for row in rows] == [f"'{text}" for text in FORMULAS] + OTHERS
    assert [int(row['number']) for row in rows] == COLUMNS['number']
    assert {row['score'] for row in rows} == {'-0.5'}


def test_the_suffix_says_the_kind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'output' must end in .*got .*all\.xlsx"):
        ItemTable(COLUMNS).write(tmp_path / 'all.xlsx')
