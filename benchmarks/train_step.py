"""How long is one training step? Ours beside PyG's LightGCN, at the size of Amazon Baby.

Random interactions of that size (19,445 users, 7,050 items, 118,551 interactions, 64 channels,
batch 2048) and 512-d item features. All contestants take ten steps each, in turn within one
process, so a busy machine slows them alike; the median of a step is shown.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from common import parser, plot_step_times, write_json
from pyg_light_gcn import PyGLightGCN
from torch_geometric import seed_everything
from torch_geometric.data import HeteroData
from torch_geometric.transforms import Compose
from torch_geometric.typing import WITH_TORCH_SPARSE

from pyg_mmgef.loader import TripletLoader
from pyg_mmgef.nn import MMGEF, BPRLoss, LightGCN
from pyg_mmgef.transforms import AddCoInteractionGraph, AddItemKNNGraph, FuseModalities

NUM_USERS, NUM_ITEMS, NUM_INTERACTIONS, CHANNELS, FEATURES = 19_445, 7_050, 118_551, 64, 512
BATCH_SIZE = 2048
STEPS = 10  # Of a contestant in a row, as in training.


def shop_of_baby_size() -> HeteroData:
    """Random interactions with a long tail of popularity, and random features around centres."""
    generator = torch.Generator().manual_seed(0)
    popularity = torch.rand(NUM_ITEMS, generator=generator).pow(-0.7)
    user = torch.randint(NUM_USERS, (2 * NUM_INTERACTIONS,), generator=generator)
    item = popularity.multinomial(user.numel(), replacement=True, generator=generator)
    pair = (user * NUM_ITEMS + item).unique()
    pair = pair[torch.randperm(pair.numel(), generator=generator)[:NUM_INTERACTIONS]]
    centre = torch.randn(200, FEATURES, generator=generator)
    which = torch.randint(200, (NUM_ITEMS,), generator=generator)
    data = HeteroData()
    data['user'].num_nodes = NUM_USERS
    data['item'].num_nodes = NUM_ITEMS
    data['item'].x_content = centre[which] + torch.randn(NUM_ITEMS, FEATURES, generator=generator)
    data['user', 'interacts', 'item'].edge_index = torch.stack(
        [pair // NUM_ITEMS, pair % NUM_ITEMS]
    )
    return Compose([FuseModalities(), AddItemKNNGraph(k=10), AddCoInteractionGraph(k=10)])(data)


def our_step(data: HeteroData, model: LightGCN | MMGEF) -> Callable[[], None]:
    """Return a training step of one of our models."""
    loader = TripletLoader(data, batch_size=BATCH_SIZE, shuffle=True)
    batches = iter(loader)
    loss_fn = BPRLoss()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model.start_epoch(data, 0)

    def step() -> None:
        nonlocal batches
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        loss = model.loss(data, *batch, loss_fn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def pyg_step(data: HeteroData, sparse: bool) -> Callable[[], None]:
    """Return a training step of PyG's LightGCN."""
    return partial(PyGLightGCN(data, sparse).random_step, BATCH_SIZE)


def main() -> None:
    args = parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    seed_everything(0)
    data = shop_of_baby_size()
    contestants: dict[str, Callable[[], None]] = {
        'PyG LightGCN, edge_index': pyg_step(data, sparse=False),
        'LightGCN': our_step(data, LightGCN.from_data(data)),
        'MM-GEF, attention graph': our_step(data, MMGEF.from_data(data)),
        'MM-GEF, attention node': our_step(data, MMGEF.from_data(data, attention='node')),
        'MM-GEF, attention edge': our_step(data, MMGEF.from_data(data, attention='edge')),
    }
    if WITH_TORCH_SPARSE:
        contestants['PyG LightGCN, SparseTensor'] = pyg_step(data, sparse=True)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(2 if args.quick else 9):
        for name, step in contestants.items():
            for _ in range(STEPS):
                start = time.perf_counter()
                step()
                if turn > 0:  # The first steps build graphs.
                    times[name].append(time.perf_counter() - start)

    base = statistics.median(times['PyG LightGCN, edge_index'])
    print(f'{"one training step":<28}{"ms":>9}{"ratio":>9}   ({args.threads} threads)')
    results = {}
    for name, seconds in times.items():
        median = statistics.median(seconds)
        results[name] = {'ms': 1e3 * median, 'ratio': base / median}
        print(f'{name:<28}{1e3 * median:>9.1f}{base / median:>8.1f}x')
    write_json(args.output / 'train_step.json', results)
    plot_step_times(args.output / 'train_step.png', results)


if __name__ == '__main__':
    main()
