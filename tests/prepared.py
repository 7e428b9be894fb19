"""A small catalogue as tables and pictures, and what the command makes of it."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.command import COLUMNS, pyg_mmgef

NUM_USERS, NUM_ITEMS, NUM_KINDS = 40, 24, 3
OPTIONS = ('--model', 'mmgef', '--epochs', 4, '--neighbors', 5)
WORDS = (('oak', 'table', 'chair'), ('silk', 'dress', 'scarf'), ('steel', 'hammer', 'drill'))


def write_catalogue(folder: Path) -> None:
    """Items are of three kinds with colours and words of their own; users like one kind."""
    rng = np.random.default_rng(0)
    (folder / 'photos').mkdir(parents=True)
    with open(folder / 'items.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['sku', 'title', 'photo'])
        for item in range(NUM_ITEMS):
            words = ' '.join(rng.permutation(WORDS[item % NUM_KINDS]))
            writer.writerow([f'i{item:02}', f'{words} no {item}', f'{item}.png'])
            pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            pixels[..., item % NUM_KINDS] += 180
            Image.fromarray(pixels).save(folder / 'photos' / f'{item}.png')
    (folder / 'photos' / '5.png').write_bytes(b'not a picture')
    with open(folder / 'orders.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['customer', 'sku', 'day'])
        for user in range(NUM_USERS):
            own = [item for item in range(NUM_ITEMS) if item % NUM_KINDS == user % NUM_KINDS]
            others = rng.choice(NUM_ITEMS, 2, replace=False).tolist()
            for day, item in enumerate([*rng.permutation(own)[:6].tolist(), *others]):
                writer.writerow([f'u{user}', f'i{item:02}', f'2024-01-{day + 1:02}'])
        writer.writerow(['', 'i01', '2024-01-01'])


@pytest.fixture(scope='session')
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('catalogue')
    write_catalogue(folder)
    return folder


@pytest.fixture(scope='session')
def dataset(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('prepared') / 'shop'
    pyg_mmgef('prepare', catalogue / 'orders.csv', '-o', folder, *COLUMNS, cwd=catalogue)
    return folder


@pytest.fixture(scope='session')
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('runs') / 'first'
    pyg_mmgef('train', dataset, '-o', folder, *OPTIONS)
    return folder


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / 'run'))
