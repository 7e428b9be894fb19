"""The terms that embeddings are sums of, from which a score is explained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.sparse._csr import csr_tensor
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.sparse.layer_mean import layer_mean
from pyg_mmgef.typing import WeightedGraph

__all__ = [
    'ItemPart',
    'UserParts',
    'neighbor_parts',
    'one_hot_parts',
    'propagated_parts',
]


@dataclass(frozen=True)
class UserParts:
    r"""The terms of a user's embedding: one for each item of the user, and what is left.

    .. math::
        \mathbf{z}_u = \sum_j \mathbf{p}_j + \sum_r \mathbf{r}_r

    Args:
        items: The distinct items :math:`j` that the user has. Shape: ``[M]``.
        history: The terms :math:`\mathbf{p}_j`, dense or a sparse CSR tensor.
            Shape: ``[M, channels]``.
        rest: The other terms by their kind, such as ``'user'`` for the user's own parameters.
            Shape of each: ``[channels]``.
    """

    items: Tensor
    history: Tensor
    rest: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def without_items(cls, **rest: Tensor) -> 'UserParts':
        """Return the parts of a user to whom no item adds anything."""
        first = next(iter(rest.values()))
        no_items = torch.empty(0, dtype=torch.long, device=first.device)
        return cls(no_items, first.new_empty(0, first.numel()), rest)

    def mapped(self, function: Callable[[Tensor], Tensor], **rest: Tensor) -> 'UserParts':
        """Return the parts after a linear map of rows, with further terms."""
        terms = {kind: function(row[None])[0] for kind, row in self.rest.items()}
        return replace(self, history=function(self.history), rest={**terms, **rest})


@dataclass(frozen=True)
class ItemPart:
    r"""A term of the embeddings of some items.

    The item at the place ``position[p]`` has ``weight[p] * x[source[p]]``, for each ``p``; so an
    item may have one such vector, several, or none.

    Args:
        kind: What the term is: ``'collaborative'``, ``'neighbours'``, ``'modality'`` and so on.
        x: Vectors. Shape: ``[S, channels]``.
        position: Places among the items that were asked for. Shape: ``[P]``.
        source: Rows of :obj:`x`; of neighbours, these are items. Shape: ``[P]``.
        weight: Factors. Shape: ``[P]``.
        name: Which modality or item graph it is. (default: :obj:`None`)
    """

    kind: str
    x: Tensor
    position: Tensor
    source: Tensor
    weight: Tensor
    name: str | None = None

    @classmethod
    def of_rows(cls, kind: str, x: Tensor, name: str | None = None) -> 'ItemPart':
        """Return a term that each item has once: its row."""
        rows = torch.arange(x.size(0), device=x.device)
        return cls(kind, x, rows, rows, torch.ones_like(rows, dtype=torch.double), name)

    @classmethod
    def of_all(cls, kind: str, x: Tensor, num_items: int) -> 'ItemPart':
        """Return a term that all items share. The shape of :obj:`x` is ``[channels]``."""
        rows = torch.arange(num_items, device=x.device)
        return cls(kind, x[None], rows, torch.zeros_like(rows), torch.ones_like(rows).double())

    def scaled(self, factor: Tensor) -> 'ItemPart':
        """Return the term times a factor for each item. Shape: ``[I]``."""
        return replace(self, weight=self.weight.double() * factor.double()[self.position])

    def mapped(self, function: Callable[[Tensor], Tensor]) -> 'ItemPart':
        """Return the term after a linear map of rows."""
        return replace(self, x=function(self.x))

    def scores(self, z_user: Tensor) -> Tensor:
        """Return what each vector adds to the score for a user. Shape: ``[P]``."""
        rows, position = self.source.unique(return_inverse=True)
        return self.weight.double() * (self.x[rows].double() @ z_user.double())[position]


def propagated_parts(
    pair: CSRPair, x_user: Tensor, x_item: Tensor, num_layers: int, user: int
) -> UserParts:
    r"""Return the parts of a user's embedding in :func:`~pyg_mmgef.sparse.layer_mean`.

    With the weights :math:`w_{uj}` of the user's interactions, it is

    .. math::
        \mathbf{z}_u = \frac{1}{L + 1} \Big( \mathbf{x}_u + \sum_j w_{uj} \sum_{l=0}^{L-1}
        \mathbf{x}^{(l)}_j \Big).

    Args:
        pair: The normalised graph user → item.
        x_user: Where the users start. Shape: ``[num_users, channels]``.
        x_item: Where the items start. Shape: ``[num_items, channels]``.
        num_layers: Number of layers :math:`L`.
        user: The user.
    """
    matrix = pair.t().matrix(torch.promote_types(x_item.dtype, torch.float32))  # A row per user.
    start, end = matrix.crow_indices()[user : user + 2].tolist()
    items, position = matrix.col_indices()[start:end].unique(return_inverse=True)
    own = {'user': x_user[user] / (num_layers + 1)}
    if num_layers == 0:  # Without layers no interaction adds anything.
        return UserParts(items, x_item.new_zeros(items.numel(), x_item.size(1)), own)
    weight = torch.zeros(items.numel(), dtype=matrix.dtype, device=matrix.device)
    weight = weight.index_add(0, position, matrix.values()[start:end])  # Repeated ones add up.
    _, mean = layer_mean(pair, x_user, x_item, num_layers - 1)
    history = mean[items] * (weight * num_layers / (num_layers + 1)).to(mean.dtype)[:, None]
    return UserParts(items, history, own)


def one_hot_parts(history: CSRPair, user: int, dtype: torch.dtype) -> UserParts:
    """Return the parts of an embedding that is the user's history: a unit vector for each item.

    Args:
        history: The graph item → user, each edge once.
        user: The user.
        dtype: The type of the embedding.
    """
    row = select(history.matrix(dtype), torch.tensor([user], device=history.device))
    items, values = row.col_indices(), row.values()
    pointer = torch.arange(items.numel() + 1, device=items.device)
    shape = items.numel(), history.size[0]
    return UserParts(items, csr_tensor(pointer, items, values, shape))


def _edges_into(
    graph: WeightedGraph, items: Tensor, num_items: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the edges of an item graph that some items receive; those of one pair are added up.

    Args:
        graph: The item graph.
        items: Distinct items. Shape: ``[I]``.
        num_items: Number of items.

    Returns:
        For each edge the place of the receiving item among :obj:`items`, the neighbour, and the
        weight. Shape of each: ``[P]``.
    """
    edge_index, edge_weight = graph
    place = torch.full((num_items,), -1, device=items.device)
    place[items] = torch.arange(items.numel(), device=items.device)
    position = place[edge_index[1]]
    kept = position >= 0
    key = position[kept] * num_items + edge_index[0, kept]
    key, edge = key.unique(return_inverse=True)
    weight = edge_weight.new_zeros(key.numel()).index_add(0, edge, edge_weight[kept])
    return key // num_items, key % num_items, weight


def neighbor_parts(graphs: Mapping[str, WeightedGraph], x: Tensor, items: Tensor) -> list[ItemPart]:
    """Return what items receive from their neighbours, a term for each item graph.

    Args:
        graphs: The item graphs by name, with the weights that count.
        x: What the neighbours send. Shape: ``[num_items, channels]``.
        items: Distinct items that receive. Shape: ``[I]``.
    """
    return [
        ItemPart('neighbours', x, *_edges_into(graph, items, x.size(0)), name)
        for name, graph in graphs.items()
    ]
