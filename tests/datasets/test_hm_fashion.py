from pathlib import Path

import pytest
import torch

from pyg_mmgef.datasets import HMFashion
from pyg_mmgef.schema import CO_INTERACTS
from pyg_mmgef.transforms import AddCoInteractionGraph

pa = pytest.importorskip('pyarrow')
pytest.importorskip('duckdb')

ANNA = '000058a12d5b43e67d225668fa1f8d618c13dc232df0cad8ffe7ad4a1091e318'
BERT = '00007d2de826758b65a93dd24ce629ed66842531df6699338c5570910a014cc2'
HEADER = 't_dat,customer_id,article_id,price,sales_channel_id'
TRANSACTIONS = [
    f'2018-09-20,{ANNA},0663713001,0.0508305084745762,2',
    f'2018-09-20,{ANNA},0541518023,0.0304915254237288,2',
    f'2018-09-21,{BERT},0663713001,0.0508305084745762,1',
    f'2018-09-23,{ANNA},0663713001,0.0508305084745762,2',
]
ARTICLES = """\
article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,\
graphical_appearance_no,graphical_appearance_name,colour_group_code,colour_group_name,\
perceived_colour_value_id,perceived_colour_value_name,perceived_colour_master_id,\
perceived_colour_master_name,department_no,department_name,index_code,index_name,index_group_no,\
index_group_name,section_no,section_name,garment_group_no,garment_group_name,detail_desc
0108775015,0108775,Strap top,253,Vest top,Garment Upper body,1010016,Solid,09,Black,4,Dark,5,Black,\
1676,Jersey Basic,A,Ladieswear,1,Ladieswear,16,Womens Everyday Basics,1002,Jersey Basic,\
Jersey top with narrow shoulder straps.
0541518023,0541518,Rae Push (Melbourne) 2p,306,Bra,Underwear,1010016,Solid,51,Light Pink,1,\
Dusty Light,4,Pink,1334,Expressive Lingerie,B,Lingeries/Tights,1,Ladieswear,61,Womens Lingerie,\
1017,"Under-, Nightwear","Push-up bras, lace and mesh."
0663713001,0663713,Atlanta Push Body Harlow,283,Underwear body,Underwear,1010016,Solid,09,Black,4,\
Dark,5,Black,1338,Expressive Lingerie,B,Lingeries/Tights,1,Ladieswear,61,Womens Lingerie,1017,\
"Under-, Nightwear",
"""
IDS = ['0108775015', '0541518023', '0663713001']


def _folder(folder: Path, transactions: list[str] = TRANSACTIONS) -> Path:
    (folder / 'transactions_train.csv').write_text('\n'.join([HEADER, *transactions]) + '\n')
    (folder / 'articles.csv').write_text(ARTICLES)
    return folder


def _picture(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b'x')
    return path


def test_files_of_kaggle(tmp_path: Path) -> None:
    picture = _picture(tmp_path, 'images/066/0663713001.jpg')
    dataset = HMFashion(_folder(tmp_path))
    assert list(dataset.user_ids) == [ANNA, BERT]
    assert list(dataset.item_ids) == IDS
    interacts = dataset[0]['user', 'interacts', 'item']
    assert interacts.edge_index.tolist() == [[0, 1, 0], [1, 2, 2]]
    assert interacts.time.tolist() == [1537401600, 1537488000, 1537660800]
    assert dataset.item_texts == [
        'Strap top Vest top Solid Black Jersey Basic Jersey top with narrow shoulder straps.',
        'Rae Push (Melbourne) 2p Bra Solid Light Pink Expressive Lingerie '
        'Push-up bras, lace and mesh.',
        'Atlanta Push Body Harlow Underwear body Solid Black Expressive Lingerie',
    ]
    assert dataset.item_images == [None, None, picture]
    assert dataset.report['repeated user-item pairs'] == 1
    assert dataset.report['items without interactions'] == 1
    assert repr(dataset) == 'HMFashion(num_users=2, num_items=3, num_interactions=3)'


