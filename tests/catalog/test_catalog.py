import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyg_mmgef.catalog import Catalog

TEXTS = st.none() | st.text(st.characters(exclude_categories=['Cs']), max_size=5)
NUMBERS = st.none() | st.floats(allow_nan=False) | st.integers(-(2**40), 2**40)


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(
        ['L1', 'L2', 'R1'],
        ['Desk lamp', 'Floor lamp', 'Rug'],
        ['Desk lamp. Brass.', None, 'Rug'],
        [Path('pictures/l1.jpg'), None, None],
        {
            'category': ['Lamps', 'Lamps', None],
            'price': [20, None, 4.5],
            'new': [True, False, True],
        },
    )


def test_columns(catalog: Catalog) -> None:
    assert len(catalog) == 3
    assert catalog.pictures == [str(Path('pictures/l1.jpg')), None, None]
    assert catalog.fields['category'].tolist() == ['Lamps', 'Lamps', None]
    np.testing.assert_equal(catalog.fields['price'], [20, np.nan, 4.5])
    assert catalog.fields['new'].tolist() == [1, 0, 1]
    assert repr(catalog) == "Catalog(3 items, fields=['category', 'price', 'new'])"


def test_defaults() -> None:
    catalog = Catalog([7, 8])
    assert catalog.titles == ['7', '8']
    assert catalog.texts == catalog.pictures == [None, None]
    assert catalog.fields == {}


def test_arrays_become_lists_and_fields() -> None:
    fields = {'a': np.array([1, 2]), 'b': np.array(['x', 'y']), 'c': np.array([True, False])}
    catalog = Catalog(np.array([5, 6]), fields=fields)
    assert catalog.ids == [5, 6]
    assert type(catalog.ids[0]) is int
    assert [values.dtype for values in catalog.fields.values()] == [float, object, float]


def test_rows_of_ids(catalog: Catalog) -> None:
    rows = catalog.rows_of(['R1', 'L1', 'R1'])
    assert rows.tolist() == [2, 0, 2]
    assert rows.dtype == np.int64
    assert catalog.rows_of([]).shape == (0,)


def test_ids_are_found_as_text_and_as_number() -> None:
    assert Catalog([7, 10]).rows_of(['10', 7]).tolist() == [1, 0]
    assert Catalog(['7', '10']).rows_of([10, '7']).tolist() == [1, 0]
    for odd in ('07', 7.0, True, None):
        with pytest.raises(ValueError, match='lacks'):
            Catalog([1, 7]).rows_of([odd])


@pytest.mark.parametrize(
    ('ids', 'message'),
    [
        (
            ['l1'],
            "'ids' names the item 'l1', which the catalog of 3 items lacks (did you mean 'L1'?)",
        ),
        (
            ['sofa', 'bed'],
            "'ids' names the item 'sofa' and 1 more, which the catalog of 3 items lacks; it has "
            "['L1', 'L2', 'R1']",
        ),
    ],
)
def test_unknown_ids(catalog: Catalog, ids: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        catalog.rows_of(ids)


def test_unknown_field(catalog: Catalog) -> None:
    message = (
        "'name' names the field 'Prices', which the catalog lacks (did you mean 'price'?); it has "
        "['category', 'price', 'new']"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        catalog.field('Prices')
    with pytest.raises(ValueError, match='it has no fields'):
        Catalog(['a']).field('price')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'ids': ['a', 'a']}, "'ids' holds 2 ids, but only 1 distinct ones"),
        ({'ids': ['a', 1]}, "'ids' must be all integers or all strings (got int, str)"),
        ({'ids': [1.5]}, "'ids' must be all integers or all strings (got float)"),
        ({'ids': [True]}, "'ids' must be all integers or all strings (got bool)"),
        ({'ids': ['a'], 'titles': []}, "'titles' has 0 rows for 1 items"),
        ({'ids': ['a'], 'fields': {'price': [1, 2]}}, "'price' has 2 rows for 1 items"),
        (
            {'ids': ['a'], 'fields': {'p': [[1]]}},
            "the field 'p' must be a column of",
        ),
        (
            {'ids': ['a', 'b'], 'fields': {'p': ['x', 1]}},
            "the field 'p' must be a column of",
        ),
        (
            {'ids': ['a'], 'fields': {'p': [object()]}},
            "the field 'p' must be a column of",
        ),
        (
            {'ids': ['a'], 'fields': {'p': 3}},
            "the field 'p' must be a column of",
        ),
    ],
)
def test_columns_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Catalog(**arguments)


