"""Features for tests of nearest neighbours, and what these must fulfil."""

import torch
from torch import Tensor

from tests.references import similarity


def features(num_items: int, channels: int, seed: int = 0, whole: bool = False) -> Tensor:
    """Random rows; small whole numbers bring ties, repeated rows and rows of zeros."""
    generator = torch.Generator().manual_seed(seed)
    if whole:
        return torch.randint(-1, 2, (num_items, channels), generator=generator).float()
    return torch.randn(num_items, channels, generator=generator)


def assert_is_knn(x: Tensor, k: int, metric: str, edge_index: Tensor, edge_weight: Tensor) -> None:
    """Degrees, weights, order, no self edges, and no better neighbour left out."""
    x = x.double()
    all_pairs = similarity(x, metric)
    content = [metric != 'cosine' or float(row.norm()) > 0 for row in x]
    degree = min(k, sum(content) - 1)
    for item in range(x.size(0)):
        mask = edge_index[1] == item
        neighbors, weight = edge_index[0, mask].tolist(), edge_weight[mask].double()
        if not content[item] or degree < 1:
            assert neighbors == []
            continue
        assert len(neighbors) == degree
        assert len(set(neighbors)) == degree
        assert item not in neighbors
        assert all(content[neighbor] for neighbor in neighbors)
        tolerance = 1e-5 * max(1.0, float(all_pairs[item, content].abs().max()))
        assert float((weight - all_pairs[item, neighbors]).abs().max()) <= tolerance
        assert weight.tolist() == sorted(weight.tolist(), reverse=True)
        others = [
            other
            for other in range(x.size(0))
            if content[other] and other != item and other not in neighbors
        ]
        if others:
            assert float(all_pairs[item, others].max()) <= float(weight.min()) + tolerance
