import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import HeteroData

from pyg_mmgef._describe import describe
from pyg_mmgef.graph.knn import knn_graph
from pyg_mmgef.graph.weights import merge_graphs, normalize_similarity, union_graphs
from pyg_mmgef.nn.parts._content_index import ContentIndex
from pyg_mmgef.nn.parts.sampled_batch import num_rows
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import ITEM, is_sampled, item_graph
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_fraction, check_positive

__all__ = ['SIMILAR', 'ItemGraphs', 'content_graph']

SIMILAR = 'similar'
"""The relation of the multimodal item graph, which a learned graph can be mixed into."""


class ItemGraphs(Module):
    r"""The item graphs of the data, ready to propagate over; each is prepared once.

    The graph ``'similar'`` may be a mixture of the one in the data, which is frozen, and of one
    that :meth:`rebuild` learns: :math:`\lambda \mathbf{A}_{\mathrm{frozen}} + (1 - \lambda)
    \mathbf{A}_{\mathrm{learned}}`. No gradient flows through its weights. A sampled batch has the
    graphs that it was sampled from, which :meth:`mix` prepares.

    Args:
        num_items: Number of items.
        item_graphs: The graphs ``data['item', relation, 'item']``, or a mapping from relations to
            weights :math:`w_g`, which makes one graph of them, :math:`\sum_g w_g \mathbf{A}^g`.
        skip_weight: The weight :math:`\lambda` of the frozen graph; at 1 none is learned.
            (default: ``1.0``)
        k: Neighbours per item in the learned graph. (default: ``10``)
        recall: Share of the true neighbours that the learned graph must have. Below 1, the index
            that finds them is kept between rebuilds. (default: ``1.0``)

    Raises:
        ValueError: If relations repeat, or a number is out of range.
    """

    def __init__(
        self,
        num_items: int,
        item_graphs: Sequence[str] | Mapping[str, float],
        *,
        skip_weight: float = 1.0,
        k: int = 10,
        recall: float = 1.0,
    ) -> None:
        super().__init__()
        check_positive('num_items', num_items)
        check_positive('k', k)
        check_fraction('skip_weight', skip_weight)
        check_fraction('recall', recall, '(0, 1]')
        if isinstance(item_graphs, str) or len(set(item_graphs)) < len(item_graphs):
            raise ValueError(f"'item_graphs' must name distinct relations (got {item_graphs!r})")
        if skip_weight < 1 and SIMILAR not in item_graphs:
            raise ValueError(
                f"'skip_weight' below 1 mixes a learned graph into {SIMILAR!r}, which isn't among "
                f"'item_graphs' (got skip_weight={skip_weight}, item_graphs={tuple(item_graphs)}); "
                'set skip_weight=1'
            )
        self.num_items = num_items
        self.relations = tuple(item_graphs)
        self.weights = list(item_graphs.values()) if isinstance(item_graphs, Mapping) else None
        self.item_graphs: tuple[str, ...] | dict[str, float] = self.relations
        if self.weights is not None:
            self.item_graphs = dict(zip(self.relations, self.weights, strict=True))
        self.skip_weight = skip_weight
        self.k = k
        self.recall = recall
        self._index = ContentIndex(recall)
        self._pairs, self._union = TensorCache(), TensorCache()
        self.reset_parameters()

    def __len__(self) -> int:
        return len(self.relations) if self.weights is None else 1

    def reset_parameters(self) -> None:
        """Remove the learned graph and clear what was prepared."""
        self._index.clear()
        self._set_learned(None)

    @property
    def learned(self) -> WeightedGraph | None:
        """The learned graph, or :obj:`None`."""
        return self._learned

    def _set_learned(self, graph: WeightedGraph | None) -> None:
        self._learned = graph
        self._pairs.clear()
        self._union.clear()

    @torch.inference_mode(False)
    @torch.no_grad()
    def rebuild(self, x: Tensor, has_content: Tensor) -> None:
        """Learn the graph anew: the kNN graph, by cosine, of the features that propagate.

        Args:
            x: Features of all items. Shape: ``[num_items, channels]``.
            has_content: Items without content get no neighbours. Shape: ``[num_items, 1]``, bool.
        """
        graph = content_graph(x, has_content, self.k, index=self._index)
        self._set_learned(normalize_similarity(*graph, self.num_items))

    def forward(self, data: HeteroData) -> list[CSRPair]:
        """Return each graph in a form to propagate over.

        Raises:
            ValueError: If the data lacks a graph, or ids or weights don't fit.
        """
        size = self._num_items(data)

        def build() -> list[CSRPair]:
            return [CSRPair(*graph, (size, size)) for graph in self._weighted(data)]

        return self._pairs.get(self.tensors(data), build)

    def by_name(self, data: HeteroData) -> dict[str, WeightedGraph]:
        """Return the edges of each graph by its relation, with the weights :math:`w_g`, if any."""
        weights = self.weights or [1.0] * len(self.relations)
        graphs = zip(self.relations, weights, self._single(data), strict=True)
        return {name: (index, w * weight) for name, w, (index, weight) in graphs}

    def union(self, data: HeteroData) -> tuple[CSRPair, Tensor, Tensor]:
        """Return the union of the graphs, its edges, and the weight of each edge in each graph."""
        size = self._num_items(data)

        def build() -> tuple[CSRPair, Tensor, Tensor]:
            edge_index, edge_attr = union_graphs(self._weighted(data), size)
            return CSRPair(edge_index, size=(size, size)), edge_index, edge_attr

        return self._union.get(self.tensors(data), build)

    def mix(self, data: HeteroData) -> HeteroData:
        """Return the data with the learned graph mixed into ``'similar'``, to sample from."""
        if self._learned is None:
            return data
        graph = self._single(data)[self.relations.index(SIMILAR)]
        out = copy.copy(data)
        del out[ITEM, SIMILAR, ITEM]
        out[ITEM, SIMILAR, ITEM].edge_index, out[ITEM, SIMILAR, ITEM].edge_weight = graph
        return out

    def tensors(self, data: HeteroData) -> list[Tensor]:
        """Return the tensors that the graphs are made from."""
        graphs = [item_graph(data, relation) for relation in self.relations]
        graphs += [self._learned] if self._learned is not None else []
        return [tensor for graph in graphs for tensor in graph]

    def _weighted(self, data: HeteroData) -> list[WeightedGraph]:
        graphs = self._single(data)
        if self.weights is not None:
            return [merge_graphs(graphs, self.weights, self._num_items(data))]
        return graphs

    def _single(self, data: HeteroData) -> list[WeightedGraph]:
        """Return the graph of each relation, with its learned part."""
        graphs = [item_graph(data, relation) for relation in self.relations]
        if self._learned is not None and not is_sampled(data):
            position = self.relations.index(SIMILAR)
            frozen = graphs[position]
            device = frozen[0].device
            learned = self._learned[0].to(device), self._learned[1].to(device)
            weights = [self.skip_weight, 1 - self.skip_weight]
            graphs[position] = merge_graphs([frozen, learned], weights, self.num_items)
        return graphs

    def _num_items(self, data: HeteroData) -> int:
        return num_rows(data[ITEM], self.num_items)

    def get_extra_state(self) -> dict[str, Tensor]:
        """Return the learned graph, so that a checkpoint scores the same."""
        if self._learned is None:
            return {}
        edge_index, edge_weight = self._learned
        return {'edge_index': edge_index, 'edge_weight': edge_weight}

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """Restore the learned graph from a checkpoint."""
        if state and SIMILAR not in self.relations:
            raise ValueError(
                f'the checkpoint holds a learned part of the item graph {SIMILAR!r}, but the model '
                f'was built with item_graphs={self.relations}'
            )
        self._set_learned((state['edge_index'], state['edge_weight']) if state else None)

    def __repr__(self) -> str:
        return describe(self)


