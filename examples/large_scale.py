"""MM-GEF on processes of which none holds the whole: from partitioned Parquet to an export.

torchrun --standalone --nproc-per-node 2 examples/large_scale.py --quick
torchrun --standalone --nproc-per-node 4 examples/large_scale.py --data partitioned

It needs TorchRec: pip install --no-deps -r requirements/distributed.txt

Without --data it makes a random shop. A folder of data has `interactions` (columns user, item,
time), `users` (user_id, user), `items` (item_id, item, and title if there is one) and, for each
modality, `features/<modality>` (item, x); the recipes in examples/partition write such folders.
After an interruption, run the same command again: it continues from the last epoch.
"""

import argparse
import resource
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import torch
import torch.distributed as dist
import torch.nn.functional as F

from pyg_mmgef.catalog import Catalog
from pyg_mmgef.distributed import (
    FeatureShard,
    InteractionShard,
    Place,
    ShardedData,
    ShardedModel,
    ShardedTripletLoader,
    load_checkpoint,
    process_group,
    read_features,
    read_interactions,
    save_checkpoint,
    sharded_co_interaction_graph,
    sharded_embeddings,
    sharded_evaluate_ranking,
    sharded_export,
    sharded_knn_graph,
    sharded_normalize_similarity,
    sharded_recommend_to_parquet,
)
from pyg_mmgef.nn import MMGEF, BPRLoss
from pyg_mmgef.typing import WeightedGraph

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--data', type=Path, help='folder of partitioned data; made if left out')
parser.add_argument('--output', type=Path, default=Path('runs/large_scale'))
parser.add_argument('--quick', action='store_true', help='a small shop and a few epochs')
parser.add_argument('--users', type=int, default=200_000, help='of the random shop')
parser.add_argument('--items', type=int, default=200_000, help='of the random shop')
parser.add_argument('--epochs', type=int, default=10)
parser.add_argument('--batch-size', type=int, default=16_384, help='of all processes together')
parser.add_argument('--num-neighbors', type=int, default=10, help='of a node in a layer')
parser.add_argument('--k', type=int, default=10, help='neighbours in each item graph')
parser.add_argument('--recall', type=float, default=0.95, help='of the nearest neighbours')
parser.add_argument('--lr', type=float, default=0.1)
parser.add_argument('--seed', type=int, default=0)
parser.add_argument('--timeout', type=float, default=1800, help='seconds to wait for a process')
args = parser.parse_args()
if args.quick:
    args.users, args.items, args.epochs = 2000, 1000, min(args.epochs, 3)
    args.batch_size, args.recall = 2048, 1.0

CLICKS, TASTE, NOISE, WIDTH = 10, 100, 0.1, {'image': 64, 'text': 32}


