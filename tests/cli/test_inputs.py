"""What ``prepare`` finds, refuses and shows before it reads."""

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pyg_mmgef._folders import check_output
from tests.cli.command import environment, printed, pyg_mmgef

ORDERS = 'user_id,customer_id,product_id,stars,bought\n' + ''.join(
    f'{user % 3},c{user},p{item},{1 + item % 5},2024-01-{1 + item:02}\n'
    for user in range(8)
    for item in range(user % 2, 9, 2)
)
PRODUCTS = 'id,name,description\n' + ''.join(f'p{i},cup {i},holds {i} cups\n' for i in range(9))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tables, of which the column of the users is ambiguous."""
    (tmp_path / 'my orders.csv').write_text(ORDERS)
    (tmp_path / 'products.csv').write_text(PRODUCTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(folder: Path) -> dict[str, Any]:
    return json.loads((folder / 'dataset.json').read_text())['options']


def test_columns_are_found_and_printed(catalogue: Path, dataset: Path, tmp_path: Path) -> None:
    words = ('--items', 'items.csv', '--image-folder', 'photos')
    shown = pyg_mmgef('prepare', 'orders.csv', '-o', tmp_path / 'ds', *words, cwd=catalogue)
    for option in ('user customer', 'item sku', 'item-id sku', 'time day', 'text title'):
        assert f'found: --{option}\n' in shown
    assert 'found: --image photo\n' in shown
    found, given = options(tmp_path / 'ds'), options(dataset)
    assert found.pop('item_id') == 'sku'
    assert given.pop('item_id') == 'sku'
    assert found.pop('interactions') == ['orders.csv']
    assert given.pop('interactions') == [str(catalogue / 'orders.csv')]
    assert found == given


def test_undecided_columns_stop_with_rows_and_the_command(shop: Path) -> None:
    words = ('prepare', 'my orders.csv', '-o', 'ds', '--items', 'products.csv', '--k-core', 2)
    error = pyg_mmgef(*words, fails=1)
    assert "--user could be 'user_id' or 'customer_id'" in error
    assert error.splitlines()[-1].startswith('Error: ')
    assert '2024-01-03' in error, 'the third row'
    assert '2024-01-07' not in error, 'the fourth row'
    assert not (shop / 'ds').exists()
    (command,) = [line for line in error.splitlines() if line.startswith('pyg-mmgef prepare ')]
    assert "'my orders.csv'" in command
    for part in ('--k-core 2', '--item product_id', '--time bought', '--text name --text desc'):
        assert part in command
    program, *arguments = shlex.split(command.replace('USER_COLUMN', 'customer_id'))
    assert program == 'pyg-mmgef'
    pyg_mmgef(*arguments)
    assert options(shop / 'ds')['user'] == 'customer_id'
    assert options(shop / 'ds')['item_id'] == 'id'


def test_nothing_that_fits_stops_as_well(shop: Path) -> None:
    (shop / 'orders.csv').write_text('who,what\na,b\n')
    error = pyg_mmgef('prepare', 'orders.csv', '-o', 'ds', fails=1)
    assert '--user USER_COLUMN --item ITEM_COLUMN' in error
    assert "no column of 'orders.csv'" in error


def test_options_win_and_none_leaves_out(shop: Path) -> None:
    words = ('prepare', 'my orders.csv', '-o', 'ds', '--items', 'products.csv', '--user', 'user_id')
    shown = pyg_mmgef(*words, '--time', 'none', '--text', 'description')
    assert '--user' not in shown
    assert 'found: --rating stars' in shown
    prepared = options(shop / 'ds')
    assert (prepared['user'], prepared['time'], prepared['text']) == (
        'user_id',
        None,
        ['description'],
    )


def test_a_dry_run_writes_nothing(shop: Path) -> None:
    before = sorted(shop.rglob('*'))
    words = ('prepare', 'my orders.csv', '-o', 'ds', '--items', 'products.csv')
    shown = pyg_mmgef(*words, '--user', 'customer_id', '--dry-run')
    for cell in ('cup 2', '2024-01-05', 'holds 0 cups'):
        assert cell in shown
    for option, value, origin in (
        ('--user', 'customer_id', 'given'),
        ('--text', 'name, description', 'found'),
        ('--image', 'none', 'default'),
        ('--k-core', '0', 'default'),
        ('--text-encoder', 'small', 'default'),
    ):
        assert re.search(rf'^{option} +{value} +{origin} *$', shown, re.MULTILINE), option
    assert 'USER_COLUMN' in pyg_mmgef(*words, '--dry-run', fails=1)
    assert sorted(shop.rglob('*')) == before


def test_all_mistakes_are_told_at_once(shop: Path, trained: Path) -> None:
    error = pyg_mmgef(
        *('prepare', 'my orders.csv', '-o', trained, '--items', 'produkts.csv'),
        *('--user', 'customerid', '--item', 'sku', '--image-folder', 'fotos'),
        *('--image-encoder', 'large', '--text-encoder', 'open_clip:ViT-B-32'),
        fails=1,
    )
    for said in (
        'holds a run',
        "--image-encoder must be 'small'",
        "--text-encoder: an OpenCLIP encoder is 'open_clip:MODEL/PRETRAINED'",
        "--image-folder must be an existing folder (got 'fotos')",
        "--items names 'produkts.csv', which doesn't exist (did you mean 'products.csv'?)",
        "--user names the column 'customerid'",
        "did you mean 'customer_id'?",
        "--item names the column 'sku'",
    ):
        assert said in error
    assert error.count('\n') == 1


def test_several_texts_in_one_option(shop: Path) -> None:
    words = ('prepare', 'my orders.csv', '-o', 'ds', '--user', 'user_id', '--items', 'products.csv')
    error = pyg_mmgef(*words, '--text', 'name,description', fails=1)
    assert '--text name --text description' in error


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ((), 'there are no interactions; name a file, or --database and --query'),
        (('--query', 'SELECT 1'), 'there are no interactions; name a file, or --database'),
        (
            ('my orders.csv', '--database', 'shop.db', '--query', 'SELECT 1'),
            '--query and INTERACTIONS both give the interactions',
        ),
        (('my orders.csv', '--delimiter', '-----'), '--delimiter must have one to four'),
        (('my orders.csv', '--items', 'products.csv', '--item-delimiter', ''), '--item-delimiter'),
        (('my orders.csv', '--database', 'shop.db'), '--database needs --query, such as "select'),
        (('--query', 'SELECT 1', '--database', 'no.db'), "the database 'no.db' doesn't exist"),
        (('my orders.csv', '--user', 'user_id', '--since', 'soon'), '--since must be a number or'),
        (
            ('my orders.csv', '--user', 'user_id', '--event', 'stars'),
            '--event names a column and --event-weight says',
        ),
        (
            ('my orders.csv', '--user', 'user_id', '--time', 'none', '--until', '2024-01-02'),
            '--since and --until need times; name their column with --time',
        ),
        (('my orders.csv', '--text', 'name'), '--text: there is no table of items'),
        (('my orders.csv', '--user', 'stars', '--item', 'stars'), '--user and --item both name'),
        (
            ('my orders.csv', '--user', 'user_id', '--rating', 'none', '--min-rating', 3),
            '--min-rating needs ratings; name their column with --rating',
        ),
    ],
)
def test_messages_name_options(shop: Path, words: tuple[Any, ...], said: str) -> None:
    error = pyg_mmgef('prepare', '-o', 'ds', *words, fails=1)
    assert said in error
    assert error.count('\n') == 1


@pytest.mark.parametrize(
    'words', [('none.csv',), ('my orders.csv', '--user', 'none'), ('my orders.csv',)]
)
def test_mistakes_show_before_torch_is_imported(shop: Path, words: tuple[str, ...]) -> None:
    script = (
        'import sys\n'
        'from pyg_mmgef.cli.app import main\n'
        'try:\n'
        f'    main(["prepare", "-o", "ds", *{words}])\n'
        'except SystemExit as end:\n'
        '    assert end.code == 1\n'
        "assert 'pyg_mmgef.cli.inputs' in sys.modules\n"
        "assert not {'torch', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, '-c', script], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'Error: ' in done.stderr


def test_encoders_are_built_before_tables_are_read(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def text_encoder(spec: str, options: dict[str, Any]) -> None:
        raise ValueError(f'there is no {spec}')

    monkeypatch.setattr('pyg_mmgef.cli.prepare_dataset.text_encoder', text_encoder)
    (shop / 'empty.csv').write_text('user_id,product_id\n,p1\n')
    words = ('prepare', 'empty.csv', '-o', 'ds', '--items', 'products.csv', '--user', 'user_id')
    assert 'there is no sentence:none' in pyg_mmgef(
        *words, '--text-encoder', 'sentence:none', fails=1
    )
    assert not (shop / 'ds').exists()


def test_pictures_that_cannot_be_used_are_mentioned(catalogue: Path, tmp_path: Path) -> None:
    (tmp_path / 'items.csv').write_text('sku,title,photo\ni01,oak,https://shop.example/1.jpg\n')
    for items in (catalogue / 'items.csv', tmp_path / 'items.csv'):
        words = ('orders.csv', '-o', tmp_path / 'ds', '--items', items, '--dry-run')
        shown = pyg_mmgef('prepare', *words, cwd=catalogue)
        assert "not used: 'photo'" in shown
        assert 'found: --image' not in shown


@pytest.mark.parametrize('cell', ['photos/3.png', '3.png', '3.png|4.png'])
def test_pictures_below_the_given_folder_are_used(
    catalogue: Path, tmp_path: Path, cell: str
) -> None:
    (tmp_path / 'items.csv').write_text(f'sku,title,photo\ni01,oak,{cell}\n')
    words = ('orders.csv', '-o', tmp_path / 'ds', '--items', tmp_path / 'items.csv', '--dry-run')
    shown = pyg_mmgef('prepare', *words, '--image-folder', catalogue, cwd=catalogue)
    assert 'found: --image photo' in shown


def test_a_comma_in_the_name_of_a_picture(catalogue: Path, tmp_path: Path) -> None:
    (tmp_path / 'items.csv').write_text('sku,title,photo\ni01,oak,"back, left.png"\n')
    (tmp_path / 'back, left.png').touch()
    words = ('orders.csv', '-o', tmp_path / 'ds', '--items', tmp_path / 'items.csv', '--dry-run')
    assert 'found: --image photo' in pyg_mmgef('prepare', *words, cwd=catalogue)


def test_a_database_instead_of_files(shop: Path) -> None:
    with sqlite3.connect('shop.db') as database:
        for name, text in (('orders', ORDERS), ('products', PRODUCTS)):
            header, *rows = [line.split(',') for line in text.splitlines()]
            database.execute(f'CREATE TABLE {name} ({", ".join(header)})')
            marks = ', '.join('?' * len(header))
            database.executemany(f'INSERT INTO {name} VALUES ({marks})', rows)
    database.close()
    query, item_query = 'SELECT * FROM orders', 'SELECT * FROM products'
    words = ('--database', 'shop.db', '--query', query, '--item-query', item_query)
    pyg_mmgef('prepare', '-o', 'one', '--user', 'user_id', *words)
    files = ('my orders.csv', '--items', 'products.csv')
    pyg_mmgef('prepare', '-o', 'two', '--user', 'user_id', *files)
    about = [json.loads((shop / name / 'dataset.json').read_text()) for name in ('one', 'two')]
    assert about[0]['report'] == about[1]['report']
    assert about[0]['options']['tables']['items']['query'] == item_query
    assert about[0]['options']['database'] == 'shop.db'
    error = pyg_mmgef('prepare', '-o', 'x', '--database', 'shop.db', '--query', 'SELECT', fails=1)
    assert "the query to 'shop.db' failed" in error


@pytest.mark.parametrize(
    'words', [('shop.duckdb',), ('--database', 'shop.duckdb')], ids=['as file', 'as database']
)
def test_a_file_of_duckdb(shop: Path, words: tuple[str, ...]) -> None:
    with duckdb.connect('shop.duckdb') as database:
        for name, file in (('orders', 'my orders.csv'), ('products', 'products.csv')):
            database.execute(f"CREATE TABLE {name} AS SELECT * FROM '{file}'")
    queries = ('--query', 'SELECT * FROM orders', '--item-query', 'SELECT * FROM products')
    shown = pyg_mmgef('prepare', '-o', 'ds', '--user', 'user_id', *words, *queries)
    assert 'found: --time bought\n' in shown
    assert 'found: --item-id id\n' in shown
    assert options(shop / 'ds')['database'] == (words[1] if len(words) > 1 else None)


def test_the_help_says_which_columns_are_found() -> None:
    shown = ' '.join(pyg_mmgef('prepare', '--help').split())
    assert shown.count('(found by names and values)') == 8
    assert '[default: small]' in shown


def test_a_folder_with_other_files_is_no_place_for_a_dataset(tmp_path: Path) -> None:
    check_output(tmp_path)
    (tmp_path / 'orders.csv').write_text('')
    with pytest.raises(ValueError, match=r"holds other files; give a new folder with 'folder'"):
        check_output(tmp_path)
    (tmp_path / 'features').mkdir()  # of a prepare that was killed
    check_output(tmp_path)


def test_a_table_of_thousands_of_columns_is_shown_in_short(tmp_path: Path) -> None:
    (tmp_path / 'train.json').write_text(json.dumps({str(user): [1, 2] for user in range(5000)}))
    code, out, err = printed('prepare', tmp_path / 'train.json', '-o', tmp_path / 'x')
    assert code == 1
    assert '... and 4,960 more columns' in err
    assert len(out) + len(err) < 12_000


@pytest.mark.parametrize(
    ('given', 'is_noted'),
    [((), True), (('--text', 'none'), True), (('--image-folder', '.'), False)],
)
def test_a_catalogue_without_texts_and_pictures_is_noted(
    tmp_path: Path, given: tuple[str, ...], is_noted: bool
) -> None:
    (tmp_path / 'orders.csv').write_text('user_id,item_id\n1,2\n2,3\n')
    (tmp_path / 'items.csv').write_text('item_id,price\n2,5\n3,6\n')
    words = ('prepare', 'orders.csv', '--items', 'items.csv', '-o', 'x', '--dry-run', *given)
    code, out, _ = printed(*words, cwd=tmp_path)
    assert code == 0
    assert ('is clearly one of texts or pictures' in out) == is_noted


def test_fields_for_rules_are_found(shop: Path) -> None:
    (shop / 'products.csv').write_text(
        'id,name,price,in_stock,color\n'
        + ''.join(f'p{i},cup {i},"{i},50",yes,red\n' for i in range(9))
    )
    words = ('my orders.csv', '-o', 'ds', '--user', 'user_id', '--items', 'products.csv')
    shown = pyg_mmgef('prepare', *words, '--decimal', ',')
    assert 'found: --field price --field in_stock\n' in shown
    assert options(shop / 'ds')['fields'] == ['price', 'in_stock']
    assert 'found: --field' not in pyg_mmgef('prepare', *words, '--field', 'none')
    assert options(shop / 'ds')['fields'] == []
    shown = pyg_mmgef('prepare', *words, '--field', 'color', '--field', 'price', '--dry-run')
    assert re.search(r'--field +color, price +given', shown)
    error = pyg_mmgef('prepare', *words, '--field', 'prize', fails=1)
    assert "--field names the column 'prize', which does not exist (did you mean 'price'?)" in error


def test_a_price_with_an_unnamed_decimal_comma_is_noted(shop: Path) -> None:
    (shop / 'products.csv').write_text('id,name,price\np1,cup,"1,5"\np2,mug,"2,25"\n')
    words = ('my orders.csv', '-o', 'ds', '--user', 'user_id', '--items', 'products.csv')
    shown = ' '.join(pyg_mmgef('prepare', *words).split())
    assert "column 'price' of 'products.csv' (--items) looks like numbers with the decimal" in shown
