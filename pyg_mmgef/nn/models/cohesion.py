from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Embedding, LeakyReLU, Linear, Module, ModuleList, Sequential
from torch_geometric.data import HeteroData
from torch_geometric.nn.inits import reset
from torch_geometric.utils import softmax

from pyg_mmgef.graph.co_interaction import co_interaction_graph
from pyg_mmgef.nn._unit_length import unit_length
from pyg_mmgef.nn.loss._checks import checked_negatives
from pyg_mmgef.nn.models.recommender import Recommender
from pyg_mmgef.nn.parts._id_rows import select
from pyg_mmgef.nn.parts.interaction_graph import InteractionGraph
from pyg_mmgef.nn.parts.item_graph_encoder import convolve
from pyg_mmgef.nn.parts.item_graphs import SIMILAR, ItemGraphs
from pyg_mmgef.nn.parts.modality_features import ModalityFeatures
from pyg_mmgef.nn.parts.tensor_cache import TensorCache
from pyg_mmgef.schema import interaction_edges, interactions
from pyg_mmgef.sparse.csr_pair import CSRPair
from pyg_mmgef.validate import check_graph_weights, check_not_negative, check_positive

__all__ = ['COHESION']

TINY = 1e-8  # Below a root, which has no gradient at zero; as with the authors.

Ends = tuple[Tensor, Tensor]
"""A matrix of all users and one of all items."""


