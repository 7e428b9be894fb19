"""How are cold items ranked after their first interactions?

Data: the synthetic shop and MovieLens-100K, encoded as in `best.py`, whose split this is: a fifth
of the items is cold, the warm interactions are split 8:1:1, both anew with each seed. Of each cold
item, 0 to 10 interactions join the train graph, and the model is fitted anew; those beyond ten are
ranked. No options are chosen, so the cold interactions of both halves are used; the scale of items
that are still cold is the usual one, chosen on warm validation.

    python benchmarks/warm_up.py                            # measure
    python benchmarks/warm_up.py --output docs/measured --page docs/measured/warm_up.rst

With ``--page``, nothing is measured: the tables at the end of the page are made of the results that
lie in the folder of the output.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from best import DATA, split
from best_page import TITLES
from common import INTERACTS, parser, pyplot, save_plot, write_json
from experiments.figures import deviation, plus_minus
from experiments.rst import heading, list_table, write_page
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.presets import BEST, Preset
from pyg_mmgef.ranking import choose_cold_scale
from pyg_mmgef.runs import warm_up
from pyg_mmgef.schema import num_users_items

NUMBERS = (0, 1, 3, 5, 10)
RANKINGS = ('cold among cold', 'cold among all')
METRICS = ('recall@20', 'ndcg@20')
MARK = '.. The tables below are made by benchmarks/warm_up.py from warm_up.json; do not edit them.'


def contestants(train: HeteroData) -> dict[str, Preset]:
    """Return what is compared, with the usual options."""
    options = {'l2': 0.03, 'unobserved_weight': 100 / num_users_items(train)[0]}
    return {
        'ContentIALS, the default': BEST,
        'IALS': Preset('IALS', {'embedding_dim': 128, **options}),
        'ItemKNN': Preset('ItemKNN'),
        'ContentCentroid': Preset('ContentCentroid'),
    }


def fitted(preset: Preset, val: Tensor, train: HeteroData) -> tuple[Tensor, Tensor]:
    """Return the embeddings of a model, those of cold items at their usual scale."""
    train = preset.transform()(train)
    model = preset.model(train).eval()
    with torch.inference_mode():
        z_user, z_item = model(train)
        is_warm, seen = model.is_warm(train), train[INTERACTS].edge_index
        model.cold_scale = choose_cold_scale(z_user, z_item, val, is_warm, exclude=seen)
        return model(train)


def measure(data: list[HeteroData], seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the curve of each contestant on one split."""
    parts = split(data, seed, cold=True)
    assert parts.cold_val is not None
    assert parts.cold_test is not None
    cold = torch.cat([parts.cold_val, parts.cold_test], dim=1)
    val = parts.val[INTERACTS].edge_label_index
    count = cold[1].bincount()
    sizes = {
        'cold items': int((count > 0).sum()),
        'ranked items': int((count > NUMBERS[-1]).sum()),
        'ranked interactions': int((count - NUMBERS[-1]).clamp(min=0).sum()),
    }
    known = torch.cat([val, parts.test], dim=1)
    for name, preset in contestants(parts.train).items():
        curve = warm_up(
            parts.train,
            cold,
            partial(fitted, preset, val),
            revealed=NUMBERS,
            exclude=known,
            seed=seed,
        )
        yield name, {'curve': curve, **sizes}


def main() -> None:
    arguments = parser(__doc__)
    with_features = ['shop', 'ml100k', 'lfm2k', 'tiktok']
    arguments.add_argument('--data', nargs='+', choices=with_features, default=with_features[:2])
    arguments.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    arguments.add_argument('--page', type=Path, help='make its tables, and measure nothing')
    args = arguments.parse_args()
    if args.page:
        text = args.page.read_text(encoding='utf-8')
        write_page(args.page, with_tables(text, args.output))
        return
    measure_all(args)


def measure_all(args: argparse.Namespace) -> None:
    """Measure, and write the results after each contestant."""
    torch.set_num_threads(args.threads)
    results: list[dict[str, Any]] = []
    for data_name in args.data:
        data = DATA[data_name]()
        for seed in args.seeds[:1] if args.quick else args.seeds:
            for name, found in measure(data, seed):
                results.append({'data': data_name, 'seed': seed, 'contestant': name, **found})
                write_json(args.output / 'warm_up.json', results)
        print_tables([row for row in results if row['data'] == data_name])
    plot(args.output / 'warm_up.png', results)


def of(
    rows: list[dict[str, Any]], name: str, number: int, ranking: str, metric: str
) -> list[float]:
    """Return the values of a contestant over the seeds."""
    return [row['curve'][number][ranking][metric] for row in rows if row['contestant'] == name]


def names_in(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row['contestant'] for row in rows))


def cells(rows: list[dict[str, Any]], name: str, ranking: str) -> list[str]:
    """Return a contestant's means and standard deviations over the seeds, by number."""
    return [
        ' / '.join(plus_minus(of(rows, name, number, ranking, metric)) for metric in METRICS)
        for number in NUMBERS
    ]


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Print a table for each ranking."""
    for ranking in RANKINGS:
        print(f'\n{rows[0]["data"]}, {ranking}, Recall@20 / NDCG@20')
        print(f'{"":<26}' + ''.join(f'{number:<34}' for number in NUMBERS))
        for name in names_in(rows):
            row = ''.join(f'{cell:<34}' for cell in cells(rows, name, ranking))
            print(f'{name:<26}{row}', flush=True)


def with_tables(text: str, folder: Path) -> str:
    """Return the text of the page with its tables made anew."""
    content = json.loads((folder / 'warm_up.json').read_text(encoding='utf-8'))
    # JSON has texts for the numbers of interactions.
    results = [
        {**row, 'curve': {int(number): found for number, found in row['curve'].items()}}
        for row in content['results']
    ]
    lines = [MARK, '']
    for data in dict.fromkeys(row['data'] for row in results):
        rows = [row for row in results if row['data'] == data]
        for ranking in RANKINGS:
            lines += heading(f'{TITLES[data]}, {ranking}', '-')
            header = ['interactions revealed', *map(str, NUMBERS)]
            lines += list_table(header, [[n, *cells(rows, n, ranking)] for n in names_in(rows)])
    return text.partition(MARK)[0] + '\n'.join(lines)


def plot(path: Path, results: list[dict[str, Any]]) -> None:
    datasets = list(dict.fromkeys(row['data'] for row in results))
    size = (4 * len(RANKINGS), 3.2 * len(datasets))
    figure, grid = pyplot().subplots(
        len(datasets), len(RANKINGS), figsize=size, squeeze=False, layout='constrained'
    )
    for data, axes in zip(datasets, grid, strict=True):
        rows = [row for row in results if row['data'] == data]
        for ranking, axis in zip(RANKINGS, axes, strict=True):
            for name in names_in(rows):
                values = [of(rows, name, number, ranking, 'recall@20') for number in NUMBERS]
                means = [statistics.mean(each) for each in values]
                spread = [deviation(each) for each in values]
                axis.errorbar(NUMBERS, means, spread, marker='o', capsize=2, label=name)
            axis.set(title=f'{data}, {ranking}', xlabel='interactions revealed', ylabel='Recall@20')
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
    grid[0, 0].legend(frameon=False, fontsize=7)
    save_plot(figure, path)


if __name__ == '__main__':
    main()
