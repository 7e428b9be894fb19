"""Small shops for the models: one with every irregularity, one with a planted answer."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mmgef.schema import INTERACTS, ITEM, USER
from tests.references import dense_adjacency

NUM_USERS, NUM_ITEMS, CHANNELS = 6, 9, 4
COLD = [7, 8]
"""Items without interactions; 6 has some, but no modality; 5 lacks its image."""


def interacting(edge_index: Tensor, num_users: int, num_items: int) -> HeteroData:
    """Return a shop that has nothing but interactions."""
    data = HeteroData()
    data[USER].num_nodes = num_users
    data[ITEM].num_nodes = num_items
    data[INTERACTS].edge_index = edge_index
    return data


def small_shop(relations: tuple[str, ...] = ('similar', 'co_interacts')) -> HeteroData:
    """Return a shop in double precision; user 5 has no interactions."""
    generator = torch.Generator().manual_seed(0)
    interactions = torch.tensor(
        [[0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4], [0, 1, 6, 1, 2, 2, 3, 4, 5, 5, 0]]
    )
    data = interacting(interactions, NUM_USERS, NUM_ITEMS)
    for name in ('image', 'text'):
        x = torch.randn(NUM_ITEMS, CHANNELS, generator=generator, dtype=torch.double)
        x[6] = 0.0
        data[ITEM][f'x_{name}'] = x
    data[ITEM].has_image = torch.arange(NUM_ITEMS) != 5
    for relation in relations:
        add_item_graph(data, relation, generator)
    return data


def add_item_graph(data: HeteroData, relation: str, generator: torch.Generator) -> None:
    """Add a random weighted graph; item 3 is isolated, and item 6 sends but doesn't receive."""
    edge_index = torch.randint(NUM_ITEMS, (2, 30), generator=generator).unique(dim=1)
    source, destination = edge_index
    kept = (source != 3) & (destination != 3) & (destination != 6) & (source != destination)
    graph = data[ITEM, relation, ITEM]
    graph.edge_index = edge_index[:, kept]
    weight = torch.rand(int(kept.sum()), generator=generator, dtype=torch.double)
    graph.edge_weight = 0.5 * weight + 0.1


def interaction_matrix(data: HeteroData) -> Tensor:
    """Return the dense [num_users, num_items] matrix; repeated interactions add up."""
    num_users, num_items = data[USER].num_nodes, data[ITEM].num_nodes
    return dense_adjacency(data[INTERACTS].edge_index, None, num_users, num_items).t()


def planted_shop() -> HeteroData:
    """Two groups of users, each with a group of items that look alike; 4 and 9 are cold."""
    edges = [
        (user, item)
        for user in range(8)
        for item in range(10)
        if user // 4 == item // 5 and item % 5 != 4 and (user + item) % 4 != 0
    ]
    data = interacting(torch.tensor(edges).t(), 8, 10)
    group = (torch.arange(10) // 5)[:, None].float()
    noise = torch.Generator().manual_seed(0)
    for name in ('image', 'text'):
        signal = torch.cat([group, 1 - group, group - group], dim=1)
        data[ITEM][f'x_{name}'] = signal + 0.1 * torch.randn(10, 3, generator=noise)
    return data
