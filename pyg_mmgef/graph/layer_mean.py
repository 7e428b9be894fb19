from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_mmgef.graph.csr_pair import CSRPair
from pyg_mmgef.graph.products import HALF, multiply
from pyg_mmgef.validate import check_increasing

__all__ = ['layer_mean']


def layer_mean(
    pair: CSRPair,
    x_source: Tensor,
    x_destination: Tensor,
    num_layers: int,
    *,
    sources: Tensor | None = None,
    destinations: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Propagate both sides of a bipartite graph to each other, and average over the layers.

    .. math::
        \mathbf{z}_d = \frac{1}{L + 1} \sum_{l=0}^{L} \mathbf{x}^{(l)}_d, \qquad
        \mathbf{x}^{(l+1)}_d = \mathbf{A} \mathbf{x}^{(l)}_s, \qquad
        \mathbf{x}^{(l+1)}_s = \mathbf{A}^{\top} \mathbf{x}^{(l)}_d

    and likewise :math:`\mathbf{z}_s`: LightGCN's propagation
    (`arXiv 2002.02126 <https://arxiv.org/abs/2002.02126>`_, Eqs. 3-4 and 8) over the whole graph.
    The operator is linear and symmetric, so the backward is the operator itself and no layer is
    kept for it. Of the last layer only the nodes that are read are computed, and the first
    product of the backward leaves out the others.

    Args:
        pair: The normalised graph.
        x_source: Shape: ``[num_source_nodes, channels]``.
        x_destination: Shape: ``[num_destination_nodes, channels]``.
        num_layers: Number of layers :math:`L`.
        sources: The increasing ids of the source nodes that somebody reads; :obj:`None` means
            all. Shape: ``[S]``. (default: :obj:`None`)
        destinations: Those of the destination nodes. Shape: ``[D]``. (default: :obj:`None`)

    Returns:
        :math:`\mathbf{z}_s` and :math:`\mathbf{z}_d`, with a row per node that is read.

    Raises:
        ValueError: If features don't fit the graph or each other, or ids are out of range or
            don't increase.

    Example:
        >>> pair = CSRPair(torch.tensor([[0, 1], [0, 0]]), size=(2, 1))
        >>> z_source, z_destination = layer_mean(pair, torch.ones(2, 1), torch.ones(1, 1), 1)
        >>> z_source.view(-1), z_destination.view(-1)
        (tensor([1., 1.]), tensor([1.5000]))
    """
    sizes = x_source.size(0), x_destination.size(0)
    if sizes != pair.size or x_source.shape[1:] != x_destination.shape[1:]:
        raise ValueError(
            f"'x_source' and 'x_destination' must have {pair.size[0]} and {pair.size[1]} rows of "
            f'the same width (got {list(x_source.shape)} and {list(x_destination.shape)})'
        )
    if x_source.dtype != x_destination.dtype:
        raise ValueError(
            f"'x_source' and 'x_destination' must have one type (got {x_source.dtype} and "
            f'{x_destination.dtype})'
        )
    if sources is not None:
        check_increasing('sources', sources, pair.size[0], 'source node')
    if destinations is not None:
        check_increasing('destinations', destinations, pair.size[1], 'destination node')
    graph = sources, destinations, pair, num_layers
    if x_source.dtype in HALF:
        z_source, z_destination = _LayerMean.apply(x_source.float(), x_destination.float(), *graph)
        return z_source.to(x_source.dtype), z_destination.to(x_source.dtype)
    return _LayerMean.apply(x_source, x_destination, *graph)


class _LayerMean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_source: Tensor,
        x_destination: Tensor,
        sources: Tensor | None,
        destinations: Tensor | None,
        pair: CSRPair,
        num_layers: int,
    ) -> tuple[Tensor, Tensor]:
        ctx.graph = sources, destinations, pair, num_layers
        forth, back = pair.matrix(x_source.dtype), pair.t().matrix(x_source.dtype)
        z_source, z_destination = _rows(x_source, sources), _rows(x_destination, destinations)
        for _ in range(num_layers - 1):
            x_source, x_destination = multiply(back, x_destination), multiply(forth, x_source)
            _add_rows(z_source, x_source, sources)
            _add_rows(z_destination, x_destination, destinations)
        if num_layers > 0:
            multiply(back, x_destination, rows=sources, add_to=z_source)
            multiply(forth, x_source, rows=destinations, add_to=z_destination)
        scale = 1 / (num_layers + 1)
        return z_source.mul_(scale), z_destination.mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_source: Tensor, grad_destination: Tensor) -> tuple[Any, ...]:
        sources, destinations, pair, num_layers = ctx.graph
        forth, back = pair.matrix(grad_source.dtype), pair.t().matrix(grad_source.dtype)
        scale = 1 / (num_layers + 1)
        grad_source, grad_destination = grad_source * scale, grad_destination * scale
        if num_layers == 0:
            x_source = _spread(grad_source, sources, pair.size[0])
            x_destination = _spread(grad_destination, destinations, pair.size[1])
            return x_source, x_destination, None, None, None, None
        # Horner's rule: g + A (g + A (g + ...)), where only the first g has but some rows.
        x_source, x_destination = grad_source, grad_destination
        given_sources, given_destinations = sources, destinations
        for _ in range(num_layers):
            x_source, x_destination = (
                multiply(back, x_destination, columns=given_destinations),
                multiply(forth, x_source, columns=given_sources),
            )
            given_sources = given_destinations = None
            _add_to_rows(x_source, grad_source, sources)
            _add_to_rows(x_destination, grad_destination, destinations)
        return x_source, x_destination, None, None, None, None


def _rows(x: Tensor, rows: Tensor | None) -> Tensor:
    """Return a copy of some rows."""
    if rows is not None:
        return x.index_select(0, rows)
    return x.clone(memory_format=torch.contiguous_format)


def _add_rows(out: Tensor, x: Tensor, rows: Tensor | None) -> None:
    out.add_(x if rows is None else x.index_select(0, rows))


def _add_to_rows(out: Tensor, x: Tensor, rows: Tensor | None) -> None:
    if rows is None:
        out.add_(x)
    else:
        out.index_add_(0, rows, x)


def _spread(x: Tensor, rows: Tensor | None, num_rows: int) -> Tensor:
    return x if rows is None else x.new_zeros(num_rows, x.size(1)).index_copy_(0, rows, x)
