import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyg_mmgef.catalog import Rules
from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.datasets.tables._fields import field_values, number_note
from pyg_mmgef.tables import open_table

pa = pytest.importorskip('pyarrow')
parquet = pytest.importorskip('pyarrow.parquet')


@pytest.mark.parametrize(
    ('cells', 'decimal', 'expected'),
    [
        (['1', '2.5', '-3', '.5', '4.', '1e3'], '.', [1, 2.5, -3, 0.5, 4, 1000]),
        (['1', None, 'N/A', '-'], '.', [1, np.nan, np.nan, np.nan]),
        (['12,50', '0,5'], ',', [12.5, 0.5]),
        (['1,299.00', '5'], '.', [1299, 5]),
        (['1.299,00', '12.345.678'], ',', [1299, 12345678]),
        (['1 299,00'], ',', [1299]),
        (['1.299'], '.', [1.299]),
        (['$5', '$1,000.25'], '.', [5, 1000.25]),
        (['15.00 USD', '9.99 USD'], '.', [15, 9.99]),
        (['€ 5', '€ 6'], '.', [5, 6]),
        (['123456789012345'], '.', [123456789012345]),
    ],
)
def test_numbers(cells: list[str | None], decimal: str, expected: list[float]) -> None:
    found = field_values(cells, decimal)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, expected)
    assert number_note(cells, decimal) == ''


@pytest.mark.parametrize(
    ('cells', 'decimal', 'note'),
    [
        (['Lamps', 'Rugs', None], '.', ''),
        ([None, 'n/a'], '.', ''),
        (['true', 'false'], '.', ''),
        (['007', '12'], '.', ''),
        (['4006381333931000'], '.', ''),
        (['AB 12', 'AB 13'], '.', ''),
        (['inf'], '.', ''),
        (['1_000', '１２'], '.', ''),
        (['12,50', '1,5'], '.', "looks like numbers with the decimal separator ','"),
        (['12.50', '1.5'], ',', "looks like numbers with the decimal separator '.'"),
        ([*'123456789', 'on request'], '.', "holds numbers, but also 'on request'"),
        (['5 EUR', '6 USD'], '.', 'holds numbers of several currencies'),
    ],
)
def test_texts(cells: list[str | None], decimal: str, note: str) -> None:
    assert field_values(cells, decimal) == cells
    assert number_note(cells, decimal) == note


ORDERS = {'user_id': ['anna', 'bert', 'anna'], 'item_id': ['L1', 'L1', 'R1']}
ITEMS: dict[str, list[Any]] = {
    'item_id': ['L1', 'R1', 'S1'],
    'title': ['Desk lamp', '<b>Rug</b>', None],
    'tags': [['lamps', 'brass'], [], None],
    'price': [19.99, 60.0, None],
    'in_stock': [True, False, None],
    'size': ['07', '10', None],
    'stock': [3, 0, 12],
}


def _tables(items: Any = None, **arguments: Any) -> InteractionTables:
    options = {'text': ('title', 'tags'), 'fields': ('price', 'in_stock', 'size', 'stock')}
    return InteractionTables(
        pa.table(ORDERS), pa.table(ITEMS) if items is None else items, **(options | arguments)
    )


def test_catalog() -> None:
    catalog = _tables().catalog
    assert catalog.ids == ['L1', 'R1', 'S1']
    assert catalog.titles == ['Desk lamp', 'Rug', 'S1']
    assert catalog.texts == ['Desk lamp lamps brass', 'Rug', None]
    assert catalog.pictures == [None] * 3
    assert list(catalog.fields) == ['title', 'tags', 'price', 'in_stock', 'size', 'stock']
    assert catalog.fields['title'].tolist() == ['Desk lamp', 'Rug', None]
    assert catalog.fields['tags'].tolist() == ['lamps brass', None, None]
    np.testing.assert_array_equal(catalog.fields['price'], [19.99, 60, np.nan])
    assert catalog.fields['size'].tolist() == ['07', '10', None]
    assert catalog.fields['stock'].tolist() == [3, 0, 12]
    assert Rules(where={'in_stock': True}).allowed(catalog).tolist() == [True, False, False]
    assert Rules(where={'price': 19.99}).allowed(catalog).tolist() == [True, False, False]


