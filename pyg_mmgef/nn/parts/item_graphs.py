from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear
from torch_geometric.data import HeteroData

from pyg_mmgef.graph.weights import merge_graphs, union_graphs
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import item_graph
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.typing import WeightedGraph

__all__ = ['ItemGraphs', 'Propagates', 'mix']


_ALIGNED = 16
"""Rows are filled up to a multiple of so many channels; products of uneven rows take longer."""


class ItemGraphs:
    r"""The item graphs that a model propagates over, in the forms it needs, each built once.

    One of them may be a mixture of the graph in the data, which is frozen, and of a learned one:
    :math:`\lambda \mathbf{A}_{\mathrm{frozen}} + (1 - \lambda) \mathbf{A}_{\mathrm{learned}}`.

    Args:
        relations: The graphs ``data['item', relation, 'item']``.
        num_items: Number of items.
        mixed: The relation that the learned graph is mixed into.
        skip_weight: The weight :math:`\lambda` of the frozen graph.
    """

    def __init__(
        self, relations: Sequence[str], num_items: int, mixed: str, skip_weight: float
    ) -> None:
        self.relations = tuple(relations)
        self.num_items = num_items
        self.mixed = mixed
        self.skip_weight = skip_weight
        self._learned: WeightedGraph | None = None
        self._pairs, self._union, self._propagated = TensorCache(), TensorCache(), TensorCache()

    @property
    def learned(self) -> WeightedGraph | None:
        """The learned graph, or :obj:`None`; setting it forgets what was built."""
        return self._learned

    @learned.setter
    def learned(self, graph: WeightedGraph | None) -> None:
        self._learned = graph
        for cache in (self._pairs, self._union, self._propagated):
            cache.clear()

    def pairs(self, data: HeteroData) -> list[CSRPair]:
        """Return each graph as a :class:`~pyg_mmgef.sparse.CSRPair`."""
        size = self.num_items, self.num_items

        def build() -> list[CSRPair]:
            return [CSRPair(*graph, size) for graph in self._mixed(data)]

        pairs: list[CSRPair] = self._pairs.get(self._tensors(data), build)
        return pairs

    def union(self, data: HeteroData) -> tuple[CSRPair, Tensor, Tensor]:
        """Return the union of the graphs, its edges and what each graph gives to an edge."""

        def build() -> tuple[CSRPair, Tensor, Tensor]:
            edge_index, edge_attr = union_graphs(self._mixed(data), self.num_items)
            size = self.num_items, self.num_items
            return CSRPair(edge_index, size=size), edge_index, edge_attr

        union: tuple[CSRPair, Tensor, Tensor] = self._union.get(self._tensors(data), build)
        return union

    def project_features(
        self,
        data: HeteroData,
        made_from: Sequence[Tensor],
        features: Callable[[], Tensor],
        lin: Linear,
        alpha: Tensor,
        items: Tensor | None = None,
    ) -> Tensor:
        r"""Return :math:`\mathbf{A} (\mathbf{e} \mathbf{W}^{\top} + \mathbf{1}
        \mathbf{b}^{\top})` of some items.

        Here :math:`\mathbf{A} = \sum_g \boldsymbol{\alpha}^g \odot \mathbf{A}^g`. A linear layer
        and a linear propagation commute, :math:`\mathbf{A} (\mathbf{e} \mathbf{W}^{\top} +
        \mathbf{1} \mathbf{b}^{\top}) = \mathbf{A} [\mathbf{e} \, \Vert \, \mathbf{1}] \,
        [\mathbf{W} \, \Vert \, \mathbf{b}]^{\top}`, so features that don't change propagate over
        each graph once, and a step mixes and projects the rows that it reads.

        Args:
            data: The train graph.
            made_from: The tensors that the features are computed from.
            features: Computes :math:`\mathbf{e}`, of shape ``[num_items, channels]``.
            lin: The linear layer of :math:`\mathbf{W}` and :math:`\mathbf{b}`.
            alpha: The attention, of shape ``[1, num_graphs]`` or with a row for each of the items.
            items: Increasing item ids; :obj:`None` means all. Shape: ``[I]``.

        Returns:
            Shape: ``[I, lin.out_features]``. The gradient flows into :obj:`lin` and :obj:`alpha`.
        """

        @torch.no_grad()
        def build() -> tuple[CSRPair, Tensor]:
            e, pairs = features(), self.pairs(data)
            x = F.pad(e, (0, _ALIGNED - e.size(1) % _ALIGNED))  # At least one more channel.
            x[:, e.size(1)] = 1
            fused = x.new_empty(self.num_items, len(pairs), x.size(1))
            for position, pair in enumerate(pairs):  # One at a time: they may be large.
                fused[:, position] = pair.matmul(x)
            return self._to_items(x.device), fused.flatten(0, 1)

        mixer, fused = self._propagated.get([*self._tensors(data), *made_from], build)
        fused = fused.to(alpha.dtype)
        if items is None or alpha.size(0) == 1:
            weight = alpha.expand(self.num_items, -1)
        else:
            weight = alpha.new_zeros(self.num_items, alpha.size(1)).index_copy(0, items, alpha)
        fused = mixer.matmul(fused, weight.flatten(), items)
        both = torch.cat([lin.weight, lin.bias[:, None]], dim=1)
        return F.linear(fused, F.pad(both, (0, fused.size(1) - both.size(1))))

    def _to_items(self, device: torch.device) -> CSRPair:
        """Return the graph from each (item, graph) to the item, whose weights are the attention."""
        num_graphs = len(self.relations)
        source = torch.arange(self.num_items * num_graphs, device=device)
        edge_index = torch.stack([source, source // num_graphs])
        return CSRPair(edge_index, size=(source.numel(), self.num_items))

    def _tensors(self, data: HeteroData) -> list[Tensor]:
        return [tensor for relation in self.relations for tensor in item_graph(data, relation)]

    def _mixed(self, data: HeteroData) -> list[WeightedGraph]:
        graphs = [item_graph(data, relation) for relation in self.relations]
        if self._learned is None:
            return graphs
        position = self.relations.index(self.mixed)
        device = graphs[position][0].device
        learned = self._learned[0].to(device), self._learned[1].to(device)
        graphs[position] = merge_graphs(
            [graphs[position], learned],
            [self.skip_weight, 1 - self.skip_weight],
            self.num_items,
        )
        return graphs


class Propagates(Protocol):
    """An item graph: a :class:`~pyg_mmgef.sparse.CSRPair`, or what is made from several."""

    def matmul(self, x: Tensor, *, rows: Tensor | None = None) -> Tensor:
        """Return what arrives at some items, or at all for :obj:`None`."""


def mix(
    graphs: Sequence[Propagates], x: Tensor, alpha: Tensor, rows: Tensor | None = None
) -> Tensor:
    r"""Propagate over each graph and weigh what arrives at some items.

    Args:
        graphs: The graphs :math:`\mathbf{A}^g`.
        x: Shape: ``[num_items, channels]``.
        alpha: The attention, of shape ``[1, num_graphs]`` or with a row for each of the items.
        rows: Increasing item ids; :obj:`None` means all. Shape: ``[I]``. (default: :obj:`None`)

    Returns:
        :math:`\sum_g \boldsymbol{\alpha}^g \odot \mathbf{A}^g \mathbf{x}` of the items.
    """
    parts = torch.stack([graph.matmul(x, rows=rows) for graph in graphs], dim=1)
    return (alpha[..., None] * parts).sum(dim=1)
