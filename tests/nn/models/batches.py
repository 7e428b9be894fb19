"""Sampled batches, made slowly and plainly, without a loader."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mmgef.schema import INTERACTS, ITEM, REV_INTERACTS, USER, item_relations
from pyg_mmgef.transforms import AddReverseInteractions

Nodes = dict[str, set[int]]


def batch_around(
    data: HeteroData,
    users: Tensor,
    items: Tensor,
    negatives: Tensor,
    num_hops: int,
    *,
    num_item_hops: int = 0,
    num_neighbors: int | None = None,
    seed: int = 0,
) -> HeteroData:
    """Return triplets with what is reached from them, in a shuffled order.

    Args:
        data: The train data; reversed interactions are added if it has none.
        users: Users of the triplets.
        items: Their positives.
        negatives: Their negatives, of any shape.
        num_hops: Hops along interactions.
        num_item_hops: Hops along item graphs.
        num_neighbors: Interactions sampled of each node, without replacement; all for :obj:`None`.
        seed: Seed of the sample and of the order.
    """
    if REV_INTERACTS not in data.edge_types:
        data = AddReverseInteractions()(data)
    rng = random.Random(seed)
    seeds = {USER: set(users.tolist()), ITEM: {*items.tolist(), *negatives.flatten().tolist()}}
    graphs = [(ITEM, relation, ITEM) for relation in item_relations(data)]
    nodes = {node_type: set(ids) for node_type, ids in seeds.items()}
    edges: dict[EdgeType, list[int]] = {}
    for edge_types, hops, count in (
        ([INTERACTS, REV_INTERACTS], num_hops, num_neighbors),
        (graphs, num_item_hops, None),
    ):
        reached, found = _expand(data, seeds, edge_types, hops, count, rng)
        edges.update(found)
        for node_type, ids in reached.items():
            nodes[node_type] |= ids

    out = HeteroData()
    local = {}
    for key, value in data._global_store.items():
        out[key] = value
    for node_type, ids in nodes.items():
        order = rng.sample(sorted(ids), len(ids))
        local[node_type] = {node: row for row, node in enumerate(order)}
        out[node_type].n_id = torch.tensor(order, dtype=torch.long)
        out[node_type].num_nodes = len(order)
        for key, value in data[node_type].items():
            if isinstance(value, Tensor):
                out[node_type][key] = value[order]
    for edge_type, positions in edges.items():
        order = rng.sample(positions, len(positions))
        ends = data[edge_type].edge_index[:, order]
        rows = [_renamed(ends[end], local[edge_type[2 * end]]) for end in (0, 1)]
        out[edge_type].edge_index = torch.stack(rows)
        if 'edge_weight' in data[edge_type]:
            out[edge_type].edge_weight = data[edge_type].edge_weight[order]
    out[USER].src_index = _renamed(users, local[USER])
    out[ITEM].dst_pos_index = _renamed(items, local[ITEM])
    out[ITEM].dst_neg_index = _renamed(negatives, local[ITEM])
    return out


def triplets_of(batch: HeteroData) -> tuple[Tensor, Tensor, Tensor]:
    """Return the triplets of a batch, in local ids."""
    return batch[USER].src_index, batch[ITEM].dst_pos_index, batch[ITEM].dst_neg_index


def _expand(
    data: HeteroData,
    seeds: Nodes,
    edge_types: Sequence[EdgeType],
    num_hops: int,
    num_neighbors: int | None,
    rng: random.Random,
) -> tuple[Nodes, dict[EdgeType, list[int]]]:
    """Return the nodes within some hops, and the positions of the edges that lead to the seeds."""
    reached = {node_type: set(ids) for node_type, ids in seeds.items()}
    frontier = reached
    edges: dict[EdgeType, list[int]] = {edge_type: [] for edge_type in edge_types}
    for _ in range(num_hops):
        found: Nodes = {USER: set(), ITEM: set()}
        for edge_type in edge_types:
            source, _, destination = edge_type
            for node in sorted(frontier[destination]):
                chosen = (data[edge_type].edge_index[1] == node).nonzero().view(-1).tolist()
                if num_neighbors is not None and len(chosen) > num_neighbors:
                    chosen = rng.sample(chosen, num_neighbors)
                edges[edge_type] += chosen
                found[source] |= set(data[edge_type].edge_index[0, chosen].tolist())
        frontier = {node_type: found[node_type] - reached[node_type] for node_type in found}
        reached = {node_type: found[node_type] | reached[node_type] for node_type in found}
    return reached, edges


def _renamed(ids: Tensor, local: dict[int, int]) -> Tensor:
    return torch.tensor([local[node] for node in ids.flatten().tolist()]).long().view(ids.shape)
