"""Warm and cold films on MovieLens-100K, from raw posters and plots.

Data: the folder `ml100k_multimodal` below PYG_MMGEF_DATA: ratings, a table of titles and plots, and
a folder of posters. A rating of at least 4 is an interaction. Posters pass through `PixelEncoder`,
titles and plots through `TitleEncoder`; nothing is downloaded. A fifth of the films is cold: half
of them for validation, half for test. The epoch is chosen on warm validation, test is read once.
"""

import csv
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from common import INTERACTS, data_root, fit, parser, pyplot, save_plot, write_json
from torch import Tensor
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose

from pyg_mmgef.datasets import MMRecFolder
from pyg_mmgef.encoders import PixelEncoder, TitleEncoder
from pyg_mmgef.nn import MMGEF, LightGCN
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    SplitColdItems,
    SplitInteractions,
)

EncodeTexts: TypeAlias = Callable[[Sequence[str | None]], tuple[Tensor, Tensor]]
COLD = {'item_readout': 'mean', 'item_dropout': 0.5, 'cold_scale': 1.1}


def load(encode_texts: EncodeTexts | None = None) -> HeteroData:
    """Return users, films with encoded posters and plots, and interactions."""
    encode_texts = TitleEncoder().encode_texts if encode_texts is None else encode_texts
    folder = data_root('ml100k_multimodal')
    data = MMRecFolder(folder)[0]
    liked = data[INTERACTS].rating >= 4
    for key in ('edge_index', 'rating', 'time'):
        data[INTERACTS][key] = data[INTERACTS][key][..., liked]

    with open(folder / 'item_text_poster.csv', newline='', encoding='utf-8') as file:
        rows = {int(row['item_id']): row for row in csv.DictReader(file)}
    films = [rows.get(int(item), {}) for item in data['item'].id]
    posters = [folder / film['poster'] if film.get('poster') else None for film in films]
    texts = [f'{film.get("title", "")} {film.get("plot", "")}'.strip() or None for film in films]
    data['item'].x_image, data['item'].has_image = PixelEncoder().encode_images(posters)
    data['item'].x_text, data['item'].has_text = encode_texts(texts)
    return data


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    args = arguments.parse_args()
    torch.set_num_threads(args.threads)
    data = load()
    present = [int(data['item'][f'has_{name}'].sum()) for name in ('image', 'text')]
    print(
        f'{data["item"].num_nodes} films, {present[0]} posters, {present[1]} texts, '
        f'{data[INTERACTS].edge_index.size(1)} interactions'
    )

    results: list[dict[str, Any]] = []
    for seed in args.seeds[:1] if args.quick else args.seeds:
        cold = SplitColdItems(0.2, seed=seed)(data)
        train, val, test = SplitInteractions(seed=seed)(cold[0])
        train = Compose(
            [FuseModalities('concat'), AddItemKNNGraph(k=10), AddCoInteractionGraph(k=10)]
        )(train)
        edge_index = train[INTERACTS].edge_index
        degree = torch.bincount(edge_index[1], minlength=data['item'].num_nodes).float()
        chance = torch.Generator().manual_seed(seed)
        rankers = {
            'Random': (
                torch.rand(data['user'].num_nodes, degree.numel(), generator=chance),
                torch.eye(degree.numel()),
            ),
            'Popularity': (torch.ones(data['user'].num_nodes, 1), degree[:, None]),
        }
        for name in ('LightGCN', 'MM-GEF'):
            seed_everything(seed)
            model = (
                LightGCN.from_data(train)
                if name == 'LightGCN'
                else MMGEF.from_data(train, fusion='concat', **COLD)
            )
            best = fit(
                model,
                train,
                val[INTERACTS].edge_label_index,
                seed=seed,
                lr=5e-3,
                epochs=5 if args.quick else 300,
            )
            rankers[name] = (best.z_user, best.z_item)
        seen = torch.cat([edge_index, val[INTERACTS].edge_label_index], dim=1)
        cold_target = cold[2][INTERACTS].edge_label_index
        tasks: dict[str, dict[str, Any]] = {
            'warm': {'target': test[INTERACTS].edge_label_index, 'exclude': seen},
            'cold among cold': {'target': cold_target, 'candidates': cold_target[1].unique()},
            'cold among all': {'target': cold_target, 'exclude': edge_index},
        }
        for task, kwargs in tasks.items():
            for name, z in rankers.items():
                metrics = evaluate_ranking(*z, **kwargs)
                results.append({'task': task, 'row': name, 'seed': seed, **metrics})

    print_table(results)
    write_json(args.output / 'ml100k.json', results)
    plot(args.output / 'ml100k.png', results)


def mean(results: list[dict[str, Any]], task: str, row: str, key: str) -> tuple[float, float]:
    values = torch.tensor(
        [result[key] for result in results if result['task'] == task and result['row'] == row]
    )
    return float(values.mean()), float(values.std(correction=0))


def distinct(results: list[dict[str, Any]], key: str) -> list[str]:
    return list(dict.fromkeys(result[key] for result in results))


def print_table(results: list[dict[str, Any]]) -> None:
    keys = ('recall@10', 'recall@20', 'precision@20', 'ndcg@10', 'ndcg@20')
    print(f'{"MovieLens-100K, test":<18}{"":<12}' + ''.join(f'{key:>18}' for key in keys))
    for task in distinct(results, 'task'):
        for row in distinct(results, 'row'):
            cells = (mean(results, task, row, key) for key in keys)
            print(f'{task:<18}{row:<12}' + ''.join(f'{m:>10.4f} ±{s:.4f}' for m, s in cells))


def plot(path: Any, results: list[dict[str, Any]]) -> None:
    tasks, rows = distinct(results, 'task'), distinct(results, 'row')
    figure, axes = pyplot().subplots(1, len(tasks), figsize=(10, 3), layout='constrained')
    for axis, task in zip(axes, tasks, strict=True):
        cells = [mean(results, task, row, 'recall@20') for row in rows]
        axis.bar(rows, [cell[0] for cell in cells], yerr=[cell[1] for cell in cells])
        axis.set(title=task, ylabel='Recall@20')
    save_plot(figure, path)


if __name__ == '__main__':
    main()