def test_select(catalog: Catalog) -> None:
    part = catalog.select([2, 0])
    assert part.ids == ['R1', 'L1']
    assert part.fields['price'].tolist() == [4.5, 20]
    assert catalog.select(np.array([True, True, True])) == catalog
    assert len(catalog.select([])) == 0


def test_append(catalog: Catalog) -> None:
    whole = catalog.append(Catalog(['N'], fields={'price': [9], 'color': ['red']}))
    assert whole.ids == ['L1', 'L2', 'R1', 'N']
    assert whole.fields['category'].tolist() == ['Lamps', 'Lamps', None, None]
    assert whole.fields['color'].tolist() == [None, None, None, 'red']
    np.testing.assert_equal(whole.fields['price'], [20, np.nan, 4.5, 9])
    assert catalog.select([0, 1]).append(catalog.select([2])) == catalog
    with pytest.raises(ValueError, match="'ids' holds 4 ids, but only 3 distinct ones"):
        catalog.append(Catalog(['L1']))
    with pytest.raises(ValueError, match="'price' holds numbers, but texts for the new items"):
        catalog.append(Catalog(['N'], fields={'price': ['cheap']}))


def test_rows_without_a_value_fit_any_kind_of_field(catalog: Catalog) -> None:
    whole = catalog.append(Catalog(['N'], fields={'category': [None], 'price': [None]}))
    assert whole.fields['category'].tolist() == ['Lamps', 'Lamps', None, None]
    assert np.isnan(whole.fields['price'][-1])


@given(
    st.lists(
        st.tuples(TEXTS, TEXTS, TEXTS, NUMBERS), max_size=5, unique_by=lambda row: row[0] or ''
    ),
    st.booleans(),
)
def test_saved_catalogs_are_loaded_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], is_integer: bool
) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 4
    names: list[Any] = [name or '' for name in columns[0]]
    catalog = Catalog(
        list(range(len(rows))) if is_integer else names,
        [str(name) for name in names],
        columns[1],
        columns[2],
        {'title': columns[1], 'price': columns[3], 'b c/d': columns[2]},
    )
    path = tmp_path_factory.mktemp('catalog') / 'items.parquet'
    catalog.save(path)
    loaded = Catalog.load(path)
    assert loaded == catalog
    assert list(map(type, loaded.ids)) == list(map(type, catalog.ids))


def test_saved_as_plain_parquet(catalog: Catalog, tmp_path: Path) -> None:
    pq = pytest.importorskip('pyarrow.parquet')
    catalog.save(tmp_path / 'items.parquet')
    table = pq.read_table(tmp_path / 'items.parquet')
    assert table.column_names == ['id', 'title', 'text', 'picture', 'category', 'price', 'new']
    assert table['price'].to_pylist() == [20, None, 4.5]
    assert table['id'].to_pylist() == catalog.ids


def test_damaged_files(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / 'items.parquet'
    with pytest.raises(FileNotFoundError):
        Catalog.load(path)
    catalog.save(path)
    content = path.read_bytes()
    pq, pa = pytest.importorskip('pyarrow.parquet'), pytest.importorskip('pyarrow')
    for damaged in (b'', b'PAR1', content[:-9], content[40:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r'is not a catalog \(.+\); write it again$'):
            Catalog.load(path)
    flipped = content.replace(b'Desk lamp. Brass.', b'Desk lamp. Brats.')
    assert flipped != content
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match='is not a catalog'):
        Catalog.load(path)
    pq.write_table(pa.table({'id': ['a']}), path)
    with pytest.raises(ValueError, match='is not a catalog'):
        Catalog.load(path)


def test_equality(catalog: Catalog) -> None:
    assert catalog == catalog.select([0, 1, 2])
    assert catalog != catalog.select([0, 1])
    assert catalog != 'catalog'
    others: list[dict[str, Any]] = [{'b': [1]}, {'a': [2]}, {'a': ['1']}, {}]
    for fields in others:
        assert Catalog(['x'], fields={'a': [1]}) != Catalog(['x'], fields=fields)


def test_unknown_ids_of_large_catalogs_are_not_compared_with_all() -> None:
    catalog = Catalog([f'item {number}' for number in range(10_001)])
    with pytest.raises(ValueError, match='of 10001 items lacks; it has'):
        catalog.rows_of(['item'])
    with pytest.raises(ValueError, match='did you mean'):
        catalog.select(np.arange(10_000)).rows_of(['item'])