def test_filters_texts_and_another_folder_of_pictures(tmp_path: Path) -> None:
    picture = _picture(tmp_path, 'images_128_128/054/0541518023.jpg')
    dataset = HMFashion(
        _folder(tmp_path),
        text='colour_group_name',
        image_folder=picture.parents[1],
        since='2018-09-20',
        until='2018-09-21',
        keep_cold=False,
    )
    assert list(dataset.item_ids) == IDS[1:]
    assert dataset.item_texts == ['Light Pink', 'Black']
    assert dataset.item_images == [picture, None]
    assert dataset.report['rows from until on'] == 2


def test_k_core(tmp_path: Path) -> None:
    more = [*TRANSACTIONS, f'2018-09-24,{BERT},0541518023,0.03,1', '2018-09-24,c,0108775015,0.01,1']
    dataset = HMFashion(_folder(tmp_path, more), k_core=2)
    assert list(dataset.user_ids) == [ANNA, BERT]
    assert list(dataset.item_ids) == IDS[1:]
    assert dataset.report['rows outside of the k-core'] == 1


def test_zeros_that_are_lost_are_put_back(tmp_path: Path) -> None:
    picture = _picture(tmp_path, 'images/066/0663713001.jpg')
    dataset = HMFashion(_folder(tmp_path, [row.replace(',0', ',') for row in TRANSACTIONS]))
    assert list(dataset.item_ids) == IDS
    assert dataset.item_images[2] == picture
    assert dataset.report['items that the item table lacks'] == 0


@pytest.mark.parametrize('kind', ['int64', 'float64', 'string'])
def test_parquet_comes_first(tmp_path: Path, kind: str) -> None:
    import pyarrow.parquet as pq

    articles = pa.array([663713001, 541518023]).cast(kind)
    columns = {'t_dat': ['2020-09-01', '2020-09-02'], 'customer_id': [ANNA, BERT]}
    table = pa.table({**columns, 'article_id': articles})
    table = table.set_column(0, 't_dat', table['t_dat'].cast(pa.timestamp('ns')))
    pq.write_table(table, _folder(tmp_path) / 'transactions_train.parquet')
    dataset = HMFashion(tmp_path)
    assert list(dataset.item_ids) == IDS
    interacts = dataset[0]['user', 'interacts', 'item']
    assert interacts.edge_index.tolist() == [[0, 1], [2, 1]]
    assert interacts.time.tolist() == [1598918400, 1599004800]


def test_rows_without_an_article_are_counted(tmp_path: Path) -> None:
    more = [f'2018-09-24,{BERT},,0.03,1', f'2018-09-24,{BERT}', f'2018-09-24,{BERT},nan,0.03,1']
    dataset = HMFashion(_folder(tmp_path, [*TRANSACTIONS, *more]))
    assert list(dataset.item_ids) == IDS
    assert dataset.report['rows without an item id'] == 2
    assert dataset.report['rows that could not be parsed'] == 1


def test_pre_transform_is_stored_in_the_folder(tmp_path: Path) -> None:
    data = HMFashion(_folder(tmp_path), pre_transform=AddCoInteractionGraph(k=1))[0]
    (file,) = (tmp_path / 'processed').iterdir()
    stored = torch.load(file, weights_only=True)['graph'][CO_INTERACTS]
    assert torch.equal(stored['edge_index'], data[CO_INTERACTS].edge_index)
    with pytest.raises(ValueError, match="'pre_filter' refuses"):
        HMFashion(tmp_path, pre_filter=lambda data: False, force_reload=True)[0]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'root' must be an existing folder"):
        HMFashion(tmp_path / 'nowhere')
    (tmp_path / 'articles.csv').write_text(ARTICLES)
    with pytest.raises(FileNotFoundError, match=r"'transactions_train.csv' or .* \['articles.csv'"):
        HMFashion(tmp_path)
    (tmp_path / 'transactions_train.csv').write_text('article,user\n0663713001,a\n')
    with pytest.raises(ValueError, match=r"'article_id', .*did you mean 'article'\?"):
        HMFashion(tmp_path)
