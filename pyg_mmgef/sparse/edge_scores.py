from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_mmgef.sparse._compiled_ops import edge_products
from pyg_mmgef.sparse._matmul import HALF, sample
from pyg_mmgef.sparse.csr_pair import CSRPair

__all__ = ['edge_scores']


def edge_scores(pair: CSRPair, x_source: Tensor, x_destination: Tensor) -> Tensor:
    r"""Return the inner product of the two ends of every edge.

    .. math::
        s_{j \to i} = \mathbf{x}_j^{\top} \mathbf{x}_i

    Neither direction materialises a row per edge: the forward is a product sampled at the edges,
    the backward multiplies by the graph and its transpose, weighted with the gradient.

    Args:
        pair: The graph; its weights are not used.
        x_source: Shape: ``[num_source_nodes, channels]``.
        x_destination: Shape: ``[num_destination_nodes, channels]``.

    Returns:
        The scores, in the order of the edges the pair was made from. Shape: ``[E]``.

    Raises:
        ValueError: If features don't fit the graph or each other.

    Example:
        >>> pair = CSRPair(torch.tensor([[1, 0], [0, 0]]), size=(2, 1))
        >>> edge_scores(pair, torch.tensor([[1.0], [10.0]]), torch.tensor([[2.0]]))
        tensor([20.,  2.])
    """
    pair.check_ends(x_source, x_destination)
    ends = x_source, x_destination
    if x_source.dtype in HALF:
        ends = x_source.float(), x_destination.float()
    if torch.compiler.is_compiling():
        return edge_products(pair._parts, *ends, None).to(x_source.dtype)
    return _EdgeScores.apply(*ends, pair).to(x_source.dtype)


class _EdgeScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_source: Tensor, x_destination: Tensor, pair: CSRPair) -> Tensor:
        ctx.pair = pair
        ctx.save_for_backward(x_source, x_destination)
        by_entry = sample(pair.matrix(x_source.dtype), x_destination, x_source)
        scores = torch.empty_like(by_entry)
        scores[pair._perm] = by_entry
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        pair: CSRPair = ctx.pair
        x_source, x_destination = ctx.saved_tensors
        grad_source = grad_destination = None
        if ctx.needs_input_grad[0]:
            grad_source = pair.t().matmul(x_destination, grad)
        if ctx.needs_input_grad[1]:
            grad_destination = pair.matmul(x_source, grad)
        return grad_source, grad_destination, None
