"""Edge weights of item graphs: normalisation, symmetrisation and the union of edge sets."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.utils import scatter, to_undirected

from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_choice, check_edge_index, check_edge_weight, check_finite

__all__ = [
    'bipartite_normalize',
    'merge_graphs',
    'normalize_similarity',
    'symmetric_normalize',
    'symmetrize',
    'union_graphs',
]


def _inverse_sqrt(degree: Tensor) -> Tensor:
    # Nodes without degree are masked before the root too, or their gradient would be NaN.
    has_degree = degree > 0
    return torch.where(has_degree, torch.where(has_degree, degree, 1.0).rsqrt(), 0.0)


def _checked_weight(
    edge_index: Tensor, edge_weight: Tensor | None, dtype: torch.dtype | None
) -> tuple[Tensor, torch.dtype]:
    """Return the weights, at least in float32 so that degrees are exact, and the result's type."""
    if edge_weight is None:
        dtype = torch.get_default_dtype() if dtype is None else dtype
        return torch.ones(edge_index.size(1), dtype=_wide(dtype), device=edge_index.device), dtype
    check_edge_weight('edge_weight', edge_weight, edge_index)
    dtype = edge_weight.dtype if dtype is None else dtype
    is_known = edge_weight.device.type != 'meta' and not torch.compiler.is_compiling()
    if is_known and edge_weight.numel() > 0:
        check_finite('edge_weight', edge_weight.detach())
        if bool((edge_weight < 0).any()):
            raise ValueError(
                "'edge_weight' holds negative weights, whose degree has no square root; "
                'drop these edges or clamp them to zero first'
            )
    return edge_weight.to(_wide(dtype)), dtype


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def symmetric_normalize(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    num_nodes: int,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Return the weights of :math:`\mathbf{D}^{-1/2} \mathbf{S} \mathbf{D}^{-1/2}`.

    .. math::
        \hat{s}_{j \to i} = \frac{s_{j \to i}}{\sqrt{d_i d_j}}, \qquad
        d_i = \sum_{j \in \mathcal{N}(i)} s_{j \to i}

    The degree of an item is the sum of the weights it *receives*, at both ends of an edge, as in
    LATTICE (`arXiv 2104.09036 <https://arxiv.org/abs/2104.09036>`_, Eq. 5). For a symmetric graph
    this is the usual GCN normalisation without self loops.

    Args:
        edge_index: Edges, source → destination. Shape: ``[2, E]``.
        edge_weight: Non-negative weights, or :obj:`None` for ones. Shape: ``[E]``.
        num_nodes: Number of nodes.
        dtype: Type of the result; :obj:`None` means that of :obj:`edge_weight`, or torch's default
            without weights. (default: :obj:`None`)

    Returns:
        The normalised weights, zero where an end has no degree. Shape: ``[E]``.

    Raises:
        ValueError: If ids are out of range, or weights negative, not finite or of another length.
    """
    check_edge_index('edge_index', edge_index, (num_nodes, num_nodes), ('node', 'node'))
    weight, dtype = _checked_weight(edge_index, edge_weight, dtype)
    source, destination = edge_index
    scale = _inverse_sqrt(scatter(weight, destination, dim_size=num_nodes))
    return (weight * scale[source] * scale[destination]).to(dtype)


def bipartite_normalize(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    size: tuple[int, int],
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Return LightGCN's weights of a bipartite graph, normalised at both ends.

    .. math::
        \hat{w}_{u \to i} = \frac{w_{u \to i}}{\sqrt{d_u d_i}}

    with the degrees summed over the edges of each side
    (`arXiv 2002.02126 <https://arxiv.org/abs/2002.02126>`_, Eq. 3). The weights serve both
    directions of the graph.

    Args:
        edge_index: Edges, source → destination. Shape: ``[2, E]``.
        edge_weight: Non-negative weights, or :obj:`None` for ones. Shape: ``[E]``.
        size: Number of source and of destination nodes.
        dtype: Type of the result; :obj:`None` means that of :obj:`edge_weight`, or torch's default
            without weights. (default: :obj:`None`)

    Returns:
        The normalised weights. Shape: ``[E]``.

    Raises:
        ValueError: If ids are out of range, or weights negative, not finite or of another length.
    """
    check_edge_index('edge_index', edge_index, size, ('source node', 'destination node'))
    weight, dtype = _checked_weight(edge_index, edge_weight, dtype)
    scales = [
        _inverse_sqrt(scatter(weight, end, dim_size=num_nodes))[end]
        for end, num_nodes in zip(edge_index, size, strict=True)
    ]
    return (weight * scales[0] * scales[1]).to(dtype)


def normalize_similarity(edge_index: Tensor, edge_weight: Tensor, num_nodes: int) -> WeightedGraph:
    """Drop the edges without a positive similarity, and normalise the weights of the others.

    Dropped edges would give degrees without a square root. Because edges may be dropped, the result
    is a graph; :func:`symmetric_normalize`, which computes the weights, returns these alone.

    Args:
        edge_index: Edges, source → destination. Shape: ``[2, E]``.
        edge_weight: Similarities. Shape: ``[E]``.
        num_nodes: Number of nodes.

    Returns:
        The remaining ``edge_index`` of shape ``[2, E']`` and their weights of shape ``[E']``.

    Raises:
        ValueError: If ids are out of range, or similarities not finite or of another length.
    """
    check_finite('edge_weight', edge_weight)
    positive = edge_weight > 0
    if not bool(positive.all()):
        edge_index, edge_weight = edge_index[:, positive], edge_weight[positive]
    return edge_index, symmetric_normalize(edge_index, edge_weight, num_nodes)


def symmetrize(
    edge_index: Tensor, edge_weight: Tensor, num_nodes: int, reduce: str = 'max'
) -> WeightedGraph:
    """Add the reverse of every edge; an edge present both ways gets one weight.

    Args:
        edge_index: Edges, source → destination. Shape: ``[2, E]``.
        edge_weight: Weights. Shape: ``[E]``.
        num_nodes: Number of nodes.
        reduce: How the weights of both directions are combined: ``'max'``, ``'min'``, ``'mean'`` or
            ``'add'``. (default: ``'max'``)

    Returns:
        The symmetric graph, without duplicates, sorted by source and destination.

    Raises:
        ValueError: If ids are out of range or :obj:`reduce` is unknown.
    """
    check_choice('reduce', reduce, ('max', 'min', 'mean', 'add'))
    check_edge_index('edge_index', edge_index, (num_nodes, num_nodes), ('node', 'node'))
    check_edge_weight('edge_weight', edge_weight, edge_index)
    edge_index, edge_weight = to_undirected(edge_index, edge_weight, num_nodes, reduce=reduce)
    return edge_index, edge_weight


def union_graphs(graphs: Sequence[WeightedGraph], num_nodes: int) -> WeightedGraph:
    r"""Unite weighted edge sets, keeping one weight column per graph.

    The union is what soft attention works on: :math:`s^g_{j \to i}` is the weight that graph
    :math:`g` gives to the edge, and zero where it lacks the edge. Duplicated edges of one graph
    are summed.

    Args:
        graphs: One ``(edge_index, edge_weight)`` pair per graph.
        num_nodes: Number of nodes, the same for all graphs.

    Returns:
        ``edge_index`` of shape ``[2, E]``, sorted by destination and then by source, and
        ``edge_attr`` of shape ``[E, num_graphs]``.

    Raises:
        ValueError: If no graph is given, or ids or shapes don't fit.
    """
    if len(graphs) == 0:
        raise ValueError("'graphs' is empty; give at least one (edge_index, edge_weight) pair")
    for number, (edge_index, edge_weight) in enumerate(graphs):
        name = f'graphs[{number}]'
        check_edge_index(name, edge_index, (num_nodes, num_nodes), ('node', 'node'))
        check_edge_weight(name, edge_weight, edge_index)
    keys = torch.cat([index[1].long() * num_nodes + index[0] for index, _ in graphs])
    keys, position = keys.unique(return_inverse=True)
    weights = torch.cat([weight for _, weight in graphs])
    edge_attr = weights.new_zeros(keys.numel() * len(graphs))
    column = torch.cat(
        [torch.full_like(weight, g, dtype=torch.long) for g, (_, weight) in enumerate(graphs)]
    )
    edge_attr.index_add_(0, position * len(graphs) + column, weights)
    edge_index = torch.stack([keys % num_nodes, keys // num_nodes])
    return edge_index, edge_attr.view(-1, len(graphs))


def merge_graphs(
    graphs: Sequence[WeightedGraph], weights: Sequence[float], num_nodes: int
) -> WeightedGraph:
    r"""Merge weighted graphs with a fixed weight for each, :math:`\sum_g w_g \mathbf{A}^g`.

    Args:
        graphs: One ``(edge_index, edge_weight)`` pair per graph.
        weights: One weight :math:`w_g` per graph; they need not sum to 1.
        num_nodes: Number of nodes, the same for all graphs.

    Returns:
        The edges of the union (:func:`union_graphs`) and their weights.

    Raises:
        ValueError: As :func:`union_graphs` does, or if there is another number of weights.
    """
    if len(weights) != len(graphs):
        raise ValueError(
            f"'weights' must hold a weight for each of {len(graphs)} graphs (got {len(weights)})"
        )
    edge_index, edge_attr = union_graphs(graphs, num_nodes)
    return edge_index, edge_attr @ edge_attr.new_tensor(weights)
