"""How long does a report take, and how large is it, as the catalogue grows?

Data: a random catalogue with titles, ten categories, prices and the pictures of a few hundred
distinct files, and 5,000 people with 20 choices each. The model is IALS. The seconds are those of
`write_report` alone.

    python benchmarks/report.py
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import parser, write_json
from PIL import Image
from torch_geometric.data import HeteroData

from pyg_mmgef import Run, fit
from pyg_mmgef.report import write_report
from pyg_mmgef.runs import RunData

NUM_PICTURES, SIDE = 300, 400


def random_run(folder: Path, num_users: int, num_items: int) -> Run:
    """Fit a model to random choices, of which popular items have most."""
    generator = torch.Generator().manual_seed(0)
    pictures = []
    for number in range(NUM_PICTURES):
        noise = torch.randint(256, (4, 4, 3), generator=generator, dtype=torch.uint8).numpy()
        pictures.append(folder / f'{number}.jpg')
        Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(pictures[-1])
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = num_users, num_items
    user = torch.arange(num_users).repeat_interleave(20)
    item = (num_items * torch.rand(user.numel(), generator=generator) ** 3).long()
    data['user', 'interacts', 'item'].edge_index = torch.stack([user, item]).unique(dim=1)
    items = [
        {
            'text': f'Product number {row}',
            'image': str(pictures[row % NUM_PICTURES]),
            'fields': {'title': f'Product number {row}'},
            'kept': {'category': f'Category {row % 10}', 'price': 1 + row % 97 / 2},
        }
        for row in range(num_items)
    ]
    return fit(RunData(data, items=items), 'ials', embedding_dim=32, split='random')


def measure(num_users: int, num_items: int) -> dict[str, Any]:
    """Return the seconds and the megabytes of a report."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        run = random_run(folder, num_users, num_items)
        start = time.perf_counter()
        write_report(run, folder / 'report.html')
        seconds = time.perf_counter() - start
        size = (folder / 'report.html').stat().st_size / 1e6
    return {'items': num_items, 'people': num_users, 'seconds': seconds, 'megabytes': size}


def main() -> None:
    options = parser(__doc__)
    options.add_argument('--items', type=int, nargs='+', default=[1_000, 10_000, 200_000])
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    num_users, sizes = (300, [500]) if args.quick else (5_000, args.items)
    rows = []
    for num_items in sizes:
        rows.append(measure(num_users, num_items))
        row = rows[-1]
        print(f'{num_items:9,} items {row["seconds"]:7.1f} s {row["megabytes"]:6.2f} MB')
    write_json(args.output / 'report.json', {'rows': rows})


if __name__ == '__main__':
    main()
