"""Small random shops to transform."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

INTERACTS = ('user', 'interacts', 'item')


def random_shop(
    num_users: int = 25, num_items: int = 30, density: float = 0.3, seed: int = 0
) -> HeteroData:
    """A shop with two modalities and, on its shuffled interactions, times and ratings.

    User ``u`` has at most ``u`` interactions, so users with none, one and two are among them.
    """
    generator = torch.Generator().manual_seed(seed)
    owned = torch.rand(num_users, num_items, generator=generator) < density
    for user in range(min(num_users, num_items)):
        owned[user, user:] = False
    pairs = owned.nonzero().t()
    pairs = pairs[:, torch.randperm(pairs.size(1), generator=generator)]
    data = HeteroData()
    data['user'].num_nodes = num_users
    data['item'].num_nodes = num_items
    data['item'].x_image = torch.randn(num_items, 6, generator=generator)
    data['item'].x_text = torch.randn(num_items, 6, generator=generator)
    data['item'].has_image = torch.rand(num_items, generator=generator) < 0.8
    data[INTERACTS].edge_index = pairs
    data[INTERACTS].time = torch.randint(50, (pairs.size(1),), generator=generator)
    data[INTERACTS].rating = torch.rand(pairs.size(1), generator=generator)
    return data


def snapshot(data: HeteroData) -> dict[Any, dict[str, Any]]:
    """Everything the data holds, copied."""
    return {
        store._key: {key: copy.deepcopy(value) for key, value in store.items()}
        for store in data.stores
        if len(store) > 0
    }


def assert_unchanged(data: HeteroData, before: dict[Any, dict[str, Any]]) -> None:
    after = snapshot(data)
    assert after.keys() == before.keys()
    for store, values in before.items():
        assert after[store].keys() == values.keys()
        for key, value in values.items():
            if isinstance(value, Tensor):
                assert torch.equal(after[store][key], value)
            else:
                assert after[store][key] == value


def pairs_of(edge_index: Tensor) -> list[tuple[int, int]]:
    return [(user, item) for user, item in edge_index.t().tolist()]
