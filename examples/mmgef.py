"""From pictures and words to recommendations: encode, build graphs, train, evaluate, recommend.

    python examples/mmgef.py                              # the synthetic shop, nothing to download
    python examples/mmgef.py --data PATH                  # a folder with *.inter and *_feat.npy
    python examples/mmgef.py --encoder open_clip:ViT-B-32/laion2b_s34b_b79k

It solves the library's default, ContentIALS, and trains LightGCN and MM-GEF as in the paper, prints
how they rank warm and cold items beside simple baselines, and saves the metrics, a checkpoint of
MM-GEF and two plots in the output folder.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose
from tqdm import tqdm

from pyg_mmgef.datasets import MMRecFolder, SyntheticShop
from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import EASE, MMGEF, BPRLoss, ItemKNN, LightGCN, Popularity, Recommender
from pyg_mmgef.presets import BEST
from pyg_mmgef.ranking import (
    choose_cold_scale,
    evaluate_cold_start,
    evaluate_ranking,
    recommend,
)
from pyg_mmgef.runs import choose
from pyg_mmgef.transforms import (
    AddCoInteractionGraph,
    AddItemKNNGraph,
    FuseModalities,
    SplitColdItems,
    SplitInteractions,
)

INTERACTS = ('user', 'interacts', 'item')
DEFAULT = BEST.recommender
Embeddings = tuple[Tensor, Tensor]


def main() -> None:
    args = parse_args()
    seed_everything(args.seed)
    # With several threads, the gradient of an indexing is summed in any order by default.
    torch.use_deterministic_algorithms(True, warn_only=True)
    args.output.mkdir(parents=True, exist_ok=True)

    # 1. Encode: pictures and titles become `x_image` and `x_text`.
    shop, data = load(args)
    # 2. Split, then build the item graphs from what is left for training.
    splits, cold = split(data, args.seed)
    train = build_graphs(splits[0], args)
    print(f'\n{train}\n')
    # 3. Train.
    models: dict[str, LightGCN | MMGEF] = {'LightGCN': LightGCN.from_data(train)}
    if args.model == 'mmgef':
        models['MM-GEF'] = MMGEF.from_data(
            train,
            fusion=args.fusion,
            attention=args.attention,
            item_dropout=args.item_dropout,
            **({} if args.skip_weight is None else {'skip_weight': args.skip_weight}),
        )
        models['MM-GEF'].content_map = None  # As in the paper, cold items too.
    curves = {
        name: fit(name, model, train, splits[1], cold[1] if cold else None, args)
        for name, model in models.items()
    }
    # 4. The default is solved, not trained: try some penalties, and take the best on validation.
    _, _, best, graphs, _ = choose(*splits[:2], budget=args.budget, seed=args.seed)
    give_room(best, graphs, splits[1])
    # 5. Evaluate on the test edges, unused so far.
    rankers: dict[str, Embeddings] = baselines(train, shop, args.seed)
    with torch.inference_mode():
        rankers |= {name: model.eval()(train) for name, model in models.items()}
        rankers[DEFAULT] = best.eval()(graphs)
    table = {name: evaluate(z, train, splits[1:], cold) for name, z in rankers.items()}
    print_table(table)
    # 6. Recommend, in words.
    print_recommendations(DEFAULT, rankers[DEFAULT], train, shop)
    # 7. Save.
    save(args.output, table, list(models.values())[-1], curves)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--data', default='synthetic', help="'synthetic' or a folder (MMRec layout)"
    )
    parser.add_argument(
        '--root', type=Path, default=Path('runs/shop'), help='where the shop is kept'
    )
    parser.add_argument(
        '--encoder', default='small', help="'small' or 'open_clip:MODEL/PRETRAINED'"
    )
    parser.add_argument('--model', default='mmgef', choices=['mmgef', 'lightgcn'])
    parser.add_argument(
        '--fusion',
        help="early fusion; default 'concat', 'mean' for open_clip",
        choices=['mean', 'weighted', 'gated', 'concat'],
    )
    parser.add_argument('--attention', default='graph', choices=['graph', 'node', 'edge', 'mean'])
    parser.add_argument(
        '--skip-weight', type=float, help='share of the frozen graph; 0.9, or 1 without features'
    )
    parser.add_argument('--item-dropout', type=float, default=0.0, help='treated as cold in a step')
    parser.add_argument('--budget', type=float, help='seconds to choose the default within; all')
    parser.add_argument('--k', type=int, default=10, help='neighbours per item')
    parser.add_argument('--epochs', type=int, default=100)
    parser.add_argument('--patience', type=int, default=10, help='epochs without improvement')
    parser.add_argument('--batch-size', type=int, default=2048)
    parser.add_argument('--lr', type=float, default=5e-3)
    parser.add_argument('--l2', type=float, default=1e-3)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--output', type=Path, default=Path('runs/mmgef'))
    args = parser.parse_args()
    if args.fusion is None:  # The small encoders share no space; CLIP's towers do.
        args.fusion = 'mean' if args.encoder.startswith('open_clip:') else 'concat'
    return args


def load(args: argparse.Namespace) -> tuple[SyntheticShop | None, list[HeteroData]]:
    if args.data != 'synthetic':
        return None, list(MMRecFolder(args.data))
    if args.encoder == 'small':
        shop = SyntheticShop(args.root, seed=args.seed)
    else:
        from pyg_mmgef.encoders import OpenCLIPEncoder

        kind, _, name = args.encoder.partition(':')
        if kind != 'open_clip' or name.count('/') != 1:
            raise SystemExit(
                f"--encoder must be 'small' or 'open_clip:MODEL/PRETRAINED', not {args.encoder!r}"
            )
        encoder = OpenCLIPEncoder(*name.split('/'), verbose=True)
        shop = SyntheticShop(args.root, image_encoder=encoder, text_encoder=encoder, seed=args.seed)
    return shop, [shop[0]]


def split(data: list[HeteroData], seed: int) -> tuple[list[HeteroData], list[HeteroData] | None]:
    """Return train, validation and test of warm items and, if the data is unsplit, of cold ones."""
    if len(data) == 3:
        return data, None
    cold = SplitColdItems(0.2, seed=seed)(data[0])
    return list(SplitInteractions((0.8, 0.1, 0.1), seed=seed)(cold[0])), list(cold)


def build_graphs(train: HeteroData, args: argparse.Namespace) -> HeteroData:
    frozen = 'concat' if args.fusion == 'concat' else 'mean'
    steps = [AddCoInteractionGraph(k=args.k)]
    if any(key.startswith('x_') for key in train['item']):
        steps = [FuseModalities(frozen), AddItemKNNGraph(k=args.k), *steps]
    return Compose(steps)(train)


def fit(
    name: str,
    model: LightGCN | MMGEF,
    train: HeteroData,
    val: HeteroData,
    cold_val: HeteroData | None,
    args: argparse.Namespace,
) -> dict[str, list]:
    """Train with BPR until validation stops improving, and keep the best epoch."""
    loader = TripletLoader(
        train, args.batch_size, shuffle=True, generator=torch.Generator().manual_seed(args.seed)
    )
    loss_fn = BPRLoss(args.l2)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, fused=True)
    curves: dict[str, list] = {'loss': [], 'recall@20': [], 'cold recall@20': [], 'alpha': []}
    best, best_epoch, best_state = -1.0, 0, {}
    progress = tqdm(range(args.epochs), desc=f'{name:>12}', unit='epoch')
    for epoch in progress:
        model.start_epoch(train, epoch)
        model.train()
        total = 0.0
        for users, items, negatives in loader:
            loss = model.loss(train, users, items, negatives, loss_fn)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() / len(loader)

        model.eval()
        with torch.inference_mode():
            z_user, z_item = model(train)
        recall = evaluate_ranking(
            z_user,
            z_item,
            val[INTERACTS].edge_label_index,
            exclude=train[INTERACTS].edge_index,
            k=20,
        )['recall@20']
        curves['loss'].append(total)
        curves['recall@20'].append(recall)
        if cold_val is not None:
            target = cold_val[INTERACTS].edge_label_index
            cold = evaluate_ranking(z_user, z_item, target, candidates=target[1].unique(), k=20)
            curves['cold recall@20'].append(cold['recall@20'])
        if isinstance(model, MMGEF) and model.item_encoder.attention is not None:
            curves['alpha'].append(model.alpha(train).mean(dim=0).tolist())
        if recall > best:
            best, best_epoch = recall, epoch
            best_state = {key: copy_of(value) for key, value in model.state_dict().items()}
        progress.set_postfix(loss=f'{total:.4f}', recall=f'{recall:.4f}', best=f'{best:.4f}')
        if epoch - best_epoch >= max(args.patience, 1):
            break
    progress.close()
    model.load_state_dict(best_state)
    return curves


def copy_of(value: Tensor | dict) -> Tensor | dict:
    return value.clone() if isinstance(value, Tensor) else dict(value)


def give_room(model: Recommender, train: HeteroData, val: HeteroData) -> None:
    """Scale the embeddings of cold items, so that warm ones lose at most 3 % on validation."""
    with torch.inference_mode():
        z_user, z_item = model(train)
    model.cold_scale = choose_cold_scale(
        z_user,
        z_item,
        val[INTERACTS].edge_label_index,
        model.is_warm(train),
        exclude=train[INTERACTS].edge_index,
    )


def baselines(train: HeteroData, shop: SyntheticShop | None, seed: int) -> dict[str, Embeddings]:
    """Return embeddings without training: chance, closed forms and, if known, the planted taste."""
    num_users, num_items = train['user'].num_nodes, train['item'].num_nodes
    chance = torch.rand(num_users, num_items, generator=torch.Generator().manual_seed(seed))
    rankers: dict[str, Embeddings] = {'Random': (chance, torch.eye(num_items))}
    for model in (Popularity, ItemKNN, EASE):
        rankers[model.__name__] = model.from_data(train).eval()(train)
    if shop is not None:
        rankers['Planted taste'] = (shop.true_utility(), torch.eye(num_items))
    return rankers


def evaluate(
    z: Embeddings, train: HeteroData, held_out: list[HeteroData], cold: list[HeteroData] | None
) -> dict[str, dict[str, float]]:
    """Return the metrics of each kind of ranking."""
    val, test = (part[INTERACTS].edge_label_index for part in held_out)
    seen = torch.cat([train[INTERACTS].edge_index, val], dim=1)
    if cold is None:
        return {'warm': evaluate_ranking(*z, test, exclude=seen)}
    cold_val, cold_test = (part[INTERACTS].edge_label_index for part in cold[1:])
    return evaluate_cold_start(
        *z,
        test,
        cold_test,
        torch.cat([cold_val[1], cold_test[1]]).unique(),
        exclude=torch.cat([seen, cold_val], dim=1),
    )


def print_table(table: dict[str, dict[str, dict[str, float]]]) -> None:
    tasks = list(next(iter(table.values())))
    print('\nRecall@20 / NDCG@20, test')
    print(f'{"":<14}' + ''.join(f'{task:>18}' for task in tasks))
    for model, rows in table.items():
        cells = [f'{rows[task]["recall@20"]:.4f} / {rows[task]["ndcg@20"]:.4f}' for task in tasks]
        print(f'{model:<14}' + ''.join(f'{cell:>18}' for cell in cells))
    print()


def print_recommendations(
    name: str, z: Embeddings, train: HeteroData, shop: SyntheticShop | None
) -> None:
    edge_index = train[INTERACTS].edge_index
    is_new = torch.bincount(edge_index[1], minlength=train['item'].num_nodes) == 0
    titles = shop.titles if shop is not None else []

    def describe(item: int) -> str:
        title = (titles[item] if titles else None) or f'item {item}'
        return title + (' (new)' if bool(is_new[item]) else '')

    users = edge_index[0].unique()[:3]
    _, items = recommend(*z, users, k=10, exclude=edge_index)
    for user, row in zip(users.tolist(), items.tolist(), strict=True):
        liked = edge_index[1, edge_index[0] == user][:5].tolist()
        print(f'User {user} bought: ' + '; '.join(map(describe, liked)))
        print(f'  {name} recommends:')
        for rank, item in enumerate(row, start=1):
            print(f'  {rank:>4}. {describe(item)}')


def save(
    folder: Path,
    table: dict[str, dict[str, dict[str, float]]],
    model: LightGCN | MMGEF,
    curves: dict[str, dict[str, list]],
) -> None:
    # Under a temporary name first, so an interruption never leaves half a file.
    (folder / 'metrics.tmp').write_text(json.dumps(table, indent=2))
    (folder / 'metrics.tmp').replace(folder / 'metrics.json')
    torch.save(model.state_dict(), folder / 'model.tmp')
    (folder / 'model.tmp').replace(folder / 'model.pt')
    plot_curves(folder / 'learning_curves.png', curves)
    print(f'\nSaved metrics.json, model.pt and learning_curves.png in {folder}/')
    alpha = {name: curve['alpha'] for name, curve in curves.items() if curve['alpha']}
    if isinstance(model, MMGEF) and alpha:
        plot_alpha(folder / 'attention.png', model.item_graphs, alpha)
        print(f'Saved attention.png in {folder}/')


def plot_curves(path: Path, curves: dict[str, dict[str, list]]) -> None:
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    shown = [
        key
        for key in ('loss', 'recall@20', 'cold recall@20')
        if any(c[key] for c in curves.values())
    ]
    labels = {
        'loss': 'BPR loss',
        'recall@20': 'validation Recall@20, warm items',
        'cold recall@20': 'validation Recall@20, cold items',
    }
    figure, axes = plt.subplots(
        1, len(shown), figsize=(4.5 * len(shown), 3.6), layout='constrained'
    )
    for axis, key in zip(axes, shown, strict=True):
        for name, curve in curves.items():
            axis.plot(range(1, len(curve[key]) + 1), curve[key], label=name)
        axis.set(xlabel='epoch', title=labels[key], ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plot_alpha(path: Path, item_graphs: tuple[str, ...], alpha: dict[str, list]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(alpha), figsize=(4.5 * len(alpha), 3.6), layout='constrained', squeeze=False
    )
    for axis, (name, curve) in zip(axes[0], alpha.items(), strict=True):
        for graph, values in zip(item_graphs, zip(*curve, strict=True), strict=True):
            axis.plot(range(1, len(values) + 1), values, label=graph)
        axis.set(xlabel='epoch', ylabel='α (mean)', title=f'{name}: soft attention', ylim=(0, 1))
        axis.grid(alpha=0.3)
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == '__main__':
    main()
