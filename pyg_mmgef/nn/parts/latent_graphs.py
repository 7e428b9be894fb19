from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, Module, ModuleList
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef._describe import describe
from pyg_mmgef.graph.weights import normalize_similarity, symmetric_normalize
from pyg_mmgef.nn.parts._content_index import ContentIndex
from pyg_mmgef.nn.parts.item_graphs import content_graph
from pyg_mmgef.nn.parts.modality_features import ModalityFeatures
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import item_graph, item_modalities, item_relations
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.sparse.edge_scores import edge_scores
from pyg_mmgef.typing import WeightedGraph
from pyg_mmgef.validate import check_fraction, check_positive

__all__ = ['LatentGraph', 'LatentGraphs']

Features: TypeAlias = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LatentGraph:
    """An item graph with a fixed part and, beside it or not, one whose weights are learned."""

    frozen: CSRPair
    learned: CSRPair | None = None
    edge_weight: Tensor | None = None

    def matmul(self, x: Tensor, *, rows: Tensor | None = None) -> Tensor:
        """Propagate over both parts, see :meth:`~pyg_mmgef.sparse.CSRPair.matmul`."""
        out = self.frozen.matmul(x, rows=rows)
        if self.learned is None:
            return out
        return out + self.learned.matmul(x, self.edge_weight, rows)

    def edges(self) -> WeightedGraph:
        """Return the edges of both parts; a pair of items may be in either."""
        edge_index, weight = self.frozen.edges()
        if self.learned is None or self.edge_weight is None:
            return edge_index, weight
        edges = torch.cat([edge_index, self.learned.edges()[0]], dim=1)
        return edges, torch.cat([weight.to(self.edge_weight.dtype), self.edge_weight.detach()])