def test_every_kind_of_file_gives_the_same_fields(tmp_path: Path) -> None:
    items: dict[str, list[Any]] = {
        'item_id': ['L1', 'R1', 'S1'],
        'price': [19.99, 1299.5, None],
        'new': [True, False, None],
        'brand': ['Lumo & Co', None, 'Arc'],
    }
    parquet.write_table(pa.table(items), tmp_path / 'items.parquet')
    (tmp_path / 'items.csv').write_text(
        'item_id,price,new,brand\nL1,19.99,true,Lumo &amp; Co\nR1,"1,299.50",false,\nS1,,,Arc\n'
    )
    (tmp_path / 'comma.csv').write_text(
        'item_id;price;new;brand\nL1;19,99 €;true;Lumo & Co\nR1;1.299,50 €;false;\nS1;;;Arc\n'
    )
    (tmp_path / 'items.jsonl').write_text(
        '{"item_id": "L1", "price": 19.99, "new": true, "brand": "Lumo & Co"}\n'
        '{"item_id": "R1", "price": "1299.5", "new": false, "brand": null}\n'
        '{"item_id": "S1", "brand": "Arc"}\n'
    )
    sources = [
        *(tmp_path / name for name in ('items.parquet', 'items.csv', 'items.jsonl')),
        open_table(tmp_path / 'comma.csv', delimiter=';', decimal=','),
        pa.table(items).to_pandas(),
    ]
    catalogs = [_tables(s, text=(), fields=('price', 'new', 'brand')).catalog for s in sources]
    np.testing.assert_array_equal(catalogs[0].fields['price'], [19.99, 1299.5, np.nan])
    assert Rules(where={'new': False}).allowed(catalogs[0]).tolist() == [False, True, False]
    for catalog in catalogs:
        assert catalog == catalogs[0]


def test_a_decimal_comma_that_was_not_named_is_noted(tmp_path: Path) -> None:
    path = tmp_path / 'items.csv'
    path.write_text('item_id;price\nL1;19,99\nR1;5,00\n')
    dataset = _tables(open_table(path, delimiter=';'), text=(), fields='price')
    assert dataset.catalog.fields['price'].tolist() == ['19,99', '5,00']
    assert dataset.notes == [
        "column 'price' of 'items.csv' ('source') looks like numbers with the decimal separator "
        "','; it is kept as texts, of which no range can be asked"
    ]


def test_a_text_may_be_a_field_too() -> None:
    catalog = _tables(text=('title', 'stock'), fields=('stock', 'title')).catalog
    assert list(catalog.fields) == ['title', 'stock']
    assert catalog.texts == ['Desk lamp 3', 'Rug 0', '12']
    assert catalog.fields['stock'].tolist() == [3, 0, 12]


def test_items_that_only_interactions_have_lack_all_fields() -> None:
    items = {name: column[1:] for name, column in ITEMS.items()}
    catalog = _tables(pa.table(items)).catalog
    assert catalog.titles[0] == 'L1'
    np.testing.assert_array_equal(catalog.fields['price'], [np.nan, 60, np.nan])


def test_without_items() -> None:
    catalog = InteractionTables(pa.table(ORDERS)).catalog
    assert catalog.ids == catalog.titles == ['L1', 'R1']
    assert catalog.fields == {}


def test_pictures(tmp_path: Path) -> None:
    (tmp_path / 'L1.jpg').write_bytes(b'')
    assert _tables(image_folder=tmp_path).catalog.pictures == [str(tmp_path / 'L1.jpg'), None, None]


def test_fields_that_do_not_exist() -> None:
    message = "'fields' names the column 'prize', which does not exist (did you mean 'price'?)"
    with pytest.raises(ValueError, match=re.escape(message)):
        _tables(fields='prize')
