"""How many seconds of training until validation Recall@20 on Amazon Baby is good enough?

Data: the folder `amazon_baby` below PYG_MMGEF_DATA. MM-GEF and LightGCN have the settings of
`amazon_baby.py`; PyG's LightGCN those of ours. The clock stops during evaluation, which is the same
for all, every second epoch. A contestant ends at 0.090, or when it has stopped improving, or after
`--seconds` of training.

    python benchmarks/time_to_quality.py --output docs/measured                         # measure
    python benchmarks/time_to_quality.py --output docs/measured --page docs/measured

With ``--page``, nothing is measured: ``time_to_quality.rst`` in that folder, and its picture in the
folder ``images`` beside, are made of the results that lie in the folder of the output.
"""

import time
from pathlib import Path
from typing import Any

import torch
from amazon_baby import BOTH, L2, LIGHT_GCN_L2, SETTINGS, load
from common import INTERACTS, fit, parser, pyplot, read_json, save_plot, write_json
from experiments.figures import decimal
from experiments.rst import list_table, measured_page, picture, wrapped, write_page
from pyg_light_gcn import PyGLightGCN
from torch import Tensor
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from torch_geometric.typing import WITH_TORCH_SPARSE

from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import MMGEF, LightGCN, SampledSoftmaxLoss
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.transforms import AddCoInteractionGraph

GOALS = (0.070, 0.075, 0.080, 0.085, 0.090)
EVERY, PATIENCE = 2, 10
SOFTMAX = {
    'loss_fn': SampledSoftmaxLoss(0.2, in_batch=False),
    'num_negatives': 2048,
    'shared_negatives': True,
}
ABOUT = (
    'Seconds of training until Recall@20 on validation first reaches a value, on Amazon Baby. '
    'Evaluation, every second epoch, is not counted. A contestant ends at .090, or when it has not '
    'improved for ten evaluations, or after {seconds:.0f} seconds; "best" is the highest value '
    'until then. One seed. The settings of MM-GEF and LightGCN are those of '
    "``benchmarks/amazon_baby.py``; PyG's model has those of LightGCN, and the same triplets."
)


def fit_pyg(train: HeteroData, target: Tensor, sparse: bool, max_seconds: float) -> dict[str, Any]:
    """Return the curve of PyG's LightGCN."""
    curve: list[float] = []
    times: list[float] = []
    seconds, best_at = 0.0, 0
    peer = PyGLightGCN(train, sparse, num_layers=3, lambda_reg=LIGHT_GCN_L2)
    loader = TripletLoader(train, 2048, shuffle=True)  # PyG has no per-user negatives.
    while seconds < max_seconds and len(curve) - best_at < PATIENCE:
        start = time.perf_counter()
        for _ in range(EVERY):
            for users, items, negatives in loader:
                positive, negative = (
                    torch.stack([users, end + peer.num_users]) for end in (items, negatives)
                )
                peer.step(positive, negative)
        seconds += time.perf_counter() - start
        z_user, z_item = peer.embeddings()
        metrics = evaluate_ranking(
            z_user, z_item, target, exclude=train[INTERACTS].edge_index, k=20
        )
        curve.append(metrics['recall@20'])
        times.append(seconds)
        best_at = max(range(len(curve)), key=curve.__getitem__)
        if curve[-1] >= GOALS[-1]:
            break
    return {'curve': curve, 'seconds': times}


def main() -> None:
    arguments = parser(__doc__, page=True)
    arguments.add_argument('--seconds', type=float, default=300, help='of training each')
    args = arguments.parse_args()
    if args.page:
        content = read_json(args.output / 'time_to_quality.json')
        write_page(args.page / 'time_to_quality.rst', page(content))
        plot(args.page.parent / 'images' / 'time_to_quality.png', content['results']['rows'])
        return
    torch.set_num_threads(args.threads)
    max_seconds = 5.0 if args.quick else args.seconds
    train, val, _ = load()
    train = AddCoInteractionGraph(k=10, min_count=3)(train)
    target = val[INTERACTS].edge_label_index
    ours: dict[str, tuple[type[LightGCN] | type[MMGEF], dict[str, Any], dict[str, Any]]] = {
        'MM-GEF': (MMGEF, {**SETTINGS, 'item_graphs': BOTH}, {'l2': L2}),
        'MM-GEF, sampled softmax': (MMGEF, {**SETTINGS, 'item_graphs': BOTH}, SOFTMAX),
        'LightGCN': (LightGCN, {'num_layers': 3}, {'l2': LIGHT_GCN_L2}),
        'LightGCN, sampled softmax': (LightGCN, {'num_layers': 3}, SOFTMAX),
    }
    results: dict[str, dict[str, Any]] = {}
    print(
        f'{"seconds of training until":<28}'
        + ''.join(f'{goal:>9.3f}' for goal in GOALS)
        + '     best'
    )

    def report(name: str, row: dict[str, Any]) -> None:
        results[name] = row
        reached = [first_time(row, goal) for goal in GOALS]
        cells = ''.join('        -' if t is None else f'{t:>9.1f}' for t in reached)
        print(f'{name:<28}{cells}{max(row["curve"]):>9.4f}', flush=True)
        kept = {'seconds': max_seconds, 'rows': results}
        write_json(args.output / 'time_to_quality.json', kept)

    for name, (model, kwargs, options) in ours.items():
        seed_everything(0)
        best = fit(
            model.from_data(train, **kwargs),
            train,
            target,
            eval_every=EVERY,
            patience=PATIENCE,
            goal=GOALS[-1],
            max_seconds=max_seconds,
            **options,
        )
        report(name, {'curve': best.curve, 'seconds': best.seconds})
    for name, sparse in (('PyG LightGCN, SparseTensor', True), ('PyG LightGCN, edge_index', False)):
        if sparse and not WITH_TORCH_SPARSE:
            continue
        seed_everything(0)
        report(name, fit_pyg(train, target, sparse, max_seconds))
    plot(args.output / 'time_to_quality.png', results)


def first_time(row: dict[str, Any], goal: float) -> float | None:
    """Return the seconds until the curve first reaches a goal."""
    points = zip(row['seconds'], row['curve'], strict=True)
    return next((seconds for seconds, recall in points if recall >= goal), None)


def page(content: dict[str, Any]) -> str:
    """Return the page of the results."""
    found = content['results']
    cells = [
        [
            name,
            *(
                '' if (seconds := first_time(row, goal)) is None else f'{seconds:.1f}'
                for goal in GOALS
            ),
            decimal(max(row['curve'])),
        ]
        for name, row in found['rows'].items()
    ]
    header = ['', *(decimal(goal, 3) for goal in GOALS), 'best']
    parts = [
        *wrapped(ABOUT.format(seconds=found['seconds'])),
        *list_table(header, cells),
        *picture('time_to_quality', 'validation Recall@20 by seconds of training'),
    ]
    return measured_page('time_to_quality', 'Time to quality', parts, content['machine'])


def plot(path: Path, results: dict[str, dict[str, Any]]) -> None:
    figure, axis = pyplot().subplots(figsize=(7, 4), layout='constrained')
    for name, row in results.items():
        axis.plot(row['seconds'], row['curve'], label=name)
    axis.set(xscale='log', xlabel='seconds of training', ylabel='validation Recall@20')
    axis.set(title='Amazon Baby')
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    save_plot(figure, path)


if __name__ == '__main__':
    main()
