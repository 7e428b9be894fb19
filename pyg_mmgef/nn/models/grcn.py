from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Embedding, Linear, Module, ModuleList, Parameter
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset
from torch_geometric.utils import softmax

from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.modality_features import ModalityFeatures
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import interaction_edges, interactions
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.sparse.edge_scores import edge_scores
from pyg_mmgef.validate import check_not_negative, check_positive

__all__ = ['GRCN']

Rows = tuple[Tensor | None, Tensor | None]
ALL: Rows = (None, None)
Ends = tuple[Tensor, Tensor]
"""A tensor for the users and one for the items, or one for the edges into each of them."""


class GRCN(Recommender):
    r"""Graph convolution over interactions whose weights are learned from the items' content.

    From `"Graph-Refined Convolutional Network for Multimedia Recommendation with Implicit
    Feedback" <https://arxiv.org/abs/2111.02036>`_. In each modality :math:`m`, items have features
    and users a preference that is learned, all of unit length
    (:math:`\mathrm{n}(\mathbf{x}) = \mathbf{x} / \lVert \mathbf{x} \rVert`),

    .. math::
        \mathbf{f}_i = \mathrm{n}(\mathrm{LeakyReLU}(\mathbf{W} \mathbf{x}^m_i + \mathbf{b})),
        \qquad \mathbf{p}^{(0)}_u = \mathrm{n}(\mathbf{p}^m_u),

    and routing moves the preference towards those of the user's items that resemble it, with
    :math:`s_{ui} = \mathbf{p}_u^{\top} \mathbf{f}_i`, :math:`T` times:

    .. math::
        \mathbf{p}^{(t+1)}_u = \mathrm{n} \Big( \mathbf{p}^{(t)}_u + \sum_{i \in \mathcal{N}(u)}
        \alpha_{i \to u} \mathbf{f}_i \Big), \qquad
        \alpha_{i \to u} = \underset{i \in \mathcal{N}(u)}{\mathrm{softmax}}(s_{ui}), \qquad
        \alpha_{u \to i} = \underset{u \in \mathcal{N}(i)}{\mathrm{softmax}}(s_{ui}).

    With the last preference, a step of attention makes the content part of both sides, and the
    edge weights of all modalities, times the confidence :math:`c^m` of the node that sends, the
    refined graph; an edge whose weight isn't positive is pruned:

    .. math::
        \mathbf{z}^m_u &= \mathbf{p}_u + \sum_{i \in \mathcal{N}(u)} \alpha^m_{i \to u}
        \mathbf{f}_i, \qquad
        \mathbf{z}^m_i = \mathbf{f}_i + \sum_{u \in \mathcal{N}(i)} \alpha^m_{u \to i}
        \mathbf{p}_u \\
        w_{v \to w} &= \mathrm{ReLU} \big( \max_m \, c^m_v \, \alpha^m_{v \to w} \big)

    The id embeddings :math:`\mathbf{e}`, of unit length, propagate over it, and the parts are
    concatenated, so that their inner products add up in the score:

    .. math::
        \mathbf{e}^{(l+1)}_w = \sum_{v \in \mathcal{N}(w)} w_{v \to w} \, \mathbf{e}^{(l)}_v,
        \qquad \mathbf{z} = \Big[ \sum_{l=0}^{L} \mathbf{e}^{(l)} \, \Big\Vert \, \mathbf{z}^1
        \, \Big\Vert \dots \Big\Vert \, \mathbf{z}^{|\mathcal{M}|} \Big]

    **Deviations.** Unit lengths, the confidence of the sender and the absence of a non-linearity
    are those of the authors' code. Its routing sends along the edges user → item and so leaves the
    preferences as they are; here they move as in the paper, and ``num_routings=0`` is the code's
    result. Its confidences start at random around zero, which prunes a share of the nodes for
    good, as no gradient passes the ReLU; here all start at one, so nothing is pruned before it has
    been learned. An item that lacks a modality has :math:`\mathbf{f}_i = \mathbf{0}` in it, at a
    neutral :math:`s_{ui} = 0`. For a cold item, one without train interactions, the id part is
    left out, so nothing random reaches its score. The L2 penalty is that of the loss function, on
    the final embeddings.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        embedding_dim: Channels of the id embeddings. (default: ``64``)
        feature_dim: Channels of the preferences and of the projected features.
            (default: ``64``)
        num_layers: Convolutions :math:`L` over the refined graph, at least one, or nothing would
            read the weights. (default: ``2``)
        num_routings: Number of routing steps :math:`T`. (default: ``3``)

    Raises:
        ValueError: If a size isn't positive, :obj:`num_routings` is negative, or the data passed to
            :meth:`forward` doesn't fit the model.
    """

    paper = 'https://arxiv.org/abs/2111.02036'
    year = 2020

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        embedding_dim: int = 64,
        feature_dim: int = 64,
        num_layers: int = 2,
        num_routings: int = 3,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('embedding_dim', embedding_dim)
        check_positive('feature_dim', feature_dim)
        check_positive('num_layers', num_layers)
        check_not_negative('num_routings', num_routings, integer=True)
        self.in_channels = dict(in_channels)
        self.embedding_dim = embedding_dim
        self.feature_dim = feature_dim
        self.num_layers = num_layers
        self.num_routings = num_routings
        self.user_embedding = Embedding(num_users, embedding_dim)
        self.item_embedding = Embedding(num_items, embedding_dim)
        self._features = ModalityFeatures(in_channels)
        self.prototypes = ModuleList(
            [_Prototypes(num_users, channels, feature_dim) for channels in in_channels.values()]
        )
        self.user_confidence = Parameter(torch.empty(num_users, len(in_channels)))
        self.item_confidence = Parameter(torch.empty(num_items, len(in_channels)))
        self._cache = TensorCache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters anew; clear the graph and the features."""
        torch.nn.init.xavier_normal_(self.user_embedding.weight)
        torch.nn.init.xavier_normal_(self.item_embedding.weight)
        torch.nn.init.ones_(self.user_confidence)
        torch.nn.init.ones_(self.item_confidence)
        reset(self.prototypes)
        self._features.clear()
        self._cache.clear()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return id and content parts, ``embedding_dim + num_modalities * feature_dim`` channels.

        Of the last step of each part, only the rows asked for are computed.
        """
        graph = self._graph(data)
        content, attention = self._content(data, graph, (users, items))
        parts = [self._propagate(graph, self._refine(graph, attention), (users, items)), *content]
        z_user, z_item = (torch.cat(side, dim=1) for side in zip(*parts, strict=True))
        return z_user, z_item

    @torch.no_grad()
    def edge_weights(self, data: HeteroData) -> tuple[Tensor, Tensor]:
        """Return the refined weight of every interaction; where it is zero, it is pruned.

        Args:
            data: The train graph, with the item features the model was built for.

        Returns:
            The weights item → user and those user → item, in the order of the ``edge_index``.
            Shape of each: ``[E]``.
        """
        graph = self._graph(data)
        return self._refine(graph, self._content(data, graph, ALL)[1])

    def _content(
        self, data: HeteroData, graph: '_Graph', rows: Rows
    ) -> tuple[list[Ends], list[Ends]]:
        """Return the content part of each modality, and its attention over the edges."""
        features = self._features(data, self.dtype)
        content, attention = [], []
        for prototypes, (x, has) in zip(self.prototypes, features, strict=True):
            p, f = prototypes(graph, x, has, self.num_routings)
            alpha = graph.attention(p, f)
            received = graph.receive(p, f, alpha, rows)
            content.append((select(p, rows[0]) + received[0], select(f, rows[1]) + received[1]))
            attention.append(alpha)
        return content, attention

    def _refine(self, graph: '_Graph', attention: list[Ends]) -> Ends:
        """Return the weights of the refined graph into the users and into the items."""
        user, item = graph.edge_index
        to_user, to_item = (torch.stack(alpha, dim=1) for alpha in zip(*attention, strict=True))
        return (
            (select(self.item_confidence, item) * to_user).amax(dim=1).relu(),
            (select(self.user_confidence, user) * to_item).amax(dim=1).relu(),
        )

    def _propagate(self, graph: '_Graph', weight: Ends, rows: Rows) -> Ends:
        """Return the sum over the layers of the id embeddings, for some rows or for all."""
        x_user = unit_length(self.user_embedding.weight)
        x_item = unit_length(self.item_embedding.weight) * graph.is_warm
        z_user, z_item = select(x_user, rows[0]), select(x_item, rows[1])
        for layer in range(self.num_layers):
            is_last = layer == self.num_layers - 1
            x_user, x_item = graph.receive(x_user, x_item, weight, rows if is_last else ALL)
            z_user = z_user + (x_user if is_last else select(x_user, rows[0]))
            z_item = z_item + (x_item if is_last else select(x_item, rows[1]))
        return z_user, z_item

    def _graph(self, data: HeteroData) -> '_Graph':
        self.check_sizes(data)
        size = self.num_users, self.num_items
        return self._cache.get(
            [interaction_edges(data)], lambda: _Graph(interactions(data).long(), size)
        )


