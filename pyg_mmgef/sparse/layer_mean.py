from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_mmgef.sparse._compiled_ops import Parts, matrix_of, transposed
from pyg_mmgef.sparse._matmul import HALF, multiply
from pyg_mmgef.sparse._row_sparse import RowSparse
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_increasing

__all__ = ['layer_mean']


def layer_mean(
    pair: CSRPair,
    x_source: Tensor,
    x_destination: Tensor,
    num_layers: int,
    *,
    back: CSRPair | None = None,
    sources: Tensor | None = None,
    destinations: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Propagate both sides of a bipartite graph to each other, and average over the layers.

    .. math::
        \mathbf{z}_d = \frac{1}{L + 1} \sum_{l=0}^{L} \mathbf{x}^{(l)}_d, \qquad
        \mathbf{x}^{(l+1)}_d = \mathbf{A} \mathbf{x}^{(l)}_s, \qquad
        \mathbf{x}^{(l+1)}_s = \mathbf{B} \mathbf{x}^{(l)}_d

    and likewise :math:`\mathbf{z}_s`, with :math:`\mathbf{B} = \mathbf{A}^{\top}` unless
    :obj:`back` is another graph: LightGCN's propagation (`arXiv 2002.02126
    <https://arxiv.org/abs/2002.02126>`_, Eqs. 3-4 and 8). The operator is linear, and its backward
    is the same operator with both graphs reversed, so no layer is kept for it. The last layer is
    computed for the requested nodes only, and the first product of the backward skips the others.

    Args:
        pair: The normalised graph.
        x_source: Shape: ``[num_source_nodes, channels]``.
        x_destination: Shape: ``[num_destination_nodes, channels]``.
        num_layers: Number of layers :math:`L`.
        back: The graph :math:`\mathbf{B}` from destinations to sources, if it isn't the reverse of
            :obj:`pair`, as in a sample of the neighbours of each node; :obj:`None` is the reverse.
            (default: :obj:`None`)
        sources: Sorted ids of the source nodes to compute; :obj:`None` computes all.
            Shape: ``[S]``. (default: :obj:`None`)
        destinations: Sorted ids of the destination nodes. Shape: ``[D]``. (default: :obj:`None`)

    Returns:
        :math:`\mathbf{z}_s` and :math:`\mathbf{z}_d`, with a row per requested node.

    Raises:
        ValueError: If features or graphs don't fit each other, or ids are out of range or
            don't increase.

    Example:
        >>> pair = CSRPair(torch.tensor([[0, 1], [0, 0]]), size=(2, 1))
        >>> z_source, z_destination = layer_mean(pair, torch.ones(2, 1), torch.ones(1, 1), 1)
        >>> z_source.view(-1), z_destination.view(-1)
        (tensor([1., 1.]), tensor([1.5000]))
    """
    pair.check_ends(x_source, x_destination)
    if back is not None and back.size != pair.size[::-1]:
        raise ValueError(
            f"'back' must lead from {pair.size[1]} destination to {pair.size[0]} source nodes (got "
            f'size={back.size})'
        )
    if sources is not None:
        check_increasing('sources', sources, pair.size[0], 'source node')
    if destinations is not None:
        check_increasing('destinations', destinations, pair.size[1], 'destination node')
    ends = x_source, x_destination
    if x_source.dtype in HALF:
        ends = x_source.float(), x_destination.float()
    if torch.compiler.is_compiling():
        parts = pair._parts, transposed(pair._parts) if back is None else back._parts
        total = sum_layers(*parts, *ends, num_layers, sources, destinations, None, None)
        z_source, z_destination = (layers / (num_layers + 1) for layers in total)
    else:
        graphs = pair, pair.t() if back is None else back
        z_source, z_destination = _LayerMean.apply(
            *ends, sources, destinations, *graphs, num_layers
        )
    return z_source.to(x_source.dtype), z_destination.to(x_source.dtype)


class _LayerMean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_source: Tensor,
        x_destination: Tensor,
        sources: Tensor | None,
        destinations: Tensor | None,
        pair: CSRPair,
        back: CSRPair,
        num_layers: int,
    ) -> tuple[Tensor, Tensor]:
        ctx.graphs = sources, destinations, pair, back, num_layers
        z_source, z_destination = _sum_layers(
            (pair.matrix(x_source.dtype), back.matrix(x_source.dtype)),
            RowSparse(x_source, None, pair.size[0]),
            RowSparse(x_destination, None, pair.size[1]),
            num_layers,
            sources,
            destinations,
        )
        scale = 1 / (num_layers + 1)
        return z_source.mul_(scale), z_destination.mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_source: Tensor, grad_destination: Tensor) -> tuple[Any, ...]:
        sources, destinations, pair, back, num_layers = ctx.graphs
        dtype = grad_source.dtype
        scale = 1 / (num_layers + 1)
        x_source, x_destination = _sum_layers(
            (back.t().matrix(dtype), pair.t().matrix(dtype)),
            RowSparse(grad_source * scale, sources, pair.size[0]),
            RowSparse(grad_destination * scale, destinations, pair.size[1]),
            num_layers,
        )
        return x_source, x_destination, None, None, None, None, None


def _sum_layers(
    matrices: tuple[Tensor, Tensor],
    source: RowSparse,
    destination: RowSparse,
    num_layers: int,
    sources: Tensor | None = None,
    destinations: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return new tensors with the sum over the layers, for some nodes of each side or for all.

    By Horner's rule it is x + A (x + A (x + ...)), so no layer is kept but the last.
    """
    forth, back = matrices
    h_source, h_destination = source, destination
    for _ in range(num_layers - 1):
        h_source, h_destination = (
            RowSparse(multiply(back, h_destination, add=source), None, source.num_rows),
            RowSparse(multiply(forth, h_source, add=destination), None, destination.num_rows),
        )
    if num_layers == 0:
        return source.select(sources), destination.select(destinations)
    add_to_source = source if sources is None else source.select(sources)
    add_to_destination = destination if destinations is None else destination.select(destinations)
    return (
        multiply(back, h_destination, rows=sources, add=add_to_source),
        multiply(forth, h_source, rows=destinations, add=add_to_destination),
    )


@torch.library.custom_op(
    'pyg_mmgef::sum_layers',
    mutates_args=(),
    schema=(
        '(Tensor[] forth, Tensor[] back, Tensor x_source, Tensor x_destination, int num_layers, '
        'Tensor? sources, Tensor? destinations, Tensor? given_sources, '
        'Tensor? given_destinations) -> (Tensor, Tensor)'
    ),
)
def sum_layers(
    forth: Parts,
    back: Parts,
    x_source: Tensor,
    x_destination: Tensor,
    num_layers: int,
    sources: Tensor | None,
    destinations: Tensor | None,
    given_sources: Tensor | None,
    given_destinations: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the sums over the layers, as an operator for compiled models (``_compiled_ops.py``).

    Args:
        forth: The pair from sources to destinations.
        back: The pair from destinations to sources.
        x_source: Rows of the sources. Shape: ``[S', channels]``.
        x_destination: Rows of the destinations. Shape: ``[D', channels]``.
        num_layers: Number of layers.
        sources: The sources to compute; :obj:`None` computes all. Shape: ``[S]``.
        destinations: The destinations to compute; :obj:`None` computes all. Shape: ``[D]``.
        given_sources: The ids of :obj:`x_source`, the other rows being zero; :obj:`None` if all
            are given. Shape: ``[S']``.
        given_destinations: The ids of :obj:`x_destination`, likewise. Shape: ``[D']``.
    """
    matrices = matrix_of(forth, x_source.dtype), matrix_of(back, x_source.dtype)
    return _sum_layers(
        matrices,
        RowSparse(x_source, given_sources, matrices[1].size(0)),
        RowSparse(x_destination, given_destinations, matrices[0].size(0)),
        num_layers,
        sources,
        destinations,
    )


@sum_layers.register_fake
def _(
    forth: Parts,
    back: Parts,
    x_source: Tensor,
    x_destination: Tensor,
    num_layers: int,
    sources: Tensor | None,
    destinations: Tensor | None,
    given_sources: Tensor | None,
    given_destinations: Tensor | None,
) -> tuple[Tensor, Tensor]:
    num_sources = back[0].numel() - 1 if sources is None else sources.numel()
    num_destinations = forth[0].numel() - 1 if destinations is None else destinations.numel()
    channels = x_source.size(1)
    return x_source.new_empty(num_sources, channels), x_source.new_empty(num_destinations, channels)


def _save_layers(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    forth, back, _, _, ctx.num_layers, sources, destinations, *_ = inputs
    ctx.num_parts = len(forth)
    ctx.save_for_backward(*forth, *back, sources, destinations)


def _sum_backward(ctx: Any, grad_source: Tensor, grad_destination: Tensor) -> tuple[Any, ...]:
    *parts, sources, destinations = ctx.saved_tensors
    forth, back = parts[: ctx.num_parts], parts[ctx.num_parts :]
    grads = sum_layers(
        transposed(back),
        transposed(forth),
        grad_source,
        grad_destination,
        ctx.num_layers,
        None,
        None,
        sources,
        destinations,
    )
    return [None] * len(forth), [None] * len(back), *grads, None, None, None, None, None


sum_layers.register_autograd(_sum_backward, setup_context=_save_layers)
