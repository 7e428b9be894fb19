"""How long does one propagation take, forward and backward? Ours beside what PyG and torch offer.

At the size of Amazon Baby (random interactions, 64 channels): one step of messages between users
and items, both directions; LightGCN's two layers, whole and for a batch of 2,048 triplets; and one
step over the item graphs with learned edge weights. All contestants take turns within one process;
the median is shown, forward alone and forward with backward.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import parser, pyplot, save_plot, write_json
from torch import Tensor
from torch_geometric import seed_everything
from torch_geometric.nn import LGConv
from torch_geometric.typing import WITH_TORCH_SPARSE
from torch_geometric.utils import scatter
from train_step import CHANNELS, NUM_ITEMS, NUM_USERS, shop_of_baby_size

from pyg_mmgef.graph import bipartite_normalize, union_graphs
from pyg_mmgef.sparse import CSRPair, layer_mean
from pyg_mmgef.sparse import _matmul as products

REPEATS = 5  # Of a contestant in a row.
Contestants = dict[str, tuple[Callable[[], Tensor], list[Tensor]]]


def one_step(edge_index: Tensor) -> Contestants:
    """Return what sends messages from users to items and back, once."""
    num_nodes, size = NUM_USERS + NUM_ITEMS, (NUM_USERS, NUM_ITEMS)
    x_user = torch.randn(NUM_USERS, CHANNELS, requires_grad=True)
    x_item = torch.randn(NUM_ITEMS, CHANNELS, requires_grad=True)
    x = torch.cat([x_user, x_item]).detach().requires_grad_()
    shifted = torch.stack([edge_index[0], edge_index[1] + NUM_USERS])
    both_ways = torch.cat([shifted, shifted.flip(0)], dim=1)
    weight = bipartite_normalize(edge_index, None, size)
    pair = CSRPair(edge_index, weight, size)
    csr = torch.sparse_coo_tensor(both_ways.flip(0), weight.repeat(2), (num_nodes, num_nodes))
    csr = csr.coalesce().to_sparse_csr()
    conv = LGConv()

    def ours() -> Tensor:
        return torch.cat([pair.t().matmul(x_item), pair.matmul(x_user)])

    out: Contestants = {
        'PyG LGConv, edge_index': (lambda: conv(x, both_ways), [x]),
        'torch CSR, its own backward': (lambda: csr @ x, [x]),
        "CSRPair, torch's products": (ours, [x_user, x_item]),
        'CSRPair': (ours, [x_user, x_item]),
    }
    if WITH_TORCH_SPARSE:
        from torch_sparse import SparseTensor

        adj_t = SparseTensor.from_edge_index(both_ways, sparse_sizes=(num_nodes, num_nodes)).t()
        out['PyG LGConv, SparseTensor'] = (lambda: conv(x, adj_t), [x])
    return out


def two_layers(edge_index: Tensor) -> Contestants:
    """Return LightGCN's embeddings, all and those of a batch."""
    size = NUM_USERS, NUM_ITEMS
    pair = CSRPair(edge_index, bipartite_normalize(edge_index, None, size), size)
    x_user = torch.randn(NUM_USERS, CHANNELS, requires_grad=True)
    x_item = torch.randn(NUM_ITEMS, CHANNELS, requires_grad=True)
    batch = edge_index[:, torch.randperm(edge_index.size(1))[:2048]]
    users = batch[0].unique()
    items = torch.cat([batch[1], torch.randint(NUM_ITEMS, (2048,))]).unique()

    def stacked() -> Tensor:
        layers = [(x_user, x_item)]
        for _ in range(2):
            z_user, z_item = layers[-1]
            layers.append((pair.t().matmul(z_item), pair.matmul(z_user)))
        sides = [torch.stack(side).mean(dim=0) for side in zip(*layers, strict=True)]
        return torch.cat(sides)

    def everything() -> Tensor:
        return torch.cat(layer_mean(pair, x_user, x_item, 2))

    def rows() -> Tensor:
        return torch.cat(layer_mean(pair, x_user, x_item, 2, sources=users, destinations=items))

    leaves = [x_user, x_item]
    return {
        'CSRPair, layer by layer': (stacked, leaves),
        'layer_mean': (everything, leaves),
        'layer_mean of a batch': (rows, leaves),
    }


def learned_weights(graphs: list[tuple[Tensor, Tensor]]) -> Contestants:
    """Return a step over the union of item graphs whose weights have a gradient."""
    edge_index, edge_attr = union_graphs(graphs, NUM_ITEMS)
    weight = edge_attr.sum(dim=1).requires_grad_()
    x = torch.randn(NUM_ITEMS, CHANNELS, requires_grad=True)
    pair = CSRPair(edge_index, size=(NUM_ITEMS, NUM_ITEMS))

    def gather_scatter() -> Tensor:
        message = weight[:, None] * x[edge_index[0]]
        return scatter(message, edge_index[1], dim_size=NUM_ITEMS)

    def ours() -> Tensor:
        return pair.matmul(x, weight)

    return {
        'gather and scatter': (gather_scatter, [x, weight]),
        "CSRPair, torch's products": (ours, [x, weight]),
        'CSRPair': (ours, [x, weight]),
    }


def measure(contestants: Contestants, turns: int) -> dict[str, dict[str, float]]:
    """Return the medians in milliseconds; the contestants compute the same, which is checked."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for turn in range(turns):
        for name, (function, leaves) in contestants.items():
            compiled = products._products
            if "torch's products" in name:
                products._products = None
            for _ in range(REPEATS):
                start = time.perf_counter()
                out = function()
                middle = time.perf_counter()
                torch.autograd.grad(out, leaves, torch.ones_like(out))
                if turn > 0:
                    times[name].append((middle - start, time.perf_counter() - start))
            products._products = compiled
    return {
        name: {
            'forward': 1e3 * statistics.median(forward for forward, _ in seconds),
            'with backward': 1e3 * statistics.median(both for _, both in seconds),
        }
        for name, seconds in times.items()
    }


def main() -> None:
    args = parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    seed_everything(0)
    data = shop_of_baby_size()
    edge_index = data['user', 'interacts', 'item'].edge_index
    graphs = [
        (data['item', name, 'item'].edge_index, data['item', name, 'item'].edge_weight)
        for name in ('similar', 'co_interacts')
    ]
    tasks = {
        'users and items, one step': one_step(edge_index),
        'LightGCN, two layers': two_layers(edge_index),
        'item graphs, learned weights': learned_weights(graphs),
    }
    results = {name: measure(task, 3 if args.quick else 12) for name, task in tasks.items()}
    for task, rows in results.items():
        print(f'{task:<30}{"forward, ms":>13}{"with backward":>15}   ({args.threads} threads)')
        for name, row in rows.items():
            print(f'  {name:<28}{row["forward"]:>13.2f}{row["with backward"]:>15.2f}')
    write_json(args.output / 'propagation.json', results)
    plot(args.output / 'propagation.png', results)


def plot(path: Path, results: dict[str, dict[str, dict[str, float]]]) -> None:
    figure, axes = pyplot().subplots(
        len(results), figsize=(7, 6), layout='constrained', gridspec_kw={'hspace': 0.1}
    )
    for axis, (task, rows) in zip(axes, results.items(), strict=True):
        axis.barh(list(rows), [row['with backward'] for row in rows.values()], label='backward')
        axis.barh(list(rows), [row['forward'] for row in rows.values()], label='forward')
        axis.set(title=task, xscale='log', xlabel='ms, less is better')
        axis.invert_yaxis()
    axes[0].legend(frameon=False)
    save_plot(figure, path)


if __name__ == '__main__':
    main()
