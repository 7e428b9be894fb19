"""How much is lost as items lose their pictures, their texts, or both?

Data: the synthetic shop, and with `--data ml100k` the folder `ml100k_multimodal` below
PYG_MMGEF_DATA, encoded as in `ml100k.py`. A share of the items that have a modality loses it, in
train as in the ranking; what a larger share takes includes what a smaller one took. A fifth of the
items is cold. The model is the default, `presets.BEST`, as it is: nothing is chosen, so validation
only counts as seen.

    python benchmarks/missing_modalities.py --data shop ml100k      # measure
    python benchmarks/missing_modalities.py --output docs/measured --page docs/measured

With ``--page``, nothing is measured: ``missing_modalities.rst`` in that folder is made of the
results that lie in the folder of the output.
"""

import argparse
import copy
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from best_page import TITLES
from common import INTERACTS, parser, pyplot, read_json, save_plot, write_json
from experiments.figures import deviation, plus_minus
from experiments.rst import heading, list_table, measured_page, wrapped, write_page
from ml100k import load as load_ml100k
from torch_geometric.data import HeteroData

from pyg_mmgef.datasets import SyntheticShop
from pyg_mmgef.presets import BEST
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.schema import item_modalities
from pyg_mmgef.transforms import SplitColdItems, SplitInteractions

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
KINDS = {'pictures': ['image'], 'texts': ['text'], 'both': ['image', 'text']}
TASKS = ('warm', 'cold among cold')
ABOUT = (
    'A share of the items loses its pictures, its texts or both, in training as in the ranking. '
    'A fifth of the items is cold, the others are split 8:1:1, both anew with each of three seeds. '
    'The model is the default as it is, :data:`pyg_mmgef.presets.BEST`. Figures are Recall@20 on '
    'test, mean ± standard deviation over the seeds. A cold item without any content scores zero '
    'for everybody. Posters say little about a film, so cold films are ranked by their texts.'
)


def remove(data: HeteroData, modalities: list[str], share: float, seed: int) -> HeteroData:
    """Return the data after a share of the items has lost these modalities."""
    out = copy.copy(data)
    order = torch.randperm(data['item'].num_nodes, generator=torch.Generator().manual_seed(seed))
    for name in modalities:
        x, has = data['item'][f'x_{name}'].clone(), data['item'][f'has_{name}'].clone()
        owners = order[has[order]]
        loses = owners[: round(share * owners.numel())]
        x[loses], has[loses] = 0, False
        out['item'][f'x_{name}'], out['item'][f'has_{name}'] = x, has
    return out


def measure(data: HeteroData, seed: int) -> dict[str, float]:
    """Fit the default to the data, and rank warm and cold items."""
    cold = SplitColdItems(0.2, seed=seed)(data)
    train, val, test = SplitInteractions(seed=seed)(cold[0])
    train = BEST.transform()(train)
    with torch.inference_mode():
        z_user, z_item = BEST.model(train).eval()(train)
    seen = torch.cat([train[INTERACTS].edge_index, val[INTERACTS].edge_label_index], dim=1)
    cold_target = cold[2][INTERACTS].edge_label_index
    warm_kwargs = {'target': test[INTERACTS].edge_label_index, 'exclude': seen}
    cold_kwargs = {'target': cold_target, 'candidates': cold_target[1].unique()}
    metrics: dict[str, float] = {}
    for task, kwargs in zip(TASKS, (warm_kwargs, cold_kwargs), strict=True):
        metrics[task] = evaluate_ranking(z_user, z_item, k=20, **kwargs)['recall@20']
    x, _ = item_modalities(train)
    has_content = torch.stack([row.ne(0).any(dim=1) for row in x.values()]).any(dim=0)
    metrics['items without content'] = int((~has_content).sum())
    return metrics


