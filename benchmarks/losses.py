"""Losses on Amazon Baby: how good, and after how many epochs?

Data: the folder `amazon_baby` below PYG_MMGEF_DATA. LightGCN (2 layers) and MM-GEF (the settings of
`amazon_baby.py`) with each loss; learning rate 1e-3, batch 2048. Where several temperatures or
weights of uniformity are given below, validation chooses, the epoch too; test is read once. That
takes an hour or two; started again, it keeps the rows that are in its JSON file already.
"""

import json
from collections.abc import Iterator
from typing import Any

import torch
from amazon_baby import BOTH, L2, LIGHT_GCN_L2, SETTINGS, load
from common import INTERACTS, fit, parser, plot_curves, write_json
from torch_geometric import seed_everything

from pyg_mmgef.nn import MMGEF, AlignmentUniformityLoss, BPRLoss, LightGCN, SampledSoftmaxLoss
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.transforms import AddCoInteractionGraph

NUM_NEGATIVES = 2048
TEMPERATURES, GAMMAS = (0.15, 0.2), (0.5, 1.0, 2.0)


def losses(l2: float) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """Yield each loss's name, its settings to choose from, and the negatives it takes."""
    yield 'BPR', [BPRLoss(l2)], {'num_negatives': 1}
    yield (
        f'softmax, {NUM_NEGATIVES:,} shared',
        [SampledSoftmaxLoss(temperature, in_batch=False) for temperature in TEMPERATURES],
        {'num_negatives': NUM_NEGATIVES, 'shared_negatives': True},
    )
    in_batch = [SampledSoftmaxLoss(temperature) for temperature in TEMPERATURES]
    yield 'softmax, in batch', in_batch, {'num_negatives': 0}
    uniformity = [AlignmentUniformityLoss(gamma) for gamma in GAMMAS]
    yield 'alignment-uniformity', uniformity, {'num_negatives': 0}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument('--epochs', type=int, default=300)
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    train, val, test = load()
    train = AddCoInteractionGraph(k=10, min_count=3)(train)
    seen = torch.cat([train[INTERACTS].edge_index, val[INTERACTS].edge_label_index], dim=1)
    path = args.output / 'losses.json'
    results: list[dict[str, Any]] = []
    if path.exists() and not args.quick:
        results = json.loads(path.read_text())['results']
    known = {row['row'] for row in results}
    print(
        f'{"Amazon Baby, test":<42}{"R@20":>8}{"N@20":>8}{"val R@20":>10}{"epoch":>7}{"s/epoch":>9}'
    )
    for name in ('LightGCN', 'MM-GEF'):
        for loss, settings, negatives in losses(LIGHT_GCN_L2 if name == 'LightGCN' else L2):
            if f'{name}, {loss}' in known:
                continue
            tried = []
            for loss_fn in settings:
                seed_everything(0)
                tried.append(
                    fit(
                        LightGCN.from_data(train)
                        if name == 'LightGCN'
                        else MMGEF.from_data(train, item_graphs=BOTH, **SETTINGS),
                        train,
                        val[INTERACTS].edge_label_index,
                        loss_fn=loss_fn,
                        **negatives,
                        epochs=2 if args.quick else args.epochs,
                        patience=4,
                    )
                )
            which = max(range(len(tried)), key=lambda number: tried[number].recall)
            best = tried[which]
            metrics = evaluate_ranking(
                best.z_user, best.z_item, test[INTERACTS].edge_label_index, exclude=seen
            )
            results.append(
                {
                    'row': f'{name}, {loss}',
                    'loss': repr(settings[which]),
                    'tried': {
                        repr(s): fitted.recall for s, fitted in zip(settings, tried, strict=True)
                    },
                    **metrics,
                    'val_recall@20': best.recall,
                    'epoch': best.epoch,
                    'seconds_per_epoch': best.seconds_per_epoch,
                    'curve': best.curve,
                }
            )
            print(
                f'{name + ", " + loss:<42}{metrics["recall@20"]:>8.4f}{metrics["ndcg@20"]:>8.4f}'
                f'{best.recall:>10.4f}{best.epoch:>7}{best.seconds_per_epoch:>9.2f}  '
                f'{settings[which]}',
                flush=True,
            )
            write_json(path, results)
    plot_curves(args.output / 'losses.png', results, '{row}')


if __name__ == '__main__':
    main()
