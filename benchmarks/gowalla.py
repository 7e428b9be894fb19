"""LightGCN on Gowalla, in the split that LightGCN published: how does it converge?

Data: the folder `gowalla_lightgcn` below PYG_MMGEF_DATA (29,858 users, 40,981 items). Published
after 1,000 epochs: Recall@20 0.1830, NDCG@20 0.1554 (arXiv 2002.02126: 3 layers, learning rate
1e-3, batch 2048, L2 1e-4 on the embeddings of layer 0).

    python benchmarks/gowalla.py                   # BPR, in batches that a CPU can afford
    python benchmarks/gowalla.py --loss softmax    # faster, but it stops at 0.169

A step propagates over the whole graph, whatever its batch. So by default batch and learning rate
are eight times the published ones, and the rate falls to zero over 360 epochs. Users are drawn
uniformly, as the authors' code does.

There is no validation part, so the curve is that of test. No epoch is chosen by it, the last one
counts; but what is above was found on it. (This test isn't like a random part of train: its items
have 91 train interactions in the mean, those of train 74. So a random validation part would prefer
what ranks unpopular items well.)
"""

import time
from pathlib import Path

import torch
from common import INTERACTS, data_root, parser, pyplot, save_plot, train_epoch, write_json
from torch.optim.lr_scheduler import LinearLR
from torch_geometric import seed_everything

from pyg_mmgef.datasets import LightGCNFolder
from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import BPRLoss, LightGCN, SampledSoftmaxLoss
from pyg_mmgef.ranking import evaluate_ranking

DEFAULTS = {
    'bpr': {'num_negatives': 1, 'lr': 8e-3, 'batch_size': 16384, 'epochs': 360, 'l2': 1e-4},
    'softmax': {'num_negatives': 1024, 'lr': 5e-3, 'batch_size': 8192, 'epochs': 12, 'l2': 0.0},
}
PUBLISHED = {'recall@20': 0.1830, 'ndcg@20': 0.1554}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument('--loss', choices=list(DEFAULTS), default='bpr')
    for name, value in DEFAULTS['bpr'].items():
        arguments.add_argument(f'--{name.replace("_", "-")}', type=type(value))
    arguments.add_argument('--eval-every', type=int, default=5)
    arguments.add_argument('--seconds', type=float, default=float('inf'), help='of training')
    args = arguments.parse_args()
    for name, value in DEFAULTS[args.loss].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    is_bpr = args.loss == 'bpr'
    torch.set_num_threads(args.threads)
    seed_everything(0)
    train, test = LightGCNFolder(data_root('gowalla_lightgcn'))
    target = test[INTERACTS].edge_label_index
    model = LightGCN.from_data(train, num_layers=3, embedding_l2=args.l2)
    # Larger than xavier's, whose deviations are .008 and .007; as the authors draw them.
    for table in (model.user_embedding, model.item_embedding):
        torch.nn.init.normal_(table.weight, std=0.1)
    # Inner products, not cosines: an item's length learns how popular it is.
    softmax = SampledSoftmaxLoss(0.1, normalize=False, in_batch=False)
    loss_fn = BPRLoss(l2=0.0) if is_bpr else softmax
    loader = TripletLoader(
        train,
        args.batch_size,
        shuffle=True,
        num_negatives=args.num_negatives,
        shared_negatives=not is_bpr,
        uniform_users=is_bpr,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, fused=True)
    # Down to zero, so that the last epoch is the one to take.
    schedule = LinearLR(optimizer, 1.0, 0.0, total_iters=args.epochs * len(loader))
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    curve: list[dict[str, float]] = []
    seconds = 0.0
    print(f'{"epoch":>6}{"seconds":>9}{"R@20":>9}{"N@20":>9}   published 0.1830 / 0.1554')
    for epoch in range(1, (1 if args.quick else args.epochs) + 1):
        start = time.perf_counter()
        train_epoch(model, train, loader, loss_fn, optimizer)
        seconds += time.perf_counter() - start
        last = epoch == args.epochs or seconds > args.seconds or args.quick
        if epoch % args.eval_every == 0 or epoch == 1 or last:
            with torch.inference_mode():
                z_user, z_item = model(train)
            seen = train[INTERACTS].edge_index
            metrics = evaluate_ranking(z_user, z_item, target, exclude=seen, k=20)
            curve.append({'epoch': epoch, 'seconds': seconds, **metrics})
            print(
                f'{epoch:>6}{seconds:>9.0f}{metrics["recall@20"]:>9.4f}{metrics["ndcg@20"]:>9.4f}',
                flush=True,
            )
            settings = {key: str(value) for key, value in vars(args).items()}
            write_json(args.output / 'gowalla.json', {'settings': settings, 'curve': curve})
        if last:
            break
    plot(args.output / 'gowalla.png', curve)


def plot(path: Path, curve: list[dict[str, float]]) -> None:
    figure, axis = pyplot().subplots(figsize=(6, 3.5), layout='constrained')
    for number, (name, published) in enumerate(PUBLISHED.items()):
        epochs = [row['epoch'] for row in curve]
        axis.plot(epochs, [row[name] for row in curve], color=f'C{number}', label=name)
        axis.axhline(published, color=f'C{number}', linestyle=':')
    axis.set(xlabel='epoch', title='LightGCN on Gowalla; dotted: published', ylim=(0, None))
    axis.legend(frameon=False)
    save_plot(figure, path)


if __name__ == '__main__':
    main()
