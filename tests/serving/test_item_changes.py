import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pyg_mmgef.serving._item_changes import Edit, ItemChange, ItemChanges


def put(item: str, **content: object) -> Edit:
    return Edit(item, lambda old: ItemChange(item, dict(content)))


def test_others_see_a_change_at_once(tmp_path: Path) -> None:
    writer, reader = (ItemChanges(tmp_path / 'changes') for _ in range(2))
    assert reader.news(0) == []
    vector = np.arange(3, dtype=np.float32)
    writer.write([Edit('a', lambda old: ItemChange('a', {}, vector, is_added=True))])
    (first,) = reader.news(0)
    assert (first.item, first.is_added, first.number) == ('a', True, 1)
    assert first.vector is not None
    assert first.vector.tolist() == [0, 1, 2]
    assert reader.news(1) == []
    writer.write([put('b', title='B'), put('a', title='A')])
    assert [(change.item, change.number) for change in reader.news(1)] == [('b', 2), ('a', 3)]
    assert [change.item for change in reader.since(0)] == ['b', 'a']  # One row for each item.


def test_numbers_and_texts_are_two_ids(tmp_path: Path) -> None:
    changes = ItemChanges(tmp_path / 'changes')
    changes.write([put('7'), Edit(7, lambda old: ItemChange(7, {}))])
    assert [change.item for change in changes.since(0)] == ['7', 7]


def test_an_edit_that_fails_leaves_the_others(tmp_path: Path) -> None:
    def fail(old: ItemChange | None) -> ItemChange:
        raise LookupError('no')

    changes = ItemChanges(tmp_path / 'changes')
    first, error, last = changes.write([put('a'), Edit('x', fail), put('b')])
    assert isinstance(first, ItemChange)
    assert isinstance(error, LookupError)
    assert isinstance(last, ItemChange)
    assert [change.item for change in changes.since(0)] == ['a', 'b']


def test_writers_lose_nothing_of_each_other(tmp_path: Path) -> None:
    def count(old: ItemChange | None) -> ItemChange:
        old = old or ItemChange('a', {'count': 0})
        return replace(old, values={'count': old.values['count'] + 1})

    def work() -> None:
        changes = ItemChanges(tmp_path / 'changes')
        for _ in range(25):
            changes.write([Edit('a', count)])
        changes.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (change,) = ItemChanges(tmp_path / 'changes').since(0)
    assert change.values == {'count': 75}


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / 'other').write_bytes(b'no database' * 100)
    for path in (tmp_path / 'other', tmp_path, tmp_path / 'none' / 'changes'):
        with pytest.raises(ValueError, match='name another file by --changes'):
            ItemChanges(path)
