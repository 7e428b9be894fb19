from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset

from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.loss.info_nce import info_nce
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.embedding_parts import ItemPart, UserParts, neighbor_parts, propagated_parts
from pyg_mmgef.nn.parts.interaction_graph import InteractionGraph
from pyg_mmgef.nn.parts.item_graph_encoder import convolve
from pyg_mmgef.nn.parts.item_graphs import ItemGraphs
from pyg_mmgef.nn.parts.modality_features import feature_channels
from pyg_mmgef.nn.parts.modality_linear import ModalityLinear
from pyg_mmgef.nn.parts.principal_graph import principal_graph
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.nn.parts.triplet_batch import TripletBatch
from pyg_mmgef.schema import interaction_edges, item_graph, num_users_items
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.sparse.layer_mean import layer_mean
from pyg_mmgef.validate import (
    check_choice,
    check_fraction,
    check_graph_weights,
    check_not_negative,
    check_positive,
)

__all__ = ['PGL']

SUBGRAPHS = ('local', 'global')


class PGL(Recommender):
    r"""Users and features propagated, in training over a principal part of the interactions.

    .. math::
        \mathbf{z}^{(0)}_u &= \big\Vert_m \; \mathbf{e}^m_u, \qquad
        \mathbf{z}^{(0)}_i = \big\Vert_m \; \frac{\mathbf{p}^m_i}{\lVert \mathbf{p}^m_i \rVert},
        \qquad \mathbf{p}^m_i = \mathbf{W}^m \mathbf{x}^m_i + \mathbf{b}^m \\
        \mathbf{z}_u &= \tfrac{1}{L + 1} \textstyle\sum_{l=0}^{L} \mathbf{z}^{(l)}_u, \qquad
        \mathbf{z}_i = \tfrac{1}{L + 1} \textstyle\sum_{l=0}^{L} \mathbf{z}^{(l)}_i +
        \left[ \left( \textstyle\sum_m \alpha_m \mathbf{A}^m \right)^{L'} \mathbf{Z}^{(0)}
        \right]_i

    from `"Mind Individual Information! Principal Graph Learning for Multimedia Recommendation"
    <https://doi.org/10.1609/aaai.v39i12.33429>`_, with embeddings :math:`\mathbf{e}^m_u` of users
    for each modality, no id embeddings of items, and their frozen kNN graphs :math:`\mathbf{A}^m`.
    The layers are those of :class:`LightGCN`: in evaluation over all interactions
    :math:`\hat{\mathbf{R}}`, normalised, in training over their **principal subgraph**,

    - ``'local'``: a sample of the interactions, anew in each epoch (call :meth:`start_epoch`) and
      normalised anew. One is kept with a probability proportional to :math:`1 / \sqrt{d_u d_i}`.
    - ``'global'``: what the first singular vectors of :math:`\hat{\mathbf{R}}` make up, see
      :func:`~pyg_mmgef.nn.parts.principal_graph.principal_graph`.

    The loss adds, for the distinct users and positives of a batch, half of
    :func:`~pyg_mmgef.nn.loss.info_nce` each, between two dropouts of the same embeddings.

    **Deviations.** The item graphs are those of the data, as normalised there; the authors' code
    weighs all neighbours alike, keeps the item itself among them and gives the image 0.1, the text
    0.9. It fine-tunes the features, which are fixed here, and masks a user or item that is in a
    batch twice in two ways, here in one. Where an item lacks a modality, its part of
    :math:`\mathbf{z}^{(0)}_i` is zero.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        item_graphs: The weight :math:`\alpha_m` of each item graph ``data['item', relation,
            'item']``, keyed by its relation. They need not sum to 1.
        embedding_dim: Channels for each modality; an embedding has them side by side.
            (default: ``64``)
        num_layers: Layers :math:`L` over the interactions. (default: ``2``)
        num_item_layers: Layers :math:`L'` over the item graph. (default: ``1``)
        subgraph: What training propagates over, ``'local'`` or ``'global'``.
            (default: ``'local'``)
        edge_dropout: Share of the interactions that the local subgraph lacks, see
            :class:`LightGCN`. (default: ``0.7``)
        rank: Singular values of the global subgraph; the authors' 64 hold each of them twice.
            (default: ``32``)
        contrast_weight: The weight of the added loss; the authors have 0.05 to 0.5.
            (default: ``0.05``)
        dropout: Share of the channels that each view in the added loss lacks. (default: ``0.2``)
        temperature: The temperature of the added loss. (default: ``0.2``)
        seed: Seed of the subgraphs. (default: ``0``)

    Raises:
        ValueError: If a number is out of range, or the data doesn't fit the model.
    """

    paper = 'https://doi.org/10.1609/aaai.v39i12.33429'
    year = 2025
    reads_graphs = ('similar_<modality>',)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        item_graphs: Mapping[str, float],
        embedding_dim: int = 64,
        num_layers: int = 2,
        num_item_layers: int = 1,
        subgraph: str = 'local',
        edge_dropout: float = 0.7,
        rank: int = 32,
        contrast_weight: float = 0.05,
        dropout: float = 0.2,
        temperature: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__(num_users, num_items)
        check_graph_weights('item_graphs', item_graphs)
        check_positive('embedding_dim', embedding_dim)
        check_positive('num_item_layers', num_item_layers)
        check_positive('rank', rank)
        check_not_negative('num_layers', num_layers, integer=True)
        check_choice('subgraph', subgraph, SUBGRAPHS)
        check_not_negative('contrast_weight', contrast_weight)
        check_fraction('dropout', dropout, '[0, 1)')
        check_positive('temperature', temperature, integer=False)
        self.in_channels, self.item_graphs = dict(in_channels), dict(item_graphs)
        self.embedding_dim, self.num_layers = embedding_dim, num_layers
        self.num_item_layers = num_item_layers
        self.subgraph, self.edge_dropout, self.rank = subgraph, edge_dropout, rank
        self.contrast_weight, self.dropout = contrast_weight, dropout
        self.temperature, self.seed = temperature, seed
        self.lin = ModalityLinear(in_channels, embedding_dim)
        self.user_embedding = Parameter(torch.empty(len(in_channels), num_users, embedding_dim))
        self.graphs = ItemGraphs(num_items, item_graphs)
        self._graph = InteractionGraph(num_users, num_items, edge_dropout, seed)
        self._principal = TensorCache()
        self.reset_parameters()

    @classmethod
    def from_data(cls, data: HeteroData, **kwargs: Any) -> 'PGL':
        """Build the model for :obj:`data`, with the modalities that it has.

        The item graphs are ``'similar_<modality>'`` of each, in equal parts that sum to 1.

        Args:
            data: A graph in the schema of this package.
            **kwargs: Arguments of the constructor.

        Raises:
            ValueError: If the data has no item features, or lacks an item graph.
        """
        if 'in_channels' not in kwargs:
            kwargs['in_channels'] = feature_channels(data, cls.__name__)
        names = kwargs['in_channels']
        kwargs.setdefault('item_graphs', {f'similar_{name}': 1 / len(names) for name in names})
        for relation in kwargs['item_graphs']:
            item_graph(data, relation)
        return cls(*num_users_items(data), **kwargs)

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graphs."""
        for embedding in self.user_embedding.detach():
            torch.nn.init.xavier_uniform_(embedding)
        reset(self.lin)
        self.graphs.reset_parameters()
        self._graph.clear()
        self._principal.clear()

    @property
    def changes_with_epoch(self) -> bool:
        """Whether interactions are sampled."""
        return self.subgraph == 'local' and self.edge_dropout > 0

    def start_epoch(self, data: HeteroData, epoch: int) -> None:
        """Sample the interactions of the local subgraph, see :meth:`LightGCN.start_epoch`."""
        super().start_epoch(data, epoch)
        self._graph.start_epoch(epoch)

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean over the layers plus, for items, what the item graph propagates."""
        x_user, x_item = self._start(data)
        graph = self.principal_graph(data) if self.training else self.interaction_graph(data)
        z_user, z_item = layer_mean(
            graph, x_user, x_item, self.num_layers, sources=users, destinations=items
        )
        (item_item,) = self.graphs(data)
        return z_user, z_item + convolve(item_item, x_item, self.num_item_layers, items)

    def _start(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return where users and items start, the modalities side by side."""
        x_item = [torch.where(has, unit_length(x), 0.0) for x, has in self.lin(data)]
        return torch.cat(self.user_embedding.unbind(), dim=1), torch.cat(x_item, dim=1)

    def split_user(self, data: HeteroData, user: int) -> UserParts:
        """Return what each interaction adds, and what the user's own embedding does."""
        graph, start = self.interaction_graph(data), self._start(data)
        return propagated_parts(graph, *start, self.num_layers, user)

    def split_items(self, data: HeteroData, items: Tensor) -> list[ItemPart]:
        """Return the mean over the layers, and what each neighbour sends."""
        x_user, x_item = self._start(data)
        _, z_item = layer_mean(
            self.interaction_graph(data), x_user, x_item, self.num_layers, destinations=items
        )
        (graph,) = self.graphs(data)
        sent = convolve(graph, x_item, self.num_item_layers - 1)
        own = ItemPart.of_rows('collaborative', z_item)
        return [own, *neighbor_parts(self.graphs.by_name(data), sent, items)]

    def interaction_graph(self, data: HeteroData) -> CSRPair:
        """Return the normalised graph user → item of all interactions."""
        return self._graph.whole(data, self.dtype)

    def principal_graph(self, data: HeteroData) -> CSRPair:
        """Return the graph user → item that training propagates over."""
        if self.subgraph == 'local':
            return self._graph.sample(data, self.dtype)
        return self._principal.get(
            [interaction_edges(data)],
            lambda: principal_graph(self.interaction_graph(data), self.rank, self.seed),
            self.dtype,
        )

    def extra_loss(self, data: HeteroData, batch: TripletBatch, *embedded: Tensor) -> Tensor | None:
        """Return the contrast between two dropouts, of users and of positives."""
        if self.contrast_weight == 0:
            return None
        z_user, z_item = embedded
        # The batch repeats ids; comparing each once takes a fraction of the time.
        count_user, count_item = batch.counts()
        contrast = self._contrast(z_user, count_user) + self._contrast(z_item, count_item)
        return self.contrast_weight / 2 * contrast

    def _contrast(self, z: Tensor, count: Tensor) -> Tensor:
        """Return the added loss of rows, each of which occurs so often in the batch."""
        rows = count.nonzero().view(-1)
        a, b = (F.dropout(select(z, rows), self.dropout, self.training) for _ in range(2))
        return info_nce(a, b, self.temperature, count[rows])
