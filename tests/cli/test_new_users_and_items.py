"""Baskets, reasons and new rows on the command line."""

import csv
from pathlib import Path

from tests.cli.command import COLUMNS, pyg_mmgef


def test_a_basket(trained: Path) -> None:
    shown = pyg_mmgef('recommend', trained, '--liked', 'i00', '--liked', 'i03', '--k', 3)
    assert shown.split()[:4] == ['rank', 'item', 'score', 'title']
    assert len(shown.splitlines()) == 4
    words = ('recommend', trained, '--liked', 'i00', '--user', 'u3')
    assert '--user and --liked both say to whom' in pyg_mmgef(*words, fails=1)
    assert "no item 'I00'; did you mean 'i00'" in pyg_mmgef(
        'recommend', trained, '--liked', 'I00', fails=1
    )


def test_reasons(trained: Path) -> None:
    found = pyg_mmgef('recommend', trained, '--user', 'u3', '--k', 1).splitlines()[1].split()
    shown = pyg_mmgef('explain', trained, 'u3', found[2])
    assert shown.startswith('score ')
    assert 'because you chose' in shown
    assert 'no user' in pyg_mmgef('explain', trained, 'nobody', 'i00', fails=1)


def test_yesterdays_orders(catalogue: Path, trained: Path, tmp_path: Path) -> None:
    with open(tmp_path / 'items.csv', 'w', newline='') as file:
        csv.writer(file).writerows([['sku', 'title'], ['i_new', 'oak chair no 99']])
    rows = [['u_new', 'i00'], ['u_new', 'i03'], ['u0', 'i_new'], ['u3', 'i_new']]
    with open(tmp_path / 'orders.csv', 'w', newline='') as file:
        csv.writer(file).writerows(
            [['customer', 'sku', 'day'], *([*r, '2024-02-01'] for r in rows)]
        )
    columns = [*COLUMNS[:8], '--text', 'title']
    new, run = tmp_path / 'new', tmp_path / 'run'
    pyg_mmgef('prepare', tmp_path / 'orders.csv', '-o', new, *columns, cwd=tmp_path)
    shown = pyg_mmgef('update', trained, new, '-o', run)
    assert 'model mmgef' in shown
    assert len(pyg_mmgef('recommend', run, '--user', 'u_new', '--k', 3).splitlines()) == 4
    assert 'oak chair no 99' in pyg_mmgef('recommend', run, '--liked', 'i00', '--k', 24)
