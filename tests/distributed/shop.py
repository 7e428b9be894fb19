"""A small shop, and models that are trained on it by one process or by several."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.loader import TripletNeighborLoader
from pyg_mmgef.nn import MF, MMGEF, BPRLoss, LightGCN, Recommender
from pyg_mmgef.transforms import AddItemKNNGraph, AddReverseInteractions, FuseModalities

NUM_USERS, NUM_ITEMS = 101, 53


def make_shop(
    num_users: int = NUM_USERS, num_items: int = NUM_ITEMS, num_interactions: int = 900
) -> HeteroData:
    generator = torch.Generator().manual_seed(0)
    ends = [
        torch.randint(n, (num_interactions,), generator=generator) for n in (num_users, num_items)
    ]
    data = HeteroData()
    data['user'].num_nodes, data['item'].num_nodes = num_users, num_items
    data['user', 'interacts', 'item'].edge_index = torch.stack(ends).unique(dim=1)
    data['item'].x_text = torch.randn(num_items, 8, generator=generator)
    data = AddItemKNNGraph(k=3)(FuseModalities()(data))
    return AddReverseInteractions()(data)


def make_model(name: str, data: HeteroData) -> Recommender:
    if name == 'MF':
        return MF.from_data(data, embedding_dim=16)
    if name == 'LightGCN':
        return LightGCN.from_data(data, embedding_dim=16, num_layers=2)
    return MMGEF.from_data(data, embedding_dim=16, skip_weight=1.0)


def make_loader(data: HeteroData, num_replicas: int = 1, rank: int = 0) -> TripletNeighborLoader:
    # An odd batch, so that the shares of processes differ.
    return TripletNeighborLoader(
        data,
        [3, 3],
        batch_size=min(101, data['user', 'interacts', 'item'].num_edges),
        shuffle=True,
        num_replicas=num_replicas,
        rank=rank,
    )


def losses_of(sharded: Any, loader: TripletNeighborLoader, epochs: int) -> list[float]:
    """Train for some epochs and return the mean loss of the batches of each."""
    curve = []
    for _ in range(epochs):
        total = torch.zeros(())
        for number, batch in enumerate(loader):
            loss = loader.loss_weight(number) * sharded(batch)
            sharded.optimizer.zero_grad()
            loss.backward()
            sharded.optimizer.step()
            total += loss.detach()
        dist.all_reduce(total)
        curve.append(total.item() / dist.get_world_size() / len(loader))
    return curve


def build(name: str, data: HeteroData, **options: Any) -> Any:
    from pyg_mmgef.distributed import ShardedModel

    with torch.device('meta'):
        model = make_model(name, data)
    return ShardedModel(model, BPRLoss(), **{'lr': 0.1, **options})


def here(data: HeteroData) -> TripletNeighborLoader:
    return make_loader(data, dist.get_world_size(), dist.get_rank())


def gathered(sharded: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield each table whole, in every process."""
    for name, (_, rows, num_rows) in sharded.tables.items():
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, rows.clone())
        whole = torch.cat(parts)
        assert len(whole) == num_rows
        yield name, whole
