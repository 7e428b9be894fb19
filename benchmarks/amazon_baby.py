"""MM-GEF on Amazon Baby, and what each of its parts is worth.

Data: the folder `amazon_baby` below PYG_MMGEF_DATA, with its own per-user 8:1:1 split and its
image and text item graphs, early-fused 0.1 / 0.9. There are no feature vectors, so the item ids
propagate. The settings below were chosen on validation, for MM-GEF and for plain LightGCN; every
ablation has those of MM-GEF. The epoch is chosen on validation, test is read once.

    python benchmarks/amazon_baby.py --output docs/measured                         # measure
    python benchmarks/amazon_baby.py --output docs/measured --page docs/measured

With ``--page``, nothing is measured: ``amazon_baby.rst`` in that folder is made of the results that
lie in the folder of the output.
"""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from common import INTERACTS, data_root, fit, parser, plot_curves, read_json, write_json
from experiments.figures import decimal, plus_minus
from experiments.rst import list_table, measured_page, wrapped, write_page
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData

from pyg_mmgef.datasets import MMRecFolder
from pyg_mmgef.nn import MMGEF, LightGCN
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.transforms import AddCoInteractionGraph, MergeItemGraphs

GRAPHS = {
    'similar_image': 'image_knn10_symnorm.npz',
    'similar_text': 'text_knn10_symnorm.npz',
}
BOTH = ('similar', 'co_interacts')
SETTINGS = {'edge_dropout': 0.8, 'normalize_item': False}
L2 = 1e-3
LIGHT_GCN_L2 = 1e-4
METRICS = ('recall@10', 'recall@20', 'ndcg@10', 'ndcg@20')
ABOUT = (
    'What each part of MM-GEF is worth on Amazon Baby: 19,445 users, 7,050 items, its own split '
    '8:1:1 of each user, all unseen items ranked. The item graphs of pictures and of texts come '
    'with the data, and are fused 0.1 / 0.9. The item ids propagate, as there are no feature '
    'vectors. Co-interactions connect items that share at least {min_count} users. The settings '
    'were chosen on validation, for MM-GEF and for LightGCN; all other rows have those of MM-GEF. '
    'The epoch, of at most {epochs}, is chosen on validation, too. Figures are those of test, '
    '{seeds}. The last column has the weights that attention gives to the graph of content and to '
    'that of co-interactions; with late fusion, to those of pictures, texts and co-interactions.'
)


def load() -> tuple[HeteroData, HeteroData, HeteroData]:
    """Return the splits; train has the graphs of each modality and their early fusion."""
    train, val, test = MMRecFolder(data_root('amazon_baby'), item_graphs=GRAPHS)
    train = MergeItemGraphs({'similar_image': 0.1, 'similar_text': 0.9}, 'similar')(train)
    return train, val, test


def configurations() -> dict[str, Callable[[HeteroData], Any]]:
    """Return what builds each row's model."""

    def mmgef(**kwargs: Any) -> Callable[[HeteroData], MMGEF]:
        return lambda train: MMGEF.from_data(train, **{**SETTINGS, 'item_graphs': BOTH, **kwargs})

    return {
        'LightGCN': lambda train: LightGCN.from_data(train, num_layers=3),
        'LightGCN, edge dropout': lambda train: LightGCN.from_data(train, edge_dropout=0.8),
        'MM-GEF': mmgef(),
        '  attention per node': mmgef(attention='node'),
        '  attention per edge': mmgef(attention='edge'),
        '  simple average': mmgef(attention='mean'),
        '  multimodal graph only': mmgef(item_graphs=('similar',)),
        '  co-interaction graph only': mmgef(item_graphs=('co_interacts',)),
        '  no item graph': mmgef(item_graphs=()),
        '  no edge dropout': mmgef(edge_dropout=0.0),
        '  unit-length item part': mmgef(normalize_item=True),
        '  late fusion': mmgef(item_graphs=('similar_image', 'similar_text', 'co_interacts')),
    }


def main() -> None:
    arguments = parser(__doc__, page=True)
    arguments.add_argument('--seeds', type=int, nargs='+', default=[0])
    arguments.add_argument(
        '--rows', nargs='+', help='only the rows whose names contain one of these'
    )
    arguments.add_argument('--epochs', type=int, default=300)
    arguments.add_argument('--min-count', type=int, default=3, help='users an item pair must share')
    args = arguments.parse_args()
    if args.page:
        content = read_json(args.output / 'amazon_baby.json')
        write_page(args.page / 'amazon_baby.rst', page(content))
        return
    torch.set_num_threads(args.threads)
    train, val, test = load()
    train = AddCoInteractionGraph(k=10, min_count=args.min_count)(train)
    seen = torch.cat([train[INTERACTS].edge_index, val[INTERACTS].edge_label_index], dim=1)

    results = []
    print(
        f'{"Amazon Baby, test":<30}{"R@10":>8}{"R@20":>8}{"N@10":>8}{"N@20":>8}{"val R@20":>10}'
        f'{"epoch":>7}{"s/epoch":>9}  alpha'
    )
    for name, build in configurations().items():
        if args.rows and not any(row in name for row in args.rows):
            continue
        for seed in args.seeds:
            seed_everything(seed)
            best = fit(
                build(train),
                train,
                val[INTERACTS].edge_label_index,
                l2=LIGHT_GCN_L2 if name == 'LightGCN' else L2,
                epochs=5 if args.quick else args.epochs,
                seed=seed,
            )
            metrics = evaluate_ranking(
                best.z_user, best.z_item, test[INTERACTS].edge_label_index, exclude=seen
            )
            columns = [metrics[key] for key in METRICS]
            print(
                f'{name:<30}'
                + ''.join(f'{value:>8.4f}' for value in columns)
                + f'{best.recall:>10.4f}{best.epoch:>7}{best.seconds_per_epoch:>9.2f}  '
                + ' '.join(f'{value:.2f}' for value in best.alpha),
                flush=True,
            )
            results.append(
                {
                    'row': name.strip(),
                    'seed': seed,
                    **metrics,
                    'val_recall@20': best.recall,
                    'epoch': best.epoch,
                    'seconds_per_epoch': best.seconds_per_epoch,
                    'alpha': best.alpha,
                    'curve': best.curve,
                    'min_count': args.min_count,
                    'epochs': args.epochs,
                }
            )
            write_json(args.output / 'amazon_baby.json', results)
    plot_curves(args.output / 'amazon_baby.png', results, '{row} (seed {seed})')


def page(content: dict[str, Any]) -> str:
    """Return the page of the results."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in content['results']:
        groups.setdefault(row['row'], []).append(row)
    cells = []
    for name, rows in groups.items():
        alpha = zip(*(row['alpha'] for row in rows), strict=True)
        cells.append(
            [
                name,
                *(plus_minus([row[key] for row in rows]) for key in METRICS),
                ', '.join(str(row['epoch']) for row in rows),
                ', '.join(decimal(statistics.mean(values), 2) for values in alpha),
            ]
        )
    first = content['results'][0]
    seeds = len({row['seed'] for row in content['results']})
    about = ABOUT.format(
        **{key: first[key] for key in ('min_count', 'epochs')},
        seeds='one seed' if seeds == 1 else f'{seeds} seeds, mean ± standard deviation',
    )
    header = ['', 'Recall@10', 'Recall@20', 'NDCG@10', 'NDCG@20', 'epoch', 'attention']
    parts = [*wrapped(about), *list_table(header, cells)]
    return measured_page('amazon_baby', 'MM-GEF on Amazon Baby', parts, content['machine'])


if __name__ == '__main__':
    main()