def conditions() -> Iterator[tuple[str, float]]:
    """Yield what is removed, and the share; nothing removed comes once."""
    for share in SHARES:
        for kind in KINDS if share > 0 else ['nothing']:
            if (kind, share) != ('both', 1.0):  # Then there is no content.
                yield kind, share


def main() -> None:
    arguments = parser(__doc__, page=True)
    arguments.add_argument('--data', nargs='+', choices=['shop', 'ml100k'], default=['shop'])
    arguments.add_argument('--root', type=Path, default=Path('runs/shop'), help='of the shop')
    arguments.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    args = arguments.parse_args()
    if args.page:
        write_page(args.page / 'missing_modalities.rst', page(args.output))
        return
    measure_all(args)


def measure_all(args: argparse.Namespace) -> None:
    """Measure, and write the results after each condition."""
    torch.set_num_threads(args.threads)
    results: list[dict[str, Any]] = []
    for name in args.data:
        data = SyntheticShop(args.root)[0] if name == 'shop' else load_ml100k()
        print(f'{name}, test Recall@20: {"warm":>27}{"cold among cold":>22}   no content')
        for kind, share in conditions():
            rows = []
            for seed in args.seeds[:1] if args.quick else args.seeds:
                poorer = remove(data, KINDS.get(kind, []), share, seed)
                row = measure(poorer, seed)
                rows.append(row)
                results.append({'data': name, 'removed': kind, 'share': share, 'seed': seed, **row})
            cells = ''.join(f'{mean_std(rows, task):>22}' for task in TASKS)
            without = statistics.mean(row['items without content'] for row in rows)
            print(f'{100 * share:>5.0f} % of {kind:<20}{cells}{without:>12.0f}', flush=True)
            write_json(args.output / 'missing_modalities.json', results)
    plot(args.output / 'missing_modalities.png', results)


def mean_std(rows: list[dict[str, float]], key: str) -> str:
    return plus_minus([row[key] for row in rows])


def page(folder: Path) -> str:
    """Return the page of the results in a folder."""
    content = read_json(folder / 'missing_modalities.json')
    header = ['items without', *(f'{100 * share:.0f} %' for share in SHARES)]
    lines = wrapped(ABOUT)
    for data in dict.fromkeys(row['data'] for row in content['results']):
        rows = [row for row in content['results'] if row['data'] == data]
        for task in TASKS:
            curves = {kind: curve(rows, kind, task) for kind in KINDS}
            cells = [
                [kind, *(plus_minus(found[share]) if share in found else '' for share in SHARES)]
                for kind, found in curves.items()
            ]
            lines += [*heading(f'{TITLES[data]}, {task}', '-'), *list_table(header, cells)]
    return measured_page('missing_modalities', 'Missing modalities', lines, content['machine'])


def curve(rows: list[dict[str, Any]], kind: str, task: str) -> dict[float, list[float]]:
    """Return the values over the seeds, by the share of items that lost this kind of content."""
    found: dict[float, list[float]] = {}
    for row in rows:
        if row['removed'] in (kind, 'nothing'):
            found.setdefault(row['share'], []).append(row[task])
    return found


def plot(path: Path, results: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(result['data'] for result in results))
    size = (4 * len(TASKS), 3.2 * len(names))
    figure, grid = pyplot().subplots(
        len(names), len(TASKS), figsize=size, squeeze=False, layout='constrained'
    )
    for name, axes in zip(names, grid, strict=True):
        rows = [row for row in results if row['data'] == name]
        for task, axis in zip(TASKS, axes, strict=True):
            for kind in KINDS:
                found = curve(rows, kind, task)
                shares = [100 * share for share in found]
                means = [statistics.mean(values) for values in found.values()]
                spread = [deviation(values) for values in found.values()]
                axis.errorbar(shares, means, spread, marker='o', capsize=2, label=kind)
            axis.set(title=f'{name}, {task}', xlabel='% of items without', ylabel='Recall@20')
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
    grid[0, 0].legend(frameon=False)
    save_plot(figure, path)


if __name__ == '__main__':
    main()
