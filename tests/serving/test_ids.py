import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyg_mmgef.serving._ids import IdLookup, own_id


@given(st.lists(st.text(min_size=1), unique=True), st.text())
def test_texts_as_a_dictionary(ids: list[str], other: str) -> None:
    lookup = IdLookup(pa.array(ids, pa.string()))
    rows = {own: row for row, own in enumerate(ids)}
    assert [lookup.row_of(own) for own in ids] == list(range(len(ids)))
    assert lookup.row_of(other) == rows.get(other)
    assert [lookup.id_of(row) for row in range(len(ids))] == ids


@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True), st.integers())
def test_numbers_as_a_dictionary(ids: list[int], other: int) -> None:
    lookup = IdLookup(pa.array(ids, pa.int64()))
    rows = {own: row for row, own in enumerate(ids)}
    assert [lookup.row_of(own) for own in ids] == list(range(len(ids)))
    assert [lookup.row_of(str(own)) for own in ids] == list(range(len(ids)))
    assert lookup.row_of(other) == rows.get(other)


@pytest.mark.parametrize('ids', [['a', 'b', 'a'], [3, 1, 3], ['a', None]])
def test_ids_that_repeat_or_are_missing(ids: list[str]) -> None:
    with pytest.raises(ValueError, match=r'ids (repeat|are missing)'):
        IdLookup(pa.array(ids))


def test_own_id() -> None:
    assert own_id('17', True) == own_id(17, True) == 17
    assert own_id(17, False) == own_id('17', False) == '17'
    for other in ('1_7', ' 17', '017', '+17', '', '1e2', '१७', '9' * 30):
        assert own_id(other, True) is None
