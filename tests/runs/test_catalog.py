"""The catalog of datasets in memory and in folders."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mmgef.catalog import Catalog, Rules
from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.files import read_json, sha256_of, write_json
from pyg_mmgef.runs import Run
from pyg_mmgef.runs.dataset_folder import DatasetFolder, _digest
from pyg_mmgef.runs.run_data import RunData
from tests.cli.command import pyg_mmgef

ITEMS = (
    'item_id,title,color,price,in_stock,code\n'
    'a,Desk lamp,brass,"1.299,50 €",yes,007\n'
    'b,Rug,,"60,00 €",no,010\n'
    'c,,red,,,\n'
)
ORDERS = 'user_id,item_id\n' + ''.join(f'u{user},{"abc"[user % 3]}\n' for user in range(9))
WORDS = ('--decimal', ',', '--delimiter', ',', '--text', 'title', '--text', 'color')


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / 'orders.csv').write_text(ORDERS)
    (tmp_path / 'items.csv').write_text(ITEMS)
    words = ('--items', tmp_path / 'items.csv', *WORDS, '--field', 'price', '--field', 'code')
    pyg_mmgef('prepare', tmp_path / 'orders.csv', '-o', tmp_path / 'shop', *words)
    return tmp_path / 'shop'


def check(catalog: Catalog) -> None:
    assert catalog.ids == ['a', 'b', 'c']
    assert catalog.titles == ['Desk lamp', 'Rug', 'c']
    assert catalog.texts == ['Desk lamp brass', 'Rug', 'red']
    assert list(catalog.fields) == ['title', 'color', 'price', 'code']
    np.testing.assert_array_equal(catalog.fields['price'], [1299.5, 60, np.nan])
    assert catalog.fields['color'].tolist() == ['brass', None, 'red']
    assert catalog.fields['code'].tolist() == ['007', '010', None]


def test_prepared_folders_have_a_catalog(shop: Path) -> None:
    check(DatasetFolder(shop).catalog())


def test_copies_have_it_too(shop: Path, tmp_path: Path) -> None:
    DatasetFolder(shop).copy_to(tmp_path / 'copy')
    check(DatasetFolder(tmp_path / 'copy').catalog())


def test_runs_have_it_too(trained: Path, dataset: Path) -> None:
    catalog = Run.load(trained).catalog
    assert catalog == DatasetFolder(dataset).catalog()
    assert list(catalog.fields) == ['title']
    assert sum(picture is not None for picture in catalog.pictures) == 24


def test_tables_keep_their_catalog_in_memory_and_on_disk(tmp_path: Path) -> None:
    pa = pytest.importorskip('pyarrow')
    tables = InteractionTables(
        pa.table({'user_id': [1, 2, 3], 'item_id': [7, 8, 9]}),
        pa.table(
            {
                'item_id': [7, 8, 9],
                'title': ['A', None, '<b>C</b>'],
                'year': [1999, 2005, None],
                'new': [True, False, None],
                'empty': pa.array([None] * 3, pa.string()),
            }
        ),
        text=('title', 'year'),
        fields=('new', 'empty'),
    )
    data = RunData.from_tables(tables)
    assert data.catalog() == tables.catalog
    data.copy_to(tmp_path / 'shop')
    assert DatasetFolder(tmp_path / 'shop').catalog() == tables.catalog
    assert tables.catalog.fields['year'].dtype == float
    assert Rules(where={'new': True}).allowed(data.catalog()).tolist() == [True, False, False]


def test_a_graph_alone_has_a_catalog_of_ids() -> None:
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = 2, 3
    data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1], [0, 2]])
    assert RunData(data).catalog() == Catalog([0, 1, 2])


def test_folders_of_earlier_versions_have_texts_as_fields(shop: Path) -> None:
    about = read_json(shop / 'dataset.json', '')
    (old,) = (entry for entry in (shop / 'versions').iterdir() if entry.is_dir())
    items = [json.loads(line) for line in (old / 'items.jsonl').read_text().splitlines()]
    for item in items:
        del item['kept']
    (old / 'items.jsonl').write_text(''.join(f'{json.dumps(item)}\n' for item in items))
    about['files']['items.jsonl'] = sha256_of(old / 'items.jsonl')
    old.rename(old.with_name(_digest(about['files'])))
    write_json(shop / 'dataset.json', about)
    dataset = DatasetFolder(shop)
    assert list(dataset.catalog().fields) == ['title', 'color']
    assert dataset.catalog().titles == ['Desk lamp', 'Rug', 'c']


def test_fields_do_not_change_what_a_run_is_trained_on(shop: Path, tmp_path: Path) -> None:
    words = ('--items', tmp_path / 'items.csv', *WORDS, '--field', 'none')
    pyg_mmgef('prepare', tmp_path / 'orders.csv', '-o', tmp_path / 'plain', *words)
    plain = DatasetFolder(tmp_path / 'plain')
    assert plain.fingerprint == DatasetFolder(shop).fingerprint
    assert list(plain.catalog().fields) == ['title', 'color']
