"""LightGCN's propagation over the whole graph, with users and items spread over processes."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_mmgef.distributed._exchange import (
    Group,
    owner_of,
    place_in,
    starts_of,
    sum_over,
    visit,
)
from pyg_mmgef.distributed._together import raise_together
from pyg_mmgef.sparse._matmul import HALF, multiply
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_edge_index, check_not_negative

__all__ = ['ShardedInteractions', 'sharded_layer_mean']


class ShardedInteractions:
    r"""The normalised interactions of the users of this process, in a block for each process.

    An interaction of user :math:`u` and item :math:`i` has LightGCN's weight
    :math:`1 / \sqrt{d_u d_i}`, with the degrees in the whole graph
    (`arXiv 2002.02126 <https://arxiv.org/abs/2002.02126>`_, Eq. 3). All processes make it together.

    Args:
        edge_index: All interactions (user, item) of the users of this process, users numbered
            within the process, items over all. Shape: ``[2, E]``.
        num_users: Number of users of this process.
        num_items: Number of items of this process; the processes have contiguous ranges in the
            order of their ranks.
        group: The processes; :obj:`None` means all. (default: :obj:`None`)

    Raises:
        ValueError: If ids are out of range.
        RuntimeError: If those of another process are.
    """

    def __init__(
        self, edge_index: Tensor, num_users: int, num_items: int, *, group: Group = None
    ) -> None:
        self.group, self.num_users, self.num_items = group, num_users, num_items
        device = edge_index.device
        self.starts = starts_of(num_items, device, group)
        size = num_users, self.starts[-1]
        with raise_together(device, group):
            check_edge_index('edge_index', edge_index, size, ('user', 'item'))
        user, item = edge_index
        of_item = sum_over(item.bincount(minlength=size[1]), group).float()
        of_user = user.bincount(minlength=num_users).float()
        weight = of_user.rsqrt()[user] * of_item.rsqrt()[item]
        owner = owner_of(item, self.starts)
        self.blocks = []
        for number, start in enumerate(self.starts[:-1]):
            own = (owner == number).nonzero().view(-1)
            ends = torch.stack([user[own], item[own] - start])
            shape = num_users, self.starts[number + 1] - start
            self.blocks.append(CSRPair(ends, weight[own], shape))

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_users={self.num_users}, num_items={self.num_items} of '
            f'{self.starts[-1]}, num_edges={sum(block.num_edges for block in self.blocks)})'
        )


def sharded_layer_mean(
    interactions: ShardedInteractions, x_user: Tensor, x_item: Tensor, num_layers: int
) -> tuple[Tensor, Tensor]:
    r"""Propagate users and items to each other, and average over the layers.

    This is :func:`~pyg_mmgef.sparse.layer_mean` of the whole graph, equal to rounding. The rows of
    items travel to all processes, one process's at a time; the sums over users go to the process of
    the item; users never travel. So a process holds its own rows and those of the items of three
    processes.

    The operator is linear and symmetric, so the backward is the operator itself. All processes must
    call forward and backward in the same order; the gradients are those of the sum of the losses of
    all processes.

    Args:
        interactions: The interactions.
        x_user: Rows of the users of this process. Shape: ``[num_users, channels]``.
        x_item: Rows of the items of this process. Shape: ``[num_items, channels]``.
        num_layers: Number of layers.

    Returns:
        The rows of the users and of the items of this process, of the same shapes.

    Raises:
        ValueError: If :obj:`num_layers` is negative, or rows don't fit the interactions or each
            other.
        RuntimeError: If those of another process don't.

    Example:
        >>> edges = ShardedInteractions(torch.tensor([[0, 1], [0, 0]]), 2, 1)
        >>> z_user, z_item = sharded_layer_mean(edges, torch.ones(2, 1), torch.ones(1, 1), 1)
        >>> z_item
        tensor([[1.2071]])
    """
    check_not_negative('num_layers', num_layers, integer=True)
    with raise_together(x_user.device, interactions.group):
        _check_ends(interactions, x_user, x_item)
    ends = (x_user, x_item) if x_user.dtype not in HALF else (x_user.float(), x_item.float())
    z_user, z_item = _LayerMean.apply(*ends, interactions, num_layers)
    return z_user.to(x_user.dtype), z_item.to(x_item.dtype)


def _check_ends(interactions: ShardedInteractions, x_user: Tensor, x_item: Tensor) -> None:
    sizes = x_user.size(0), x_item.size(0)
    expected = interactions.num_users, interactions.num_items
    if sizes != expected or x_user.shape[1:] != x_item.shape[1:] or x_user.dtype != x_item.dtype:
        raise ValueError(
            f"'x_user' and 'x_item' must have {expected[0]} and {expected[1]} rows of one width "
            f'and type (got {list(x_user.shape)}, {x_user.dtype} and {list(x_item.shape)}, '
            f'{x_item.dtype})'
        )


class _LayerMean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_user: Tensor,
        x_item: Tensor,
        interactions: ShardedInteractions,
        num_layers: int,
    ) -> tuple[Tensor, Tensor]:
        ctx.graph = interactions, num_layers
        return _mean(interactions, x_user, x_item, num_layers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_user: Tensor, grad_item: Tensor) -> tuple[Any, ...]:
        interactions, num_layers = ctx.graph
        return *_mean(interactions, grad_user, grad_item, num_layers), None, None


def _mean(
    interactions: ShardedInteractions, x_user: Tensor, x_item: Tensor, num_layers: int
) -> tuple[Tensor, Tensor]:
    """Return the mean over the layers by Horner's rule, x + A (x + A (x + ...))."""
    h_user, h_item = x_user, x_item
    for _ in range(num_layers):
        h_user, h_item = (
            x_user + _sums_of_items(interactions, h_item, x_user),
            x_item + _sums_of_users(interactions, h_user),
        )
    return h_user / (num_layers + 1), h_item / (num_layers + 1)


def _sums_of_items(interactions: ShardedInteractions, x_item: Tensor, like: Tensor) -> Tensor:
    out = torch.zeros_like(like)
    for owner, _, rows in visit(x_item, interactions.group):
        block = interactions.blocks[owner].t()
        out = multiply(block.matrix(rows.dtype), rows, add=out)
    return out


def _sums_of_users(interactions: ShardedInteractions, x_user: Tensor) -> Tensor:
    rank, size = place_in(interactions.group)
    own = x_user.new_empty(0)
    for owner, block in enumerate(interactions.blocks):
        total = multiply(block.matrix(x_user.dtype), x_user)
        if size > 1:
            dist.reduce(total, group=interactions.group, group_dst=owner)
        if owner == rank:
            own = total
    return own
