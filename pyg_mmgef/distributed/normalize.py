import torch
from torch import Tensor
from torch_geometric.utils import scatter

from pyg_mmgef.distributed._exchange import Group, check_own, fetch_rows, place_in, starts_of
from pyg_mmgef.distributed._together import raise_together
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_edge_index, check_edge_weight, check_finite

__all__ = ['sharded_normalize_similarity']


def sharded_normalize_similarity(
    edge_index: Tensor, edge_weight: Tensor, num_items: int, *, group: Group = None
) -> WeightedGraph:
    r"""Drop the edges without a positive similarity, and normalise the weights of the others.

    Each process has the edges into its items, so it knows their degrees; those of the neighbours it
    asks for. The result is that of :func:`~pyg_mmgef.graph.weights.normalize_similarity`, as the
    transforms :class:`~pyg_mmgef.transforms.AddItemKNNGraph` and
    :class:`~pyg_mmgef.transforms.AddCoInteractionGraph` store it:

    .. math::
        \hat{s}_{j \to i} = \frac{s_{j \to i}}{\sqrt{d_i d_j}}, \qquad
        d_i = \sum_{j \in \mathcal{N}(i)} s_{j \to i}

    Args:
        edge_index: Edges, numbered over all items, whose second row holds items of this process.
            Shape: ``[2, E]``.
        edge_weight: Similarities. Shape: ``[E]``.
        num_items: Number of items of this process; the processes have contiguous ranges in the
            order of their ranks.
        group: The processes; :obj:`None` means all. (default: :obj:`None`)

    Returns:
        The remaining ``edge_index`` of shape ``[2, E']`` and their weights of shape ``[E']``.

    Raises:
        ValueError: If ids are out of range, an edge goes to an item of another process, or there
            isn't a finite weight for each edge.
        RuntimeError: If that has happened in another process.
    """
    starts = starts_of(num_items, edge_index.device, group)
    first = starts[place_in(group)[0]]
    with raise_together(edge_index.device, group):
        check_edge_index('edge_index', edge_index, (starts[-1], starts[-1]), ('item', 'item'))
        check_edge_weight('edge_weight', edge_weight, edge_index)
        check_finite('edge_weight', edge_weight)
        check_own('edge_index', edge_index[1], range(first, first + num_items))
    positive = edge_weight > 0
    edge_index, edge_weight = edge_index[:, positive], edge_weight[positive]
    source, destination = edge_index
    own = destination - first
    degree = scatter(edge_weight, own, dim_size=num_items)
    scale = torch.where(degree > 0, degree.rsqrt(), 0.0)
    scale_of_source = fetch_rows(scale, source, starts, group)
    return edge_index, edge_weight * scale_of_source * scale[own]
