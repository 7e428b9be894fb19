"""The stages that are measured, each in a process of its own."""

import ctypes
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import torch
from process import memory
from scaling import random_shop
from scaling_plan.shop import Shop

__all__ = ['BATCH', 'NUM_NEIGHBORS', 'QUERIES', 'STAGES', 'USERS', 'run_stage']

BATCH, LAYERS, NUM_NEIGHBORS, K = 2048, 2, [10, 10], 10
QUERIES, USERS, CENTERS = 4096, 2048, 20_000
Measured = dict[str, float]
"""``seconds``; ``held``, bytes that the process holds between runs beside the program; ``step``,
bytes that a run adds to these at its peak; ``peak``, the most bytes since the program started, with
those that make the data."""


def run_stage(name: str, shop: Shop, channels: int, repeats: int) -> Measured:
    """Measure a stage in this process."""
    import pyg_mmgef.distributed
    import pyg_mmgef.nn
    import pyg_mmgef.transforms  # noqa: F401

    torch.manual_seed(0)
    started = memory('VmRSS')
    run = STAGES[name](shop, channels)
    ctypes.CDLL(None).malloc_trim(0)
    peak = memory('VmHWM')
    held = memory('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # The peak counts from here on.
    times: dict[str, list[float]] = {}
    for _ in range(repeats):
        for part, seconds in run().items():
            times.setdefault(part, []).append(seconds)
    top = memory('VmHWM')
    return {
        # What else runs on the machine makes no run faster.
        **{part: min(seconds) for part, seconds in times.items()},
        'held': 2**20 * (held - started),
        'step': 2**20 * max(0.0, top - held),
        'peak': 2**20 * (max(peak, top) - started),
    }


Run = Callable[[], dict[str, float]]


def timed(function: Callable[[], object]) -> Run:
    def run() -> dict[str, float]:
        start = time.perf_counter()
        function()
        return {'seconds': time.perf_counter() - start}

    return run


def propagation(shop: Shop, channels: int) -> Run:
    """Propagate all embeddings over the whole graph, and their gradients back."""
    from pyg_mmgef.nn.parts.interaction_graph import normalized_interactions
    from pyg_mmgef.sparse import layer_mean

    edge_index = random_shop(*shop)['user', 'interacts', 'item'].edge_index
    pair = normalized_interactions(edge_index, (shop.users, shop.items), torch.float32)
    ends = [torch.randn(n, channels, requires_grad=True) for n in (shop.users, shop.items)]
    del edge_index  # Held by the data of a training, and counted there.

    def step() -> None:
        z_user, z_item = layer_mean(pair, ends[0], ends[1], LAYERS)
        torch.autograd.backward([z_user, z_item], [z_user.detach(), z_item.detach()])
        ends[0].grad = ends[1].grad = None

    step()
    return timed(step)


def dense_update(shop: Shop, channels: int) -> Run:
    """Update all rows by Adam."""
    rows = torch.nn.Parameter(torch.randn(shop.rows, channels))
    rows.grad = torch.randn(shop.rows, channels)
    optimizer = torch.optim.Adam([rows], fused=True)
    optimizer.step()
    return timed(optimizer.step)


def sampled(shop: Shop, channels: int) -> Run:
    """Sample a batch, and take a step with sparse gradients."""
    from pyg_mmgef.loader import TripletNeighborLoader
    from pyg_mmgef.nn import BPRLoss, LightGCN
    from pyg_mmgef.transforms import AddReverseInteractions

    data = AddReverseInteractions()(random_shop(*shop))
    model = LightGCN.from_data(data, embedding_dim=channels, num_layers=LAYERS, sparse=True)
    optimizer = torch.optim.SparseAdam(model.parameters(), lr=1e-3)
    loss_fn = BPRLoss()
    loader = TripletNeighborLoader(data, NUM_NEIGHBORS, BATCH, shuffle=True)
    batches = (batch for _ in itertools.count() for batch in loader)

    def run() -> dict[str, float]:
        start = time.perf_counter()
        batch = next(batches)
        middle = time.perf_counter()
        users, items = batch['user'], batch['item']
        loss = model.loss(batch, users.src_index, items.dst_pos_index, items.dst_neg_index, loss_fn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        end = time.perf_counter()
        return {'sampling': middle - start, 'seconds': end - middle}

    run()
    for state in optimizer.state.values():  # Zeros take no memory until they are written.
        for value in state.values():
            if isinstance(value, torch.Tensor):
                value.add_(0)
    run()
    return run


def exact_neighbors(shop: Shop, channels: int) -> Run:
    """Compare some items with all, as the ring does for those of other processes."""
    from pyg_mmgef.search._exact_queries import exact_queries
    from pyg_mmgef.search._rows import SearchRows

    rows = SearchRows(torch.randn(shop.items, channels), 'cosine')
    every = torch.arange(shop.items)
    queries = rows.queries(torch.randn(min(QUERIES, shop.items), channels))
    row = torch.arange(min(QUERIES, shop.items))
    exact_queries(rows, every[:10_000], queries, row[:100], K)
    return timed(lambda: exact_queries(rows, every, queries, row, K))


def cell_neighbors(shop: Shop, channels: int) -> Run:
    """Build the item graph with a recall of 0.95."""
    from pyg_mmgef.distributed import sharded_knn_graph

    # Around centres, as the items of real catalogues lie.
    centers = torch.randn(max(2, min(CENTERS, shop.items // 50)), channels)
    x = torch.empty(shop.items, channels)
    for rows in x.split(100_000):
        center = torch.randint(len(centers), (len(rows),))
        rows.copy_(centers[center]).add_(torch.randn_like(rows), alpha=0.5)
    return timed(lambda: sharded_knn_graph(x, K, recall=0.95))


def co_interaction(shop: Shop, channels: int) -> Run:
    """Build the graph of items with the same users."""
    from pyg_mmgef.distributed import sharded_co_interaction_graph

    edge_index = random_shop(*shop)['user', 'interacts', 'item'].edge_index
    return timed(lambda: sharded_co_interaction_graph(edge_index, shop.users, shop.items, K))


def ranking(shop: Shop, channels: int) -> Run:
    """Rank all items for some users."""
    from pyg_mmgef.distributed import sharded_evaluate_ranking

    z_user, z_item = torch.randn(USERS, channels), torch.randn(shop.items, channels)
    target = torch.stack([torch.arange(USERS), torch.randint(shop.items, (USERS,))])
    return timed(lambda: sharded_evaluate_ranking(z_user, z_item, target))


STAGES: dict[str, Callable[[Shop, int], Run]] = {
    'propagation': propagation,
    'dense_update': dense_update,
    'sampled': sampled,
    'exact_neighbors': exact_neighbors,
    'cell_neighbors': cell_neighbors,
    'co_interaction': co_interaction,
    'ranking': ranking,
}
