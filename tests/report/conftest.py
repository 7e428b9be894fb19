import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyg_mmgef import Run, fit
from pyg_mmgef.datasets import InteractionTables
from pyg_mmgef.report._evidence import Evidence

NUM_USERS, NUM_ITEMS, NUM_NEW = 60, 75, 3
KINDS = ('Lamps', 'Rugs', 'Sofas')


def write_shop(folder: Path) -> None:
    """Items are of three kinds; users mostly choose one kind; the last items are new."""
    rng = np.random.default_rng(0)
    (folder / 'photos').mkdir()
    with open(folder / 'items.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['sku', 'title', 'about', 'category', 'price', 'photo'])
        for item in range(NUM_ITEMS):
            kind = KINDS[item % 3]
            about = f'A {kind[:-1].lower()} of our own making, number {item}, made to last.'
            row = [f'i{item}', f'{kind[:-1]} no {item}', about, kind, f'{10 + item}.50']
            writer.writerow([*row, f'{item}.png'])
            pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            pixels[..., item % 3] += 180
            Image.fromarray(pixels).save(folder / 'photos' / f'{item}.png')
    (folder / 'photos' / '4.png').write_bytes(b'not a picture')
    with open(folder / 'orders.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['user', 'sku', 'day'])
        old = np.arange(NUM_ITEMS - NUM_NEW)
        for user in range(NUM_USERS):
            own = rng.permutation(old[old % 3 == user % 3])[: 4 + user % 6]
            for day, item in enumerate([*own, *rng.choice(old, 2)]):
                writer.writerow([f'u{user}', f'i{item}', f'2026-01-{day + 1:02}'])


@pytest.fixture(scope='session')
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp('report_shop')
    write_shop(folder)
    tables = InteractionTables(
        folder / 'orders.csv',
        folder / 'items.csv',
        user='user',
        item='sku',
        item_id='sku',
        time='day',
        text='title',
        fields=('about', 'category', 'price'),
        image='photo',
        image_folder=folder / 'photos',
    )
    with pytest.warns(UserWarning, match='1 of 75 pictures could not be read'):
        return fit(tables, split='random', budget=0)


@pytest.fixture(scope='session')
def evidence(run: Run) -> Evidence:
    return Evidence(run)
