"""Small shops to sample from, and what a sample of all neighbours has."""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.data import EdgeAttr, FeatureStore, GraphStore, HeteroData
from torch_geometric.sampler import HeteroSamplerOutput
from torch_geometric.testing import MyFeatureStore, MyGraphStore
from torch_geometric.typing import EdgeType

from pyg_mmgef.transforms import AddReverseInteractions

INTERACTS = ('user', 'interacts', 'item')
REV_INTERACTS = ('item', 'rev_interacts', 'user')
SIMILAR = ('item', 'similar', 'item')
CO_INTERACTS = ('item', 'co_interacts', 'item')
Seeds = Mapping[str, Tensor]


def sampled_shop(
    num_users: int = 30,
    num_items: int = 25,
    density: float = 0.2,
    seed: int = 0,
    dtype: torch.dtype = torch.int64,
) -> HeteroData:
    """A prepared shop with two item graphs; user 0 and the last item have no interaction."""
    generator = torch.Generator().manual_seed(seed)
    owned = torch.rand(num_users, num_items, generator=generator) < density
    owned[0], owned[:, -1] = False, False
    pairs = owned.nonzero().t()
    pairs = pairs[:, torch.randperm(pairs.size(1), generator=generator)].to(dtype)
    data = HeteroData()
    data['user'].num_nodes = num_users
    data['item'].num_nodes = num_items
    data['item'].x_image = torch.randn(num_items, 3, generator=generator)
    data['item'].has_image = torch.rand(num_items, generator=generator) < 0.8
    data[INTERACTS].edge_index = pairs
    data[INTERACTS].time = torch.randint(50, (pairs.size(1),), generator=generator)
    data[INTERACTS].rating = torch.rand(pairs.size(1), generator=generator) + 0.5
    for edge_type, k in ((SIMILAR, 3), (CO_INTERACTS, 2)):
        near = torch.rand(num_items, num_items, generator=generator).argsort(dim=1)[:, :k]
        receiver = torch.arange(num_items).repeat_interleave(k)
        data[edge_type].edge_index = torch.stack([near.flatten(), receiver])
        data[edge_type].edge_weight = torch.rand(receiver.numel(), generator=generator)
    return AddReverseInteractions()(data)


def as_stores(data: HeteroData) -> tuple[FeatureStore, GraphStore]:
    """The same in PyG's stores, as a remote backend would hold it."""
    features, graphs = MyFeatureStore(), MyGraphStore()
    for node_type, store in data.node_items():
        for key in store:
            if store.is_node_attr(key) and isinstance(store[key], Tensor):
                features.put_tensor(store[key], group_name=node_type, attr_name=key, index=None)
    for edge_type, edges in data.edge_items():
        size = data[edge_type[0]].num_nodes, data[edge_type[-1]].num_nodes
        graphs.put_edge_index(
            tuple(edges.edge_index), EdgeAttr(edge_type, 'coo', size=size, is_sorted=False)
        )
        for key in ('edge_weight', 'time', 'rating'):
            if key in edges:
                features.put_tensor(edges[key], group_name=edge_type, attr_name=key, index=None)
    return features, graphs


def edges_to_all(
    data: HeteroData, seeds: Seeds, expansions: list[dict[EdgeType, int]]
) -> dict[EdgeType, list[int]]:
    """The positions of the edges that a sample of all neighbours has, by a slow search.

    An expansion maps edge types to their number of hops.
    """
    found: dict[EdgeType, list[int]] = {}
    for expansion in expansions:
        known = {(kind, node) for kind, ids in seeds.items() for node in ids.tolist()}
        frontier = set(known)
        found |= {edge_type: [] for edge_type in expansion}
        for hop in range(max(expansion.values(), default=0)):
            reached = set()
            for edge_type, hops in expansion.items():
                if hop >= hops:
                    continue
                source_type, _, node_type = edge_type
                edges = data[edge_type].edge_index.t().tolist()
                for position, (source, node) in enumerate(edges):
                    if (node_type, node) in frontier:
                        found[edge_type].append(position)
                        reached.add((source_type, source))
            frontier = reached - known
            known |= reached
    return {edge_type: sorted(positions) for edge_type, positions in found.items()}


def sampled_edges(out: HeteroSamplerOutput) -> dict[EdgeType, list[int]]:
    return {edge_type: sorted(edge.tolist()) for edge_type, edge in out.edge.items()}


def neighbors_of(out: HeteroSamplerOutput, edge_type: EdgeType) -> dict[int, list[int]]:
    """The sampled neighbours of each node, in ids of the data."""
    source_type, _, node_type = edge_type
    neighbors = defaultdict(list)
    for row, col in zip(out.row[edge_type].tolist(), out.col[edge_type].tolist(), strict=True):
        neighbors[int(out.node[node_type][col])].append(int(out.node[source_type][row]))
    return dict(neighbors)


def assert_consistent(data: HeteroData, out: HeteroSamplerOutput) -> None:
    """The edges of a sample are edges of the data, between its nodes, which are distinct."""
    for node_type, node in out.node.items():
        if out.batch is None:
            assert node.unique().numel() == node.numel()
        assert sum(out.num_sampled_nodes[node_type]) == node.numel()
    for edge_type, edge in out.edge.items():
        source, destination = data[edge_type].edge_index[:, edge].long()
        assert torch.equal(out.node[edge_type[0]][out.row[edge_type]], source)
        assert torch.equal(out.node[edge_type[-1]][out.col[edge_type]], destination)
        assert sum(out.num_sampled_edges[edge_type]) == edge.numel()