class COHESION(Recommender):
    r"""Features fused with id embeddings, propagated over three graphs, and concatenated.

    From `"COHESION: Composite Graph Convolutional Network with Dual-Stage Fusion for Multimodal
    Recommendation" <https://arxiv.org/abs/2504.04452>`_, as in the authors' code. There is a view
    :math:`v` of each modality and one of the ids alone, with :math:`\mathbf{x}^{\mathrm{id}}_i =
    \mathbf{e}_i` the id embedding of an item. The **early fusion** mixes both; a user has a
    preference :math:`\mathbf{q}^v_u` in each view, and all have unit length:

    .. math::
        \mathbf{p}^v_i &= \mathbf{W}^v_2 \operatorname{LeakyReLU} (\mathbf{W}^v_1 \mathbf{x}^v_i +
        \mathbf{b}^v_1) + \mathbf{b}^v_2, \qquad \mathbf{f}^v_i = \sqrt{\tfrac{1}{2} (\mathbf{e}_i
        \odot \mathbf{e}_i + \mathbf{p}^v_i \odot \mathbf{p}^v_i)} \\
        \mathbf{h}^{v(0)}_i &= \mathbf{f}^v_i / \lVert \mathbf{f}^v_i \rVert, \qquad
        \mathbf{h}^{v(0)}_u = \mathbf{q}^v_u / \lVert \mathbf{q}^v_u \rVert

    Over the **interactions**, with LightGCN's weights :math:`\hat{\mathbf{A}}`, a layer counts as
    far as it is like the start; users and items :math:`n` alike,

    .. math::
        \mathbf{g}^{v(l+1)}_n = \left[ \hat{\mathbf{A}} \mathbf{H}^{v(l)} \right]_n, \qquad
        \mathbf{h}^{v(l+1)}_n = \cos(\mathbf{g}^{v(l+1)}_n, \mathbf{h}^{v(0)}_n) \,
        \mathbf{g}^{v(l+1)}_n, \qquad \mathbf{h}_n = \big\Vert_v \textstyle\sum_{l=0}^{L}
        \mathbf{h}^{v(l)}_n

    The **late fusion** is the concatenation. It propagates once more, from each user to those who
    share the most items with them, by a softmax of the number :math:`c_{uw}` of shared items, and
    over the frozen kNN graphs of the items:

    .. math::
        \mathbf{z}_u = \mathbf{h}_u + \textstyle\sum_{w \in \mathcal{N}(u)}
        \operatorname{softmax}_w (c_{uw}) \, \mathbf{h}_w, \qquad
        \mathbf{z}_i = \mathbf{h}_i + \left[ \left( \textstyle\sum_m \alpha_m \mathbf{A}^m
        \right)^{L'} \mathbf{H}_{\mathcal{I}} \right]_i

    In training, the **adaptive optimisation** weighs a view the less, the better it tells a
    positive from its negatives already:

    .. math::
        \hat{x}_{ui} = \textstyle\sum_v w^v_{ui} \, {\mathbf{z}^v_u}^{\top} \mathbf{z}^v_i, \qquad
        w^v_{ui} = 1 - \operatorname{softmax}_v \left( {\mathbf{z}^v_u}^{\top} (\mathbf{z}^v_i -
        \operatorname{mean}_n \mathbf{z}^v_n) \right)

    without a gradient through :math:`w`. So the loss function sees the users' embeddings with
    their views weighed.

    **Deviations.** We had the authors' code, not the details of the paper. There, no gradient flows
    from the ranking into the view of the ids, whose preferences stay at their start; here it does.
    It evaluates the embeddings that the last step of training started from; here they are computed
    anew. Its logarithm is to base two. Its penalties, on the preferences, whose lengths reach no
    score, and on a parameter that nothing reads, are left out. A user with fewer than :math:`k`
    neighbours has some of them repeated there, at random, here none. The item graphs are those of
    the data, as normalised there; the authors' code weighs all neighbours alike, keeps the item
    itself among them and gives the image 0.1, the text 0.9. The mean over negatives is ours, the
    authors have one. Where an item lacks a modality, its :math:`\mathbf{p}^v_i` is zero. A cold
    item, one without train interactions, has :math:`\mathbf{e}_i = \mathbf{0}`, since its id
    embedding is random, and zeros in the view of the ids.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        in_channels: Channels of each modality ``data['item'].x_<modality>``.
        item_graphs: The weight :math:`\alpha_m` of each item graph ``data['item', relation,
            'item']``, keyed by its relation; they need not sum to 1. :obj:`None` gives the graph
            ``'similar_<modality>'`` of each modality an equal part of 1. (default: :obj:`None`)
        embedding_dim: Channels of each view; an embedding has them side by side.
            (default: ``64``)
        hidden_dim: Channels between the two maps of a view. (default: ``256``)
        num_layers: Layers :math:`L` over the interactions; the authors try 1 to 4.
            (default: ``2``)
        num_item_layers: Layers :math:`L'` over the item graph. (default: ``1``)
        k: Most neighbours of a user. To find them takes work that grows with the sum of the
            squared degrees of the items. (default: ``40``)

    Raises:
        ValueError: If a number is out of range, or the data doesn't fit the model.
    """

    paper = 'https://arxiv.org/abs/2504.04452'
    year = 2025
    needs_negatives = True
    reads_graphs = ('similar_<modality>',)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        *,
        in_channels: Mapping[str, int],
        item_graphs: Mapping[str, float] | None = None,
        embedding_dim: int = 64,
        hidden_dim: int = 256,
        num_layers: int = 2,
        num_item_layers: int = 1,
        k: int = 40,
    ) -> None:
        super().__init__(num_users, num_items)
        check_positive('embedding_dim', embedding_dim)
        check_positive('hidden_dim', hidden_dim)
        check_not_negative('num_layers', num_layers, integer=True)
        check_positive('num_item_layers', num_item_layers)
        check_positive('k', k)
        self._features = ModalityFeatures(in_channels)
        self.in_channels = dict(in_channels)
        self.item_graphs = None if item_graphs is None else dict(item_graphs)
        self.embedding_dim, self.hidden_dim = embedding_dim, hidden_dim
        self.num_layers, self.num_item_layers, self.k = num_layers, num_item_layers, k
        if item_graphs is None:
            item_graphs = {f'{SIMILAR}_{name}': 1 / len(in_channels) for name in in_channels}
        check_graph_weights('item_graphs', item_graphs)
        self.item_embedding = Embedding(num_items, embedding_dim)
        self.views = ModuleList(
            _View(num_users, channels, hidden_dim, embedding_dim)
            for channels in (embedding_dim, *in_channels.values())
        )
        self.graphs = ItemGraphs(num_items, item_graphs)
        self._graph = InteractionGraph(num_users, num_items)
        self._user_graph = TensorCache()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the parameters anew and clear the graphs and the features."""
        torch.nn.init.xavier_normal_(self.item_embedding.weight)
        reset(self.views)
        self._features.clear()
        self.graphs.reset_parameters()
        self._graph.clear()
        self._user_graph.clear()

    def embed(
        self, data: HeteroData, users: Tensor | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the views side by side, the one of the ids first."""
        is_warm, graph = self.is_warm(data), self.interaction_graph(data)
        ids = self.zero_cold(data, self.item_embedding.weight)
        inputs = [(ids, is_warm), *self._features(data, self.dtype)]
        h = [
            _propagate(graph, view(x, has, ids, is_warm), self.num_layers)
            for view, (x, has) in zip(self.views, inputs, strict=True)
        ]
        h_user, h_item = (torch.cat(side, dim=1) for side in zip(*h, strict=True))
        (item_item,) = self.graphs(data)
        return (
            select(h_user, users) + self.user_graph(data).matmul(h_user, rows=users),
            select(h_item, items) + convolve(item_item, h_item, self.num_item_layers, items),
        )

    def ranked(
        self, user: Tensor, positive: Tensor, negative: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the embeddings of the users with their views weighed, and those of the items."""
        others = checked_negatives(negative, user, at_least=1).mean(dim=1)
        return user * self._weights(user, positive, others), positive, negative

    @torch.no_grad()
    def _weights(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        r"""Return :math:`w`, repeated for the channels of each view. Shape: that of the users."""
        margin = (user * (positive - negative)).view(-1, len(self.views), self.embedding_dim)
        weight = 1 - margin.sum(dim=2).softmax(dim=1)
        return weight.repeat_interleave(self.embedding_dim, dim=1)

    def interaction_graph(self, data: HeteroData) -> CSRPair:
        """Return the normalised graph user → item."""
        return self._graph.whole(data, self.dtype)

    def user_graph(self, data: HeteroData) -> CSRPair:
        """Return the graph of users who share items, weighed by a softmax for each that receives.

        Ties go to the lower user id.
        """

        def build() -> CSRPair:
            edge_index, count = co_interaction_graph(
                interactions(data).flip(0), self.num_items, self.num_users, self.k, weighting='raw'
            )
            count = count.to(torch.promote_types(self.dtype, torch.float32))
            weight = softmax(count, edge_index[1], num_nodes=self.num_users)
            return CSRPair(edge_index, weight, (self.num_users, self.num_users))

        return self._user_graph.get([interaction_edges(data)], build, self.dtype)


class _View(Module):
    """The users' preferences in a view, and the maps of its inputs."""

    def __init__(
        self, num_users: int, in_channels: int, hidden_channels: int, out_channels: int
    ) -> None:
        super().__init__()
        self.preference = Embedding(num_users, out_channels)
        self.encoder = Sequential(
            Linear(in_channels, hidden_channels),
            LeakyReLU(),
            Linear(hidden_channels, out_channels),
        )

    def reset_parameters(self) -> None:
        torch.nn.init.xavier_normal_(self.preference.weight)
        reset(self.encoder)

    def forward(self, x: Tensor, has: Tensor, ids: Tensor, is_warm: Tensor) -> Ends:
        """Return where users and items start, of unit length."""
        p = torch.where(has, self.encoder(x), 0.0)
        fused = ((ids.square() + p.square()) / 2 + TINY).sqrt()
        start = torch.where(has | is_warm, unit_length(fused), 0.0)
        return unit_length(self.preference.weight), start


def _propagate(graph: CSRPair, start: Ends, num_layers: int) -> Ends:
    """Return the sum over the layers, each of which counts as far as it is like the start."""
    (user, item), total = start, list(start)
    for _ in range(num_layers):
        layer = graph.t().matmul(item), graph.matmul(user)
        user, item = (
            F.cosine_similarity(g, h, dim=1)[:, None] * g for g, h in zip(layer, start, strict=True)
        )
        total = [total[0] + user, total[1] + item]
    return total[0], total[1]
