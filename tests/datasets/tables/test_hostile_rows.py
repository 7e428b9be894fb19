import re
import warnings
from pathlib import Path

import pytest

from pyg_mmgef.datasets import InteractionTables
from tests.datasets.tables.hostile_rows import HEADER, HOSTILE_ROWS, KEPT, NOTHING, HostileRow

pytest.importorskip('pyarrow')

GOOD = b'good,good,5,9'


def read(path: Path, *lines: bytes) -> InteractionTables:
    path.write_bytes(b'\n'.join([HEADER, *lines]))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # What is left out is asked for below.
        return InteractionTables(path, rating='stars', time='when', min_rating=4)


def left_out(dataset: InteractionTables) -> dict[str, int]:
    """The reasons that took rows; together with what is left they are all rows read."""
    reasons = {k: v for k, v in dataset.report.items() if k.startswith(('rows ', 'repeated user'))}
    read = reasons.pop('rows read')
    assert read == sum(reasons.values()) + dataset.report['interactions']
    return {reason: number for reason, number in reasons.items() if number}


def test_the_table_is_long_and_names_each_row_once() -> None:
    assert len({row.name for row in HOSTILE_ROWS}) == len(HOSTILE_ROWS) >= 40


@pytest.mark.parametrize('row', HOSTILE_ROWS, ids=lambda row: row.name)
def test_alone_behind_a_good_row(tmp_path: Path, row: HostileRow) -> None:
    dataset = read(tmp_path / 'orders.csv', GOOD, row.line)
    pairs = [
        (dataset.user_ids[user], dataset.item_ids[item])
        for user, item in dataset[0]['user', 'interacts', 'item'].edge_index.t().tolist()
    ]
    assert pairs[0] == ('good', 'good')
    assert pairs[1:] == ([(row.user, row.item)] if row.outcome == KEPT else [])
    assert left_out(dataset) == ({} if row.outcome in (KEPT, NOTHING) else {row.outcome: 1})


def test_all_together(tmp_path: Path) -> None:
    # Each kept row is about another item, lest they repeat each other; the open quote comes last.
    rows = sorted(HOSTILE_ROWS, key=lambda row: row.line.count(b'"') % 2 and row.outcome != KEPT)
    lines = [
        re.sub(rb'\bx(?=\s*,)', b'x%d' % number, row.line) if row.outcome == KEPT else row.line
        for number, row in enumerate(rows)
    ]
    dataset = read(tmp_path / 'orders.csv', GOOD, *lines)
    expected: dict[str, int] = {}
    for row in rows:
        if row.outcome not in (KEPT, NOTHING):
            expected[row.outcome] = expected.get(row.outcome, 0) + 1
    assert left_out(dataset) == expected
    assert dataset.report['interactions'] == 1 + sum(row.outcome == KEPT for row in rows)