def write_shop(folder: Path, place: Place) -> None:
    """Write a random shop, each process its part: users have two tastes, items show theirs."""
    rank, size = place.rank, place.num_processes
    rng = np.random.default_rng([args.seed, 1 + rank])
    num_tastes = max(2, args.items // TASTE)
    user = np.arange(args.users * rank // size, args.users * (rank + 1) // size)
    item = np.arange(args.items * rank // size, args.items * (rank + 1) // size)

    def write(name: str, columns: Mapping[str, object]) -> None:
        (folder / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), folder / name / f'part-{rank}.parquet')

    who = user.repeat(CLICKS)
    tastes = rng.integers(num_tastes, size=(len(user), 2)).repeat(CLICKS, axis=0)
    taste = tastes[np.arange(len(who)), rng.integers(2, size=len(who))]
    # The items of a taste are those of the same remainder; the first of them are popular.
    what = taste + num_tastes * (rng.random(len(who)) ** 2 * (args.items // num_tastes)).astype(int)
    is_noise = rng.random(len(who)) < NOISE
    what[is_noise] = rng.integers(args.items, size=int(is_noise.sum()))
    columns = {'user': who, 'item': what, 'time': rng.integers(2**31, size=len(who))}
    write('interactions', columns)
    write('users', {'user_id': [f'u{row}' for row in user], 'user': user})
    titles = [f'Item {row} of taste {row % num_tastes}' for row in item]
    write('items', {'item_id': [f'i{row}' for row in item], 'item': item, 'title': titles})
    for name, width in WIDTH.items():
        center = np.random.default_rng([args.seed, width]).normal(size=(num_tastes, width))
        x = center[item % num_tastes] + rng.normal(size=(len(item), width))
        values = pa.array(x.astype(np.float32).ravel())
        rows = pa.FixedSizeListArray.from_arrays(values, width)
        write(f'features/{name}', {'item': item, 'x': rows})


def split(shard: InteractionShard) -> tuple[InteractionShard, torch.Tensor, torch.Tensor]:
    """Hold out the last interaction of each user for test, the one before for validation."""
    user, item = shard.edge_index
    pair = user * shard.num_items + item
    is_new = torch.ones_like(pair, dtype=torch.bool)
    order = pair.argsort(stable=True)  # Of repeated interactions the first stays.
    is_new[order[1:]] = pair[order[1:]] != pair[order[:-1]]
    user, item = user[is_new], item[is_new]
    count = user.bincount(minlength=len(shard.users))
    from_end = count.cumsum(0)[user] - torch.arange(len(user))
    from_end[count[user] < 3] = 3  # Such a user has train interactions alone.
    parts = [torch.stack([user[from_end == n], item[from_end == n]]) for n in (1, 2)]
    train = torch.stack([user[from_end > 2], item[from_end > 2]])
    return shard._replace(edge_index=train, time=None), parts[1], parts[0]


def item_graphs(
    train: InteractionShard, features: Mapping[str, FeatureShard]
) -> dict[str, WeightedGraph]:
    """Return the edges into the items of this process of both item graphs."""
    graphs = {
        'co_interacts': sharded_co_interaction_graph(
            train.edge_index, len(train.users), train.num_items, args.k
        )
    }
    if features:
        fused = torch.cat([F.normalize(shard.x.float()) for shard in features.values()], dim=1)
        near = sharded_knn_graph(fused, args.k, recall=args.recall, seed=args.seed)
        graphs['similar'] = sharded_normalize_similarity(*near, len(fused))
    return graphs


def column(name: str, by: str, value: str) -> list[str]:
    """Return a column of a table of ids, in the order of the rows."""
    table = ds.dataset(args.data / name).to_table(columns=[by, value]).sort_by(by)
    return table[value].to_pylist()


def run(place: Place) -> None:
    """Do everything, as one of the processes."""
    times = [time.perf_counter()]

    def say(*words: object, done: bool = False) -> None:
        if place.rank == 0:
            seconds = f'  [{time.perf_counter() - times[-1]:.1f} s]' if done else ''
            print(*words, seconds, flush=True)
        if done:
            times.append(time.perf_counter())

    # 1. Data: each process writes its part of the random shop, and reads its users and items.
    if args.data is None:
        args.data = args.output / f'data-{args.users}-{args.items}'
        if not (args.data / 'whole').exists():
            write_shop(args.data, place)
            dist.barrier()
            (args.data / 'whole').touch()
    clicks = read_interactions(args.data / 'interactions', time='time')
    train, val, test = split(clicks)
    features = {
        path.name: read_features(path, 'x', num_items=clicks.num_items)
        for path in sorted((args.data / 'features').glob('*/'))
    }
    say(f'read {clicks.num_users:,} users and {clicks.num_items:,} items', done=True)

    # 2. Item graphs, built together.
    graphs = item_graphs(train, features)
    data = ShardedData(train, features, graphs)
    say(f'built the item graphs {sorted(graphs)}', done=True)

    # 3. A model that is nowhere whole, and a loader whose neighbours come from everywhere.
    with torch.device('meta'):
        model = MMGEF(
            clicks.num_users,
            clicks.num_items,
            in_channels={name: shard.x.size(1) for name, shard in features.items()} or None,
            item_input='features' if features else 'id',
            item_graphs=tuple(graphs),
            fusion='concat',
            skip_weight=1.0,
        )
    sharded = ShardedModel(model, BPRLoss(), lr=args.lr, device=place.device, seed=args.seed)
    loader = ShardedTripletLoader(
        data,
        [args.num_neighbors] * model.num_layers,
        args.batch_size,
        shuffle=True,
        num_item_layers=model.num_item_layers,
        seed=args.seed,
    )
    checkpoints = args.output / 'checkpoints'
    progress = load_checkpoint(checkpoints, sharded, loader=loader) or {'curve': []}

    # 4. Train; in evaluation each process ranks for its users, and the items travel.
    curve = progress['curve']
    for epoch in range(len(curve), args.epochs):
        sharded.train()
        total = torch.zeros((), device=place.device)
        for number, batch in enumerate(loader):
            loss = loader.loss_weight(number) * sharded(batch.to(place.device))
            sharded.optimizer.zero_grad()
            loss.backward()
            sharded.optimizer.step()
            total += loss.detach()
        dist.all_reduce(total)
        seconds = time.perf_counter() - times[-1]
        sharded.eval()
        z_user, z_item = sharded_embeddings(sharded, data)
        metrics = sharded_evaluate_ranking(
            z_user, z_item, val, exclude=train.edge_index, k=20, metrics='recall'
        )
        mean = total.item() / (place.num_processes * len(loader))
        curve.append({'loss': mean, **metrics})
        save_checkpoint(checkpoints, sharded, loader=loader, progress={'curve': curve})
        steps = len(loader) / seconds
        say(
            f'epoch {epoch + 1}/{args.epochs}  loss {mean:.4f}  '
            f'val_recall@20 {metrics["recall@20"]:.4f}  {steps:.1f} steps/s',
            done=True,
        )

    # 5. Test once, beside best-sellers.
    sharded.eval()
    z_user, z_item = sharded_embeddings(sharded, data)
    known = torch.cat([train.edge_index, val], dim=1)
    degree = data.rows['item']['degree'].float()[:, None]
    ones = torch.ones(len(data.users), 1)
    for name, z in (('best-sellers', (ones, degree)), ('MMGEF', (z_user, z_item))):
        metrics = sharded_evaluate_ranking(*z, test, exclude=known)
        say(f'{name:>12}:', *(f'{key} {value:.4f}' for key, value in metrics.items()))

    # 6. Lists of all users, and an export for `pyg-mmgef serve`.
    item_ids = column('items', 'item', 'item_id')
    seen = torch.cat([known, test], dim=1)
    sharded_recommend_to_parquet(
        z_user, z_item, args.output / 'lists', k=20, item_ids=item_ids, exclude=seen
    )
    names = ds.dataset(args.data / 'items').schema.names
    titles = column('items', 'item', 'title') if 'title' in names else None
    sharded_export(
        args.output / 'export',
        z_user,
        z_item,
        data,
        user_ids=column('users', 'user', 'user_id') if place.rank == 0 else None,
        catalog=Catalog(item_ids, titles) if place.rank == 0 else None,
        model='MMGEF',
        seen=seen,
    )
    say(f'wrote {args.output / "lists"} and {args.output / "export"}', done=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    for rank in range(place.num_processes):
        if rank == place.rank:
            print(f'process {rank} held at most {peak:.2f} GiB', flush=True)
        dist.barrier()
    say(f'next: pyg-mmgef serve {args.output / "export"}')


with process_group(args.timeout) as place:
    run(place)
