"""Take the picture of a report: python docs/images/report.py

It needs Chromium. The shop is the synthetic one, so its products are made up.
"""

import csv
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from pyg_mmgef import Run, fit
from pyg_mmgef.datasets import InteractionTables, SyntheticShop
from pyg_mmgef.report import write_report

PICTURE = Path(__file__).with_name('report.png')
WIDTH, HEIGHT = 1200, 1250
BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'chrome'))))


def shop(folder: Path) -> Run:
    """Make a shop with categories and prices, and fit the default model."""
    SyntheticShop(folder, num_users=1500, num_items=600, image_size=128)
    raw = folder / 'raw'
    with open(raw / 'items.csv', newline='') as items, open(raw / 'attributes.csv') as attributes:
        rows = list(zip(csv.DictReader(items), csv.DictReader(attributes), strict=True))
    with open(raw / 'products.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['item', 'title', 'image', 'category', 'price'])
        for place, (item, has) in enumerate(rows):
            price = 9.5 + place * 37 % 90
            writer.writerow([*item.values(), has['category'].capitalize(), price])
    tables = InteractionTables(
        raw / 'interactions.csv',
        raw / 'products.csv',
        user='user',
        item='item',
        item_id='item',
        time='time',
        text='title',
        image='image',
        fields=('category', 'price'),
    )
    return fit(tables, split='time')


def main() -> None:
    with TemporaryDirectory() as place:
        folder = Path(place)
        page, shot = folder / 'report.html', folder / 'report.png'
        write_report(shop(folder / 'shop'), page, title='Synthetic Shop', verb='bought')
        options = ('--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars')
        size = (f'--window-size={WIDTH},{HEIGHT}', f'--screenshot={shot}')
        subprocess.run([BROWSER, *options, *size, page.as_uri()], check=True)
        picture = Image.open(shot).convert('RGB').quantize(256, method=Image.Quantize.MEDIANCUT)
        picture.save(PICTURE, optimize=True)


if __name__ == '__main__':
    main()