class LatentGraphs(Module):
    r"""For each modality, an item graph that is frozen in part and learned in part.

    .. math::
        \mathbf{A}^m = \lambda \, \mathbf{A}^m_{\mathrm{frozen}} +
        (1 - \lambda) \, \mathbf{A}^m_{\mathrm{learned}}

    Both are normalised kNN graphs, of the features :math:`\mathbf{x}^m_i` and of their projection
    :math:`\mathbf{W}^m \mathbf{x}^m_i + \mathbf{b}^m`, from
    `"Mining Latent Structures for Multimedia Recommendation"
    <https://arxiv.org/abs/2104.09036>`_ (Eqs. 3-5). :meth:`rebuild` chooses the neighbours; the
    weights of the edges to them are computed whenever they are needed, with gradient. As with the
    authors, an item is one of its own :math:`k` neighbours.

    Args:
        num_items: Number of items.
        out_channels: Channels of the projected features.
        in_channels: Channels of each modality; :obj:`None` where the features aren't read.
            (default: :obj:`None`)
        item_graphs: The relations of the frozen graphs, in the order of :obj:`in_channels`;
            :obj:`None` builds them from the features. (default: :obj:`None`)
        skip_weight: The weight :math:`\lambda`. At 1 nothing is learned. (default: ``0.9``)
        k: Neighbours per item in what is built here. (default: ``10``)
        recall: Share of the true neighbours that must be found. Below 1, an index for each
            modality is kept between rebuilds. (default: ``1.0``)

    Raises:
        ValueError: If an argument is out of range or doesn't fit another.
    """

    def __init__(
        self,
        num_items: int,
        out_channels: int,
        *,
        in_channels: Mapping[str, int] | None = None,
        item_graphs: Sequence[str] | None = None,
        skip_weight: float = 0.9,
        k: int = 10,
        recall: float = 1.0,
    ) -> None:
        super().__init__()
        check_positive('k', k)
        check_fraction('skip_weight', skip_weight)
        check_fraction('recall', recall, '(0, 1]')
        _check_modalities(in_channels, item_graphs, skip_weight)
        self.num_items = num_items
        self.out_channels = out_channels
        self.in_channels = None if in_channels is None else dict(in_channels)
        self.item_graphs = None if item_graphs is None else tuple(item_graphs)
        self.skip_weight = skip_weight
        self.k = k
        self.recall = recall
        self._indexes = [ContentIndex(recall) for _ in in_channels or ()]
        reads = in_channels is not None and (item_graphs is None or skip_weight < 1)
        self.features = ModalityFeatures(in_channels or {}) if reads else None
        self.lins = ModuleList()
        if in_channels and skip_weight < 1:
            self.lins.extend(Linear(width, out_channels) for width in in_channels.values())
        self._neighbors: list[Tensor] | None = None
        self._frozen, self._learned = TensorCache(), TensorCache()
        self.reset_parameters()

    @staticmethod
    def options(data: HeteroData, model: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments that fit the data, for what isn't given.

        The modalities are those that :obj:`data` has. If it has an item graph
        ``'similar_<modality>'`` for each, these are the frozen graphs. Without item features the
        graphs of that name are all there is, and ``skip_weight`` is 1.

        Args:
            data: A graph in the schema of this package.
            model: The name of the model, for the message.
            given: Arguments that were given; they are part of the result.

        Raises:
            ValueError: If the data has neither item features nor such graphs.
        """
        options = dict(given)
        x, _ = item_modalities(data)
        relations = [name for name in item_relations(data) if name.startswith('similar_')]
        if not x and not relations and not options.get('item_graphs'):
            raise ValueError(
                f"'data' has no item features, which {model} needs; set "
                "data['item'].x_<modality>, or add item graphs 'similar_<modality>'"
            )
        if x:
            options.setdefault('in_channels', {name: row.size(1) for name, row in x.items()})
            relations = [f'similar_{name}' for name in x if f'similar_{name}' in relations]
        else:
            options.setdefault('skip_weight', 1.0)
        if relations and len(relations) >= len(x):
            options.setdefault('item_graphs', tuple(relations))
        return options

    @property
    def names(self) -> tuple[str, ...]:
        """The graphs by name: their relations, or ``'similar_<modality>'`` of those built here."""
        if self.item_graphs is not None:
            return self.item_graphs
        assert self.features is not None
        return tuple(f'similar_{name}' for name in self.features.in_channels)

    def __len__(self) -> int:
        return len(self.names)

    def reset_parameters(self) -> None:
        """Initialise the projections anew; clear the neighbours and what was prepared."""
        reset(self.lins)
        if self.features is not None:
            self.features.clear()
        self._set_neighbors(None)
        self._frozen.clear()
        for index in self._indexes:
            index.clear()

    def _set_neighbors(self, neighbors: list[Tensor] | None) -> None:
        self._neighbors = neighbors
        self._learned.clear()

    @torch.inference_mode(False)
    @torch.no_grad()
    def rebuild(self, data: HeteroData) -> None:
        """Choose the neighbours of the learned graphs anew; nothing to do where none is learned."""
        if self.skip_weight < 1:
            graphs = self._nearest(self._projected(self._features_of(data)), self._indexes)
            self._set_neighbors([edge_index[:, weight > 0] for edge_index, weight in graphs])

    def forward(self, data: HeteroData) -> list[LatentGraph]:
        """Return the graph of each modality.

        Args:
            data: The train graph, with the features or the item graphs.

        Raises:
            ValueError: If the data lacks features or graphs, or has features of other channels.
        """
        features = self._features_of(data)
        frozen = self._frozen_graphs(data, features)
        if self.skip_weight == 1:
            return [LatentGraph(pair) for pair in frozen]
        if self._neighbors is None:
            self.rebuild(data)
        learned = self._learned_graphs(features)
        weights = self._learned_weights(features, learned)
        return [
            LatentGraph(pair, neighbors, weight)
            for pair, (_, neighbors), weight in zip(frozen, learned, weights, strict=True)
        ]

    def _features_of(self, data: HeteroData) -> Features:
        """Return the features that are read; their masks are made anew when the data changes."""
        if self.features is None:
            return []
        dtypes = [parameter.dtype for parameter in self.parameters()]
        return self.features(data, dtypes[0] if dtypes else torch.float)

    def _projected(self, features: Features) -> Features:
        return [(lin(x), present) for lin, (x, present) in zip(self.lins, features, strict=True)]

    def _nearest(self, features: Features, indexes: list[ContentIndex]) -> list[WeightedGraph]:
        return [
            content_graph(*pair, self.k, loop=True, index=index)
            for pair, index in zip(features, indexes, strict=True)
        ]

    def _frozen_graphs(self, data: HeteroData, features: Features) -> list[CSRPair]:
        size = self.num_items, self.num_items
        given = [item_graph(data, relation) for relation in self.item_graphs or ()]

        def build() -> list[CSRPair]:
            graphs = given or [
                normalize_similarity(*graph, self.num_items)
                for graph in self._nearest(features, [ContentIndex(self.recall) for _ in features])
            ]
            return [CSRPair(index, self.skip_weight * weight, size) for index, weight in graphs]

        made_from = [tensor for graph in given for tensor in graph] or _masks(features)
        return self._frozen.get(made_from, build)

    def _learned_graphs(self, features: Features) -> list[tuple[Tensor, CSRPair]]:
        """Return the edges from the neighbours, on the device of the features, in two forms."""
        assert self._neighbors is not None
        neighbors, size = self._neighbors, (self.num_items, self.num_items)

        def build() -> list[tuple[Tensor, CSRPair]]:
            edges = [index.to(features[0][0].device) for index in neighbors]
            return [(index, CSRPair(index, size=size)) for index in edges]

        return self._learned.get(_masks(features), build)

    def _learned_weights(
        self, features: Features, learned: Sequence[tuple[Tensor, CSRPair]]
    ) -> list[Tensor]:
        """Return the weights of the learned edges, which follow the projections in every step."""
        weights = []
        for (x, _), (edge_index, graph) in zip(self._projected(features), learned, strict=True):
            x = F.normalize(x, dim=1)
            similarity = edge_scores(graph, x, x).clamp(min=0)  # They may have moved apart.
            weight = symmetric_normalize(edge_index, similarity, self.num_items)
            weights.append((1 - self.skip_weight) * weight)
        return weights

    def get_extra_state(self) -> dict[str, Tensor]:
        """Return the neighbours, so that a checkpoint scores the same."""
        return {str(place): index for place, index in enumerate(self._neighbors or [])}

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """Restore the neighbours from a checkpoint."""
        if len(state) not in (0, len(self.lins)):
            raise ValueError(
                f'the checkpoint holds learned item graphs of {len(state)} modalities, but the '
                f'model learns {len(self.lins)}'
            )
        self._set_neighbors([state[str(place)] for place in range(len(state))] if state else None)

    def __repr__(self) -> str:
        return describe(self)


def _masks(features: Features) -> list[Tensor]:
    return [present for _, present in features]


def _check_modalities(
    in_channels: Mapping[str, int] | None, item_graphs: Sequence[str] | None, skip_weight: float
) -> None:
    if isinstance(item_graphs, str) or (item_graphs is not None and len(item_graphs) == 0):
        raise ValueError(f"'item_graphs' must name relations or be None (got {item_graphs!r})")
    if item_graphs is None and not in_channels:
        raise ValueError("'in_channels' is needed to build item graphs, or name 'item_graphs'")
    if skip_weight < 1 and not in_channels:
        raise ValueError(
            f"'in_channels' is needed to learn item graphs (got skip_weight={skip_weight}); data "
            'without item features uses skip_weight=1'
        )
    if item_graphs is not None and in_channels and len(item_graphs) != len(in_channels):
        raise ValueError(
            f"'item_graphs' must name one relation for each modality {list(in_channels)} "
            f'(got {tuple(item_graphs)})'
        )
