"""Check a GPU in ten minutes: the tests marked for a device, and what takes the time beside PyG.

Without a GPU it says so and ends. ``python benchmarks/gpu_check.py --output results``
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import parser, write_json
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.metrics import LinkPredRecall
from torch_geometric.nn import LightGCN as PyGLightGCN
from torch_geometric.nn.pool import L2KNNIndex
from torch_geometric.utils import dropout_edge

from pyg_mmgef.graph import knn_graph
from pyg_mmgef.nn import MMGEF, BPRLoss, LightGCN
from pyg_mmgef.ranking import evaluate_ranking
from pyg_mmgef.transforms import AddItemKNNGraph

ROOT = Path(__file__).parents[1]
NUM_USERS, NUM_ITEMS, NUM_EDGES, BATCH = 19_445, 7_050, 118_000, 2_048
TEST_SECONDS = 300


def seconds(function: Callable[[], Any], device: str, repeats: int = 5) -> float:
    """Return the median time of a call, after one that isn't counted."""
    times = []
    for _ in range(repeats + 1):
        if device == 'cuda':
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if device == 'cuda':
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]


def run_tests() -> bool:
    """Run the tests marked for a device, and return whether all passed."""
    command = [sys.executable, '-m', 'pytest', '-q', '-m', 'device', 'tests']
    try:
        return subprocess.run(command, cwd=ROOT, timeout=TEST_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def shop(num_users: int, num_items: int, num_edges: int, device: str) -> HeteroData:
    """Return random interactions and features with an item graph, on a device."""
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = num_users, num_items
    data['item'].x = torch.randn(num_items, 64)
    edge_index = torch.stack([torch.randint(n, (num_edges,)) for n in (num_users, num_items)])
    data['user', 'interacts', 'item'].edge_index = edge_index.unique(dim=1)
    return AddItemKNNGraph(k=10)(data).to(device)


def step_of(model: torch.nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """Return a training step of a model."""
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def measure(device: str, knn_sizes: tuple[int, ...], data: HeteroData) -> dict[str, list[float]]:
    """Return the seconds of this package and of PyG for each task."""
    table: dict[str, list[float]] = {}
    for size in knn_sizes:
        x = torch.nn.functional.normalize(torch.randn(size, 512, device=device))

        def by_pyg(x: Tensor = x) -> None:
            L2KNNIndex(x).search(x, 11)

        ours = seconds(lambda x=x: knn_graph(x, 10), device, 1)  # type: ignore[misc]
        table[f'kNN graph, {size} x 512'] = [ours, seconds(by_pyg, device, 1)]

    edge_index = data['user', 'interacts', 'item'].edge_index
    num_users, num_items = data['user'].num_nodes, data['item'].num_nodes
    users, items = edge_index[:, :BATCH]
    negatives = torch.randint(num_items, users.shape, device=device)
    model = MMGEF.from_data(data, embedding_dim=64).to(device)
    loss_fn = BPRLoss()
    both_ways = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    both_ways[1, : edge_index.size(1)] += num_users
    both_ways[0, edge_index.size(1) :] += num_users
    theirs = PyGLightGCN(num_users + num_items, 64, 2).to(device)

    def pyg_loss() -> Tensor:
        z = theirs.get_embedding(both_ways)
        return loss_fn(z[users], z[num_users + items], z[num_users + negatives])

    table['training step, MMGEF and LightGCN of PyG'] = [
        seconds(step_of(model, lambda: model.loss(data, users, items, negatives, loss_fn)), device),
        seconds(step_of(theirs, pyg_loss), device),
    ]
    with torch.no_grad():
        z_user, z_item = model.eval()(data)

    def pyg_metric() -> float:
        metric = LinkPredRecall(20).to(device)
        for start in range(0, num_users, BATCH):
            best = (z_user[start : start + BATCH] @ z_item.t()).topk(20).indices
            mask = (edge_index[0] >= start) & (edge_index[0] < start + BATCH)
            label = edge_index[:, mask].clone()
            label[0] -= start
            metric.update(best, label)
        return float(metric.compute())

    table['evaluation, Recall@20'] = [
        seconds(lambda: evaluate_ranking(z_user, z_item, edge_index, k=20), device),
        seconds(pyg_metric, device),
    ]
    dropping = LightGCN.from_data(data, embedding_dim=64, edge_dropout=0.8).to(device)
    epochs = iter(range(1_000))
    table['edge dropout, of an epoch'] = [
        seconds(lambda: dropping.train().start_epoch(data, next(epochs)), device),
        seconds(lambda: dropout_edge(edge_index, 0.8), device),
    ]
    return table


def main() -> None:
    """Run the tests, print the table and write it."""
    args = parser(__doc__ or '').parse_args()
    if not torch.cuda.is_available():
        print('There is no GPU here, so there is nothing to check.')
        return
    passed = run_tests()
    data = shop(NUM_USERS, NUM_ITEMS, NUM_EDGES, 'cuda')
    table = measure('cuda', (5_000,) if args.quick else (50_000, 200_000), data)
    print(f'{"":45} {"here":>10} {"PyG":>10}')
    for name, (ours, theirs) in table.items():
        print(f'{name:45} {1e3 * ours:7.1f} ms {1e3 * theirs:7.1f} ms')
    write_json(args.output / 'gpu_check.json', {'tests passed': passed, 'seconds': table})
    if not passed:
        raise SystemExit('some tests failed')


if __name__ == '__main__':
    main()