class _Graph:
    """The interactions, as a graph with weights from outside that runs both ways."""

    def __init__(self, edge_index: Tensor, size: tuple[int, int]) -> None:
        self.edge_index = edge_index
        self.pair = CSRPair(edge_index, size=size)
        self.is_warm = self.pair.num_incoming[:, None] > 0

    def attention(self, x_user: Tensor, x_item: Tensor) -> Ends:
        """Return the attention of each user over its items, and of each item over its users."""
        scores = edge_scores(self.pair, x_user, x_item)
        user, item = self.edge_index
        num_users, num_items = self.pair.size
        return softmax(scores, user, num_nodes=num_users), softmax(
            scores, item, num_nodes=num_items
        )

    def receive(self, x_user: Tensor, x_item: Tensor, weight: Ends, rows: Rows) -> Ends:
        """Return the weighted sums that some users and items receive, or all of them."""
        return (
            self.pair.t().matmul(x_item, weight[0], rows[0]),
            self.pair.matmul(x_user, weight[1], rows[1]),
        )


class _Prototypes(Module):
    """The preferences of users in one modality, routed to the features of their items."""

    def __init__(self, num_users: int, in_channels: int, feature_dim: int) -> None:
        super().__init__()
        self.preference = Embedding(num_users, feature_dim)
        self.lin = Linear(in_channels, feature_dim)

    def reset_parameters(self) -> None:
        torch.nn.init.xavier_normal_(self.preference.weight)
        self.lin.reset_parameters()
        torch.nn.init.xavier_normal_(self.lin.weight)

    def forward(self, graph: _Graph, x: Tensor, has: Tensor, num_routings: int) -> Ends:
        p = unit_length(self.preference.weight)
        f = unit_length(F.leaky_relu(self.lin(x))) * has
        for _ in range(num_routings):
            alpha, _ = graph.attention(p, f)
            p = unit_length(p + graph.pair.t().matmul(f, alpha))
        return p, f
