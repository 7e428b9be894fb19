"""The example scripts, run as a person would run them."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / 'examples'

ONE_TRIAL = ('--budget', 1e-9)


def run(script: str, *arguments: object) -> str:
    out = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *map(str, arguments)],
        env={**os.environ, 'MPLBACKEND': 'Agg'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0, out.stderr[-2000:]
    return out.stdout


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the examples share, so that the shop is drawn once."""
    return tmp_path_factory.mktemp('shop')


@pytest.fixture(scope='module')
def demo(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the printed text of one run of the main example."""
    folder = tmp_path_factory.mktemp('demo')
    return folder, run_demo(root, folder)


def run_demo(root: Path, folder: Path) -> str:
    return run('mmgef.py', '--root', root, '--output', folder, '--epochs', 2, *ONE_TRIAL)


def test_mmgef_ends_with_table_recommendations_and_plots(demo: tuple[Path, str]) -> None:
    folder, text = demo
    for task in ('cold among cold', 'warm among all', 'cold among all', 'overall'):
        assert task in text
    for model in ('Random', 'Popularity', 'ItemKNN', 'EASE', 'LightGCN', 'MM-GEF', 'ContentIALS'):
        assert f'\n{model} ' in text
    assert text.count('ContentIALS recommends') == 3
    assert text.count('  10. ') == 3
    table = json.loads((folder / 'metrics.json').read_text())
    warm = {model: rows['warm among all']['recall@20'] for model, rows in table.items()}
    assert warm['Planted taste'] > 5 * warm['Random']
    assert warm['Planted taste'] > warm['ContentIALS'] > warm['EASE'] > warm['Random']
    assert warm['MM-GEF'] > warm['Random']
    for name in ('learning_curves.png', 'attention.png'):
        assert (folder / name).read_bytes().startswith(b'\x89PNG')
    state = torch.load(folder / 'model.pt', weights_only=True)
    assert state['light_gcn.user_embedding.weight'].shape == (3000, 64)


def test_mmgef_is_deterministic(demo: tuple[Path, str], root: Path, tmp_path: Path) -> None:
    run_demo(root, tmp_path)
    name = 'metrics.json'
    assert (tmp_path / name).read_bytes() == (demo[0] / name).read_bytes()


def test_mmgef_on_a_folder_with_its_own_split(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ['userID\titemID\tx_label']
    for user in range(40):
        items = rng.permutation(30)[:8]
        lines += [f'{user}\t{item}\t{max(0, rank - 5)}' for rank, item in enumerate(items)]
    (tmp_path / 'toy.inter').write_text('\n'.join(lines))
    np.save(tmp_path / 'text_feat.npy', rng.normal(size=(30, 16)).astype(np.float32))
    out = tmp_path / 'out'
    text = run('mmgef.py', '--data', tmp_path, '--output', out, '--epochs', 2, '--k', 5, *ONE_TRIAL)
    assert 'warm' in text
    assert 'cold' not in text
    assert 'item ' in text


def test_mmgef_says_what_an_encoder_looks_like(tmp_path: Path) -> None:
    out = subprocess.run(
        [sys.executable, str(EXAMPLES / 'mmgef.py'), '--encoder', 'clip', '--root', str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert out.returncode != 0
    assert 'open_clip:MODEL/PRETRAINED' in out.stderr
    assert 'Traceback' not in out.stderr


def test_lightgcn(root: Path) -> None:
    assert 'recall@20' in run('lightgcn.py', '--root', root, '--epochs', 1)


def test_compose(root: Path) -> None:
    assert 'recall@20' in run('compose.py', '--root', root, '--epochs', 1)


def test_own_catalogue(root: Path, tmp_path: Path) -> None:
    text = run('own_catalogue.py', '--root', root, '--output', tmp_path, '--epochs', 1)
    assert 'test_recall@20' in text
    assert ' rows read' in text
    with open(tmp_path / 'recommendations.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3000 * 10
    assert set(rows[0]) == {'user', 'item', 'score'}


def test_own_catalogue_with_other_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / 'photos').mkdir()
    Image.new('RGB', (8, 8), 'red').save(tmp_path / 'photos' / 'a.png')
    (tmp_path / 'photos' / 'b.png').write_bytes(b'no picture')
    items = ['sku,name,photo', 's0,red lamp,a.png', 's1,blue lamp,b.png']
    items += [f's{n},{word} lamp {n},' for n, word in enumerate(['oak', 'ash'] * 10, 2)]
    (tmp_path / 'items.csv').write_text('\n'.join(items))
    orders = [f'u{user},s{item}' for user in range(30) for item in rng.permutation(22)[:8]]
    (tmp_path / 'orders.csv').write_text('\n'.join(['customer,sku', *orders]))
    files = (tmp_path / 'orders.csv', tmp_path / 'items.csv', '--output', tmp_path / 'out')
    names = ('--user', 'customer', '--item', 'sku', '--text', 'name', '--image', 'photo')
    folder = ('--image-folder', tmp_path / 'photos', '--epochs', 1)
    text = run('own_catalogue.py', *files, *names, *folder)
    assert 'No picture of item s1: not a picture' in text
    with open(tmp_path / 'out' / 'recommendations.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    taken = {tuple(order.split(',')) for order in orders}
    assert not any((row['user'], row['item']) in taken for row in rows)


def test_the_tutorial_of_the_docs() -> None:
    assert 'recall@20' in run('../docs/tutorials/own_catalogue.py')
