"""The code of the pages runs as it is printed, block after block, in an empty folder."""

import csv
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch

from pyg_mmgef.datasets import SyntheticShop
from pyg_mmgef.transforms import SplitInteractions
from tests.cli.command import pyg_mmgef
from tests.docs.pages import DOCS, blocks

PYTHON = sorted(
    str(path.relative_to(DOCS))
    for folder in ('.', 'concepts', 'guides')
    for path in (DOCS / folder).glob('*.rst')
    if '.. code-block:: python' in path.read_text(encoding='utf-8')
)
EXCERPTS = {
    'concepts/item_graphs.rst',  # Their names stand for data of the reader.
    'guides/models.rst',
    'guides/training.rst',
}
UNDER_TORCHRUN = {'guides/distributed.rst'}  # tests/distributed/test_guide.py


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope='module')
def shop(tmp_path_factory: pytest.TempPathFactory) -> SyntheticShop:
    return SyntheticShop(tmp_path_factory.mktemp('shop'), num_users=150, num_items=60)


def run_python(page: str, **names: Any) -> dict[str, Any]:
    names['__name__'] = page
    for number, block in enumerate(blocks(page, 'python')):
        exec(compile(block, f'{page}, block {number}', 'exec'), names)
    return names


def run_commands(block: str) -> list[str]:
    """Run each line of a block, and return what they print."""
    out = []
    for line in block.replace('\\\n', '').splitlines():
        name, *arguments = shlex.split(line)
        assert name == 'pyg-mmgef'
        out.append(pyg_mmgef(*arguments))
    return out


@pytest.mark.parametrize('page', sorted({*PYTHON} - EXCERPTS - UNDER_TORCHRUN - {'quickstart.rst'}))
def test_python_of_a_page_runs(page: str, shop: SyntheticShop) -> None:
    names = {}
    if page == 'concepts/fusion.rst':  # It begins after the split.
        names['train'] = SplitInteractions()(shop[0])[0]
    names = run_python(page, **names)
    for name in ('z_user', 'z_item'):
        assert name not in names or torch.isfinite(names[name]).all()


def test_excerpts_are_pages_with_python() -> None:
    assert {*PYTHON} > EXCERPTS | UNDER_TORCHRUN


def test_five_minute_start_runs_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_python('quickstart.rst')
    out = capsys.readouterr().out
    recall = {
        words[0]: float(words[1])
        for words in map(str.split, out.splitlines())
        if words[0] in ('ContentIALS', 'Popularity')
    }
    assert recall['ContentIALS'] > recall['Popularity']
    assert len(names['found']) == 5
    assert 'because you chose' in out
    assert len(names['grown'].item_ids) == 201

    (commands,) = blocks('quickstart.rst', 'bash')
    prepared, trained, recommended, reported = run_commands(commands)
    assert '600' in prepared
    assert 'Popularity' in trained
    assert recommended.count('\n') > 5
    assert 'report.html' in reported
    assert (Path('runs/first') / 'report.html').stat().st_size > 10_000


def test_commands_for_own_catalogue_run(shop: SyntheticShop) -> None:
    raw = Path(shop.raw_dir)
    Path('photos').symlink_to(raw / 'images')
    columns = {'user': 'customer', 'item': 'sku', 'time': 'ordered_at'}
    with (raw / 'interactions.csv').open() as source, open('orders.csv', 'w') as target:
        rows = csv.DictReader(source)
        assert rows.fieldnames == [*columns]
        csv.writer(target).writerows([columns.values(), *(row.values() for row in rows)])
    with open('products.csv', 'w', newline='') as target:
        writer = csv.writer(target)
        writer.writerow(['product_id', 'title', 'description', 'photo'])
        for item, (title, path) in enumerate(zip(shop.titles, shop.image_paths, strict=True)):
            writer.writerow([item, title or '', 'as new', '' if path is None else path.name])
    with sqlite3.connect('shop.db') as database:
        for name in ('orders', 'products'):
            header, *lines = csv.reader(Path(f'{name}.csv').read_text().splitlines())
            database.execute(f'CREATE TABLE {name} ({", ".join(header)})')
            marks = ', '.join('?' * len(header))
            database.executemany(f'INSERT INTO {name} VALUES ({marks})', lines)
    database.close()
    found, given, of_sqlite, _ = blocks('guides/own_catalogue.rst', 'bash')
    for commands in (found, given, of_sqlite):
        run_commands(commands)
    assert Path('recommendations.parquet').is_file()
    assert (Path('runs/first') / 'report.html').is_file()