def content_graph(
    x: Tensor,
    has_content: Tensor,
    k: int,
    *,
    loop: bool = False,
    index: ContentIndex | None = None,
) -> WeightedGraph:
    """Return the kNN graph, by cosine, of learned features, whatever the number of items.

    Args:
        x: Features of all items. Shape: ``[N, channels]``.
        has_content: Items without content get no neighbours: the bias of a projection alone would
            make them neighbours of each other. Shape: ``[N, 1]``, bool.
        k: Neighbours per item; all, where there are fewer.
        loop: Let an item be its own neighbour, first among its :obj:`k`. (default: :obj:`False`)
        index: What finds the neighbours, perhaps not all; :obj:`None` finds all.
            (default: :obj:`None`)

    Returns:
        The graph with raw similarities, which may be negative.
    """
    x = torch.where(has_content, x, 0.0)
    if index is None or index.is_exact_for(x):
        return knn_graph(x, k, loop=loop)
    edge_index, weight = index.graph(x, k - loop)
    if loop:
        own = has_content[:, 0].nonzero().view(-1)
        edge_index = torch.cat([own.expand(2, -1), edge_index], dim=1)
        weight = torch.cat([weight.new_ones(own.numel()), weight])
        order = edge_index[1].argsort(stable=True)
        edge_index, weight = edge_index[:, order], weight[order]
    return edge_index, weight
