import torch
from torch import Tensor

from pyg_mmgef.graph.knn import knn_graph
from pyg_mmgef.typing import WeightedGraph

__all__ = ['content_neighbors']


def content_neighbors(
    x: Tensor, has_content: Tensor, k: int, *, loop: bool = False
) -> WeightedGraph:
    """Return the kNN graph by cosine of learned features, whatever the number of items.

    Args:
        x: Features of all items. Shape: ``[N, channels]``.
        has_content: Items without content take no part: the bias of a projection alone would make
            them neighbours of each other. Shape: ``[N, 1]``, bool.
        k: Neighbours per item; all, where there are fewer.
        loop: Let an item be its own neighbour, first among its :obj:`k`. (default: :obj:`False`)

    Returns:
        The graph with raw similarities, which may be negative.
    """
    if x.size(0) == 0:
        return torch.empty(2, 0, dtype=torch.long, device=x.device), x.new_empty(0)
    x = torch.where(has_content, x, 0.0)
    return knn_graph(x, k, loop=loop)
